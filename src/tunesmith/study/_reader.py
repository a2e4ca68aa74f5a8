"""What a study shows: its trials, the best of them, what happened; nothing here appends to the log."""

from __future__ import annotations

import datetime
from collections.abc import Container
from typing import TYPE_CHECKING, Any

from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.history import History
from tunesmith.pruners import BasePruner
from tunesmith.pruners import from_spec as pruner_from_spec
from tunesmith.records import frozen_rows, frozen_trial, frozen_trials
from tunesmith.samplers import BaseSampler
from tunesmith.samplers import from_spec as sampler_from_spec
from tunesmith.space import Space
from tunesmith.study._direction import StudyDirection
from tunesmith.study._log import StudyLog
from tunesmith.trial import FrozenTrial, TrialState
from tunesmith.trial._base import own_attrs

if TYPE_CHECKING:
    import pandas as pd

    from tunesmith.storages import BaseStorage
    from tunesmith.study._entries import LogEntry
    from tunesmith.study._past import PastStudy
    from tunesmith.study._replay import Replayed

_ATTRS = (
    "number", "value", "datetime_start", "datetime_complete", "duration", "params", "user_attrs", "system_attrs",
    "state",
)  # fmt: skip


class StudyReader:
    """What can be seen of a study. A reading property first reads what other processes have appended."""

    def __init__(self, study_name: str, log: StudyLog) -> None:
        self._name = study_name
        self._log = log

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def study_name(self) -> str:
        """The study's unique name in its storage."""
        return self._name

    @property
    def storage(self) -> BaseStorage:
        """Where the log lives."""
        return self._log.storage

    _storage = storage

    @property
    def sampler(self) -> BaseSampler:
        """The search method; rebuilt from the log when none was given."""
        return sampler_from_spec(self._log.fold.config["sampler"])

    @property
    def pruner(self) -> BasePruner:
        """The stopping rule; rebuilt from the log when none was given."""
        return pruner_from_spec(self._log.fold.config["pruner"])

    @property
    def seed(self) -> int:
        """The seed of the study; with a trial's number it seeds everything random of that trial."""
        return int(self._log.fold.meta["seed"])

    @property
    def space(self) -> Space | None:
        """The space declared at ``create_study``, or ``None`` when it grows define-by-run."""
        declared = self._log.fold.meta.get("space")
        return Space.from_dict(declared) if declared else None

    @property
    def direction(self) -> StudyDirection:
        """The direction of a single-objective study; ``RuntimeError`` for several objectives."""
        self._one_objective("direction")
        return self.directions[0]

    @property
    def directions(self) -> list[StudyDirection]:
        """One direction an objective."""
        return [StudyDirection.MAXIMIZE if d < 0 else StudyDirection.MINIMIZE for d in self._log.fold.directions]

    @property
    def metric_names(self) -> list[str] | None:
        """Names of the objectives, if set."""
        return self._log.fold.metric_names

    @property
    def user_attrs(self) -> dict[str, Any]:
        """Attributes set by the user (a copy)."""
        self._log.sync()
        return own_attrs(self._log.fold.user_attrs)

    @property
    def system_attrs(self) -> dict[str, Any]:
        """Attributes set by the library (a copy)."""
        self._log.sync()
        return own_attrs(self._log.fold.system_attrs)

    # -- what it has found --------------------------------------------------------------------------------------

    @property
    def history(self) -> History:
        """A snapshot of all trials as columns."""
        with self._log.lock:
            self._log.sync()
            return self._snapshot()

    def _snapshot(self) -> History:
        return self._log.fold.history()

    def _write_pending(self) -> None:
        """Let the log have all that this process knows."""

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials by number, but those that were deleted; with a gap, ``trials[i]`` is not number ``i`` any more."""
        return self.get_trials()

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        """Trials by number, optionally only those in ``states``. Always new objects, ``deepcopy`` or not."""
        if states is not None and not isinstance(states, Container):
            raise InvalidTypeError(f"`states` must be a list of states such as [TrialState.COMPLETE], not {states!r}.")
        with self._log.lock:
            self._write_pending()
            self._log.sync()
            return frozen_trials(self._log.fold, states)

    def _frozen(self, number: int) -> FrozenTrial:
        with self._log.lock:
            return frozen_trial(self._log.fold, number)

    def _one_objective(self, what: str) -> None:
        if len(self._log.fold.directions) != 1:
            raise RuntimeError(f"`{what}` needs a single objective; this study has several, use `best_trials`.")

    @property
    def best_trial(self) -> FrozenTrial:
        """The feasible COMPLETE trial with the best value, the earliest among equals.

        Raises:
            ValueError: there is none yet. RuntimeError: the study has several objectives.
        """
        self._one_objective("best_trial")
        with self._log.lock:
            row = self.history.best_row
            if row is None:
                raise InvalidValueError("No trials are completed (and feasible) yet, so there is no best one.")
            return frozen_rows(self._log.fold, [row])[0]

    @property
    def best_value(self) -> float:
        """The value of :attr:`best_trial`."""
        value = self.best_trial.value
        assert value is not None
        return value

    @property
    def best_params(self) -> dict[str, Any]:
        """The parameters of :attr:`best_trial`."""
        return self.best_trial.params

    @property
    def best_trials(self) -> list[FrozenTrial]:
        """The feasible COMPLETE trials that no other dominates (the Pareto front), by number."""
        with self._log.lock:
            history = self.history
            return frozen_rows(self._log.fold, sorted(history.pareto_rows.tolist(), key=history.number.__getitem__))

    def trials_dataframe(self, attrs: tuple[str, ...] = _ATTRS, multi_index: bool = False) -> pd.DataFrame:
        """The trials as a ``pandas`` data frame, one row a trial; columns as in Optuna.

        Args:
            attrs: fields of :class:`~tunesmith.trial.FrozenTrial`; dictionaries become one column a key, ``metrics``
                the last value of each. Constraints are in ``constraints``, not among the system attributes.
            multi_index: two-level columns ``("params", "x")`` instead of ``"params_x"``.

        Raises:
            MissingDependencyError: pandas is not installed. InvalidValueError: an unknown field.
        """
        from tunesmith.study._frame import trials_dataframe

        return trials_dataframe(self, attrs, multi_index)

    # -- what has happened --------------------------------------------------------------------------------------

    def events(self) -> list[LogEntry]:
        """Everything that has happened to the study, in order: when, by whom, and what, in words."""
        from tunesmith.study._entries import entries

        with self._log.lock:
            self._write_pending()
            return entries(self._records())

    def at(self, n: int | None = None, *, time: datetime.datetime | None = None) -> PastStudy:
        """The study as it was; it can be looked at like any other, but not be changed.

        Args:
            n: after so many records of the log, counted from 1: the ``position`` of an entry of :meth:`events`.
            time: instead of ``n``: at that time (local if it has no zone), by the clocks of those who wrote.

        Raises:
            InvalidValueError: there was no such record, or the study did not exist yet; or both or none are given.
        """
        from tunesmith.study._past import PastStudy, n_records

        records = self._records()
        return PastStudy(self._name, self._log, records[: n_records(records, n, time)])

    def replay(self, sampler: BaseSampler | None = None) -> Replayed:
        """Ask the sampler again for every proposal, each from the history that it was made from.

        A proposal is a function of the study's seed, the trial's number and the history at the position that the log
        names, so a study that many workers have filled in whatever order can be repeated proposal by proposal.

        Args:
            sampler: whom to ask; default: those that the log names.
        """
        from tunesmith.study._replay import replay

        with self._log.lock:
            self._write_pending()
            return replay(self._records(), self.space, sampler)

    def _records(self) -> list[list[dict[str, Any]]]:
        return self._log.storage.read(self._log.study, 0)
