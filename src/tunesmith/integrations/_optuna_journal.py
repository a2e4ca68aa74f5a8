"""Reading Optuna's journal file (``JournalFileBackend``, versions 3.1 to 5): a line of JSON per operation.

The lines are replayed as Optuna replays them, so operations that lost a race have no effect here either: a second
study of a name, a change of a finished trial, a parameter whose distribution contradicts an earlier one. Trials are
numbered over all studies in the order of their creation. A last line that is not whole is an append that was
interrupted; Optuna ignores it, and so do we.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunesmith.distributions import BaseDistribution
from tunesmith.exceptions import LogDamagedError, NewerFormatError, NotALogError, StorageInternalError
from tunesmith.integrations._optuna_records import (
    Distributions,
    TheirStudy,
    TheirTrial,
    microseconds,
    state_of,
    understanding,
)
from tunesmith.trial import TrialState

_MINIMIZE, _MAXIMIZE = 1, 2  # of Optuna's StudyDirection; 0 is "not set"


def read_journal(path: Path) -> list[TheirStudy]:
    """The studies in a journal that were not deleted, in the order they were made.

    Raises:
        NotALogError: the file is something else. LogDamagedError: a line (``line``) is not what Optuna writes.
        NewerFormatError: an operation of a later version. StorageInternalError: the file cannot be read.
    """
    place = f"The journal {str(path)!r}"
    replay = _Replay(place)
    try:
        with path.open("rb") as file:
            torn: bytes | None = None
            for number, line in enumerate(file, 1):
                if torn is not None:
                    raise _not_json(place, number - 1, torn)
                if not line.endswith(b"\n"):
                    break
                try:
                    operation = json.loads(line)
                except (ValueError, RecursionError):
                    torn = line
                    if number == 1:
                        raise _foreign(path, line) from None
                    continue
                if number == 1 and not (isinstance(operation, dict) and "op_code" in operation):
                    raise _foreign(path, line)
                replay.apply(operation, number)
    except OSError as error:
        raise StorageInternalError(f"{place} cannot be read: {error.strerror}. Check the path.") from error
    return list(replay.studies.values())


def _foreign(path: Path, line: bytes) -> NotALogError:
    if b"tunesmith log" in line:
        return NotALogError(f"{str(path)!r} is a log of tunesmith itself: load it, or copy it with copy_study.")
    return NotALogError(
        f"{str(path)!r} is no journal of Optuna: its first line is {line[:60]!r}. Give a journal file, or the URL of a "
        "database (sqlite:///optuna.db)."
    )


def _not_json(place: str, number: int, line: bytes) -> LogDamagedError:
    return LogDamagedError(
        f"{place} is damaged: line {number} is not JSON ({line[:40]!r}...). Nothing was imported. Restore it "
        "from a copy.",
        number,
    )


class _Replay:
    """The state after the operations applied so far.

    Attributes:
        studies: Optuna's id -> study, of those that exist.
    """

    def __init__(self, place: str) -> None:
        self.studies: dict[int, TheirStudy] = {}
        self._place = place
        self._line = 0
        self._trials: list[TheirTrial] = []
        self._study_of: list[int] = []  # the id of each trial's study
        self._first: list[dict[str, tuple[int, BaseDistribution]]] = []  # of each study, deleted ones too; see _fits
        self._distributions = Distributions()
        self._handlers: list[Callable[[dict[str, Any]], None]] = [
            self._create_study, self._delete_study, self._study_user_attr, self._study_system_attr, self._create_trial,
            self._param, self._state, self._report, self._user_attr, self._system_attr, self._ignored,
        ]  # fmt: skip

    def apply(self, operation: dict[str, Any], line: int) -> None:
        """Take one line's operation."""
        self._line = line
        with understanding(self._place, f"line {line}", line):
            code = operation["op_code"]
            if not isinstance(code, int) or code < 0:
                raise ValueError(f"the operation is {code!r}")
            if code < len(self._handlers):
                self._handlers[code](operation)
                return
        raise NewerFormatError(
            f"{self._place} has an operation {code} in line {line}, which is unknown here (Optuna 3 to 5 are "
            "understood). Nothing was imported. Copy the study with that Optuna to a database (optuna.copy_study), or "
            "update tunesmith."
        )

    # -- studies ------------------------------------------------------------------------------------------------

    def _create_study(self, operation: dict[str, Any]) -> None:
        name = operation["study_name"]
        if any(study.name == name for study in self.studies.values()):
            return
        directions = [{_MAXIMIZE: -1, _MINIMIZE: 1, 0: 1}[d] for d in operation["directions"]]
        self.studies[len(self._first)] = TheirStudy(name, directions)
        self._first.append({})

    def _delete_study(self, operation: dict[str, Any]) -> None:
        self.studies.pop(operation["study_id"], None)

    def _study_user_attr(self, operation: dict[str, Any]) -> None:
        if operation["study_id"] in self.studies:
            self.studies[operation["study_id"]].user_attrs.update(operation["user_attr"])

    def _study_system_attr(self, operation: dict[str, Any]) -> None:
        if operation["study_id"] in self.studies:
            self.studies[operation["study_id"]].system_attrs.update(operation["system_attr"])

    def _ignored(self, operation: dict[str, Any]) -> None:
        """Optuna's own reader passes over it."""

    # -- trials -------------------------------------------------------------------------------------------------

    def _create_trial(self, operation: dict[str, Any]) -> None:
        study = self.studies.get(operation["study_id"])
        if study is None:
            return
        trial = TheirTrial.read(
            len(study.trials), operation.get("state", TrialState.RUNNING), operation["datetime_start"],
            operation.get("datetime_complete"), utc=False,
        )  # fmt: skip
        trial.user_attrs.update(operation.get("user_attrs", {}))
        trial.system_attrs.update(operation.get("system_attrs", {}))
        for step, value in operation.get("intermediate_values", {}).items():
            trial.report(step, value)
        trial.values = _values(operation.get("values"))
        if trial.values is None and operation.get("value") is not None:
            trial.values = [float(operation["value"])]
        texts = operation.get("distributions", {})
        for name, value in operation.get("params", {}).items():
            self._set(operation["study_id"], trial, name, self._distributions.read(texts[name]), value)
        if trial.state.is_finished():
            trial.order = (self._line, 0)
        study.trials.append(trial)
        self._trials.append(trial)
        self._study_of.append(operation["study_id"])

    def _unfinished(self, operation: dict[str, Any]) -> TheirTrial | None:
        number = operation["trial_id"]
        if not 0 <= number < len(self._trials) or self._trials[number].state.is_finished():
            return None
        return self._trials[number]

    def _param(self, operation: dict[str, Any]) -> None:
        trial = self._unfinished(operation)
        if trial is None:
            return
        study, name = self._study_of[operation["trial_id"]], operation["param_name"]
        distribution = self._distributions.read(operation["distribution"])
        known = self._first[study].get(name)
        if known is None or _fits(known[1], distribution):
            self._set(study, trial, name, distribution, operation["param_value_internal"])

    def _set(self, study: int, trial: TheirTrial, name: str, distribution: BaseDistribution, value: Any) -> None:
        trial.set_param(name, distribution, value)
        first = self._first[study]
        if name not in first or first[name][0] >= trial.number:
            first[name] = trial.number, distribution

    def _state(self, operation: dict[str, Any]) -> None:
        trial, state = self._unfinished(operation), state_of(operation["state"])
        if trial is None or trial.state == state == TrialState.RUNNING:
            return
        if state == TrialState.RUNNING:
            trial.start = microseconds(operation["datetime_start"], utc=False)
        if state.is_finished():
            trial.complete = microseconds(operation["datetime_complete"], utc=False)
            trial.order = (self._line, 0)
        trial.state = state
        if operation["values"] is not None:
            trial.values = _values(operation["values"])

    def _report(self, operation: dict[str, Any]) -> None:
        trial = self._unfinished(operation)
        if trial is not None:
            trial.report(operation["step"], operation["intermediate_value"])

    def _user_attr(self, operation: dict[str, Any]) -> None:
        trial = self._unfinished(operation)
        if trial is not None:
            trial.user_attrs.update(operation["user_attr"])

    def _system_attr(self, operation: dict[str, Any]) -> None:
        trial = self._unfinished(operation)
        if trial is not None:
            trial.system_attrs.update(operation["system_attr"])


def _values(values: list[Any] | None) -> list[float] | None:
    return None if values is None else [float(v) for v in values]


def _fits(first: BaseDistribution, new: BaseDistribution) -> bool:
    """Whether Optuna takes ``new`` for a name that the study's first trial with it had as ``first``."""
    if first.kind != new.kind:
        return False
    if first.kind == "categorical":
        return first == new
    return bool(first.log == new.log)  # type: ignore[attr-defined]
