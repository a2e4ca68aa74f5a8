"""Optuna's way to attempt a trial again whose worker is gone: it becomes FAIL, and a new number takes its place."""

from __future__ import annotations

from typing import Any

from tunesmith._arguments import whole
from tunesmith.trial import FrozenTrial, TrialState, create_trial


class RetryHeartbeatStaleTrialCallback:
    """For ``RDBStorage(url, heartbeat_stale_trial_callback=...)``.

    Without it a lost trial keeps its number, its reports are replaced by those of the next attempt, and a state that it
    has saved is used; that is what ``study.optimize(attempts=3)`` does by default. With it the lost trial becomes FAIL,
    and the new one is in the same append: there is exactly one, whatever dies meanwhile.

    Args:
        max_retry: how often a configuration is attempted again; None: without end.
        inherit_intermediate_values: let the new trial begin with the reports of the lost one.
    """

    def __init__(self, max_retry: int | None = None, inherit_intermediate_values: bool = False) -> None:
        if max_retry is not None:
            whole("max_retry", max_retry, 0)
        self.max_retry, self.inherit_intermediate_values = max_retry, inherit_intermediate_values

    def successor(self, trial: FrozenTrial) -> FrozenTrial | None:
        """The trial that takes the place of a lost one; None after ``max_retry`` of them."""
        attrs = {k: v for k, v in trial.system_attrs.items() if k not in ("attempt", "fail_reason")}
        history = [*attrs.get("retry_history", []), trial.number]
        if self.max_retry is not None and len(history) > self.max_retry:
            return None
        attrs = {"failed_trial": trial.number, **attrs, "retry_history": history}
        return create_trial(
            state=TrialState.WAITING, params=trial.params, distributions=trial.distributions,
            user_attrs=trial.user_attrs, system_attrs=attrs,
            intermediate_values=trial.intermediate_values if self.inherit_intermediate_values else None,
        )  # fmt: skip

    def __call__(self, study: Any, trial: FrozenTrial) -> None:
        """As Optuna calls it: put the successor into the study."""
        made = self.successor(trial)
        if made is not None:
            study.add_trial(made)

    @staticmethod
    def retried_trial_number(trial: FrozenTrial) -> int | None:
        """The number of the first trial in a series of retries; None if the trial is not a retry."""
        return trial.system_attrs.get("failed_trial")

    @staticmethod
    def retry_history(trial: FrozenTrial) -> list[int]:
        """The numbers of the lost trials before this one, the first one first."""
        return trial.system_attrs.get("retry_history", [])


class RetryFailedTrialCallback(RetryHeartbeatStaleTrialCallback):
    """Optuna's former name of it."""
