"""What people do to a study by hand: names, notes, trials to evaluate, trials from elsewhere, corrections."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunesmith import events as ev
from tunesmith import logging
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.study._add import add_events, enqueue, is_known
from tunesmith.study._edit import delete_trial, edit_trial
from tunesmith.study._log import StudyLog
from tunesmith.study._reader import StudyReader
from tunesmith.study._states import TrialStates
from tunesmith.trial import FrozenTrial, TrialState
from tunesmith.trial._base import clean_attr

_logger = logging.get_logger("tunesmith.study")


class StudyEditor(StudyReader):
    """A study that can be changed by hand."""

    def __init__(self, study_name: str, log: StudyLog, artifacts: Path | None) -> None:
        super().__init__(study_name, log)
        self._artifacts = artifacts

    def set_metric_names(self, metric_names: list[str]) -> None:
        """Name the objectives; the names appear in data frames, tables and plots."""
        is_list = isinstance(metric_names, Sequence) and not isinstance(metric_names, str)
        if not is_list or not all(isinstance(n, str) for n in metric_names):
            raise InvalidTypeError(f"`metric_names` must be a list of strings, but is {metric_names!r}.")
        if len(metric_names) != len(self.directions):
            raise InvalidValueError(f"{len(self.directions)} objectives need as many names, but got {metric_names!r}.")
        self._log.append([{"e": "metrics", "names": [str(n) for n in metric_names]}])

    def set_user_attr(self, key: str, value: Any) -> None:
        """Keep a JSON-able value with the study."""
        self._log.append([{"e": "attr", "k": key, "v": ev.attr_to_json(clean_attr(key, value))}])

    def enqueue_trial(
        self, params: dict[str, Any], user_attrs: dict[str, Any] | None = None, skip_if_exists: bool = False
    ) -> None:
        """Put a configuration in the queue; the next trials take it before the sampler is asked.

        Args:
            params: name -> value; names left out are sampled.
            user_attrs: attributes of the trial.
            skip_if_exists: do nothing when a trial has just these parameters, or was enqueued with just these.
        """
        if skip_if_exists and is_known(self.get_trials(), params):
            _logger.info("A trial with the parameters %s exists already; it is not enqueued again.", params)
            return
        enqueue(self._log, params, user_attrs)

    def add_trial(self, trial: FrozenTrial) -> None:
        """Add a record made elsewhere (see :func:`tunesmith.create_trial`); it gets the next number."""
        self.add_trials([trial])

    def add_trials(self, trials: Iterable[FrozenTrial]) -> None:
        """Add several records, all or none."""
        add_events(self._log, list(trials))

    def edit_trial(
        self,
        number: int,
        *,
        values: float | Sequence[float] | None = None,
        state: TrialState | None = None,
        user_attrs: Mapping[str, Any] | None = None,
        constraints: Mapping[str, float] | None = None,
        reason: str | None = None,
    ) -> FrozenTrial:
        """Change what a trial has left behind; return it as it is now.

        What is changed here was wrong or missing: a value by another metric, a training that turned out to be void.
        The log keeps what was told before, who has changed it, when, and why (:meth:`events`, :meth:`at`). From here
        on the search goes on as if the trial had ended so. Its parameters and reports are what was evaluated and stay;
        if those are wrong, delete the trial and :meth:`add_trial` the right one.

        Args:
            number: of the trial. Of one that is not finished, only ``user_attrs`` can be changed.
            values: the objective value(s).
            state: COMPLETE, PRUNED, or FAIL, which takes its values away.
            user_attrs: attributes to set; others stay. This is how a finished trial gets a note.
            constraints: likewise.
            reason: for the log; of a trial that becomes FAIL also its ``fail_reason``.

        Raises:
            TrialDeletedError: it was deleted. InvalidValueError: there is no such trial, or state and values do not fit
                each other.
        """
        return edit_trial(self._log, number, values, state, user_attrs, constraints, reason)

    def delete_trial(self, number: int, *, reason: str | None = None) -> None:
        """Take a trial out of the study; its number is not given out again.

        The log keeps it. If it is running, its worker's next report or result is refused with
        :class:`~tunesmith.exceptions.TrialDeletedError`, and the worker goes on with another trial.

        Args:
            number: of the trial.
            reason: for the log.

        Raises:
            TrialDeletedError: it was deleted before. InvalidValueError: there is no such trial.
        """
        delete_trial(self._log, TrialStates(self._log, self._artifacts), number, reason)
