"""Studies read from Optuna, as events of a log."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

from tunesmith import events as ev
from tunesmith.distributions import BaseDistribution, choice_to_json
from tunesmith.integrations._optuna_records import TheirStudy, TheirTrial
from tunesmith.space import Space
from tunesmith.trial import TrialState
from tunesmith.trial._base import clean_attr

_METRIC_NAMES = "study:metric_names"
_CONSTRAINTS = "constraints"

#: Where Optuna's CmaEsSampler keeps its optimizer, as a pickle in hexadecimal digits.
_PICKLED = re.compile(r"(?:cma|sepcma|cmawm):(?:restart_\d+:)?optimizer(?::\d+)?")


class Translation:
    """The events of one study, and what could not be kept as it was.

    A trial whose number comes before its turn in the order of finishing is added as RUNNING, and told in its turn.

    Args:
        study: what was read.
        running: what becomes of RUNNING trials: ``"wait"`` or ``"fail"``.

    Attributes:
        events: to be appended after the ``study`` event.
        notes: what was changed -> of how many trials.
    """

    def __init__(self, study: TheirStudy, running: str) -> None:
        self._study, self._running = study, running
        self._spaces: dict[tuple[tuple[str, BaseDistribution], ...], Space] = {}
        self._now = ev.now()
        self.notes: Counter[str] = Counter()
        trials = self._trials()
        self.events = [*self._attrs(), *map(ev.space_event, {s.id: s for s in self._spaces.values()}.values()), *trials]

    def _attrs(self) -> list[ev.Event]:
        study, found = self._study, []
        for key, value in study.user_attrs.items():
            found.append({"e": "attr", "k": key, "v": ev.attr_to_json(clean_attr(key, value))})
        for key, value in study.system_attrs.items():
            if key == _METRIC_NAMES and isinstance(value, list) and len(value) == len(study.directions):
                found.append({"e": "metrics", "names": [str(name) for name in value]})
            else:
                found.append({"e": "attr", "k": key, "v": ev.attr_to_json(clean_attr(key, value)), "system": 1})
        return found

    def _trials(self) -> list[ev.Event]:
        events: list[ev.Event] = []
        for number, trial in enumerate(self._study.trials):
            self._settle(trial, number)
        finished = [n for n, trial in enumerate(self._study.trials) if trial.state.is_finished()]
        turns = iter(sorted(finished, key=lambda n: self._study.trials[n].order))
        turn = next(turns, None)
        for number, trial in enumerate(self._study.trials):
            early = trial.state.is_finished() and number != turn
            if not events or events[-1]["e"] != "add":
                events.append({"e": "add", "n": number, "trials": []})
            events[-1]["trials"].append(self._begun(trial) if early else {**self._begun(trial), **_outcome(trial)})
            if number == turn:
                turn = next(turns, None)
                while turn is not None and turn < number:
                    outcome = _outcome(self._study.trials[turn])
                    events.append({"e": "tell", "n": turn, "k": f"add.{turn}", **outcome})
                    turn = next(turns, None)
        return events

    def _settle(self, trial: TheirTrial, number: int) -> None:
        """Make the trial one that can be in a study."""
        if trial.number != number:
            trial.system_attrs["optuna:number"] = trial.number
            self.notes["got another number, because trials before them had been removed"] += 1
        if pickled := [key for key in trial.system_attrs if _PICKLED.fullmatch(key)]:
            for key in pickled:
                del trial.system_attrs[key]
            self.notes["lost the pickled state of Optuna's CMA-ES, which only Optuna can use"] += 1
        if trial.state == TrialState.RUNNING:
            self._end_running(trial)
        if trial.values is not None and (
            len(trial.values) != len(self._study.directions) or any(math.isnan(v) for v in trial.values)
        ):
            trial.values = None
        if trial.state == TrialState.COMPLETE and trial.values is None:
            trial.state = TrialState.FAIL
            trial.system_attrs["fail_reason"] = "It was COMPLETE without (enough) values in Optuna."
            self.notes["are FAIL: they were COMPLETE without (enough) values"] += 1
        if not trial.state.is_finished() or trial.state == TrialState.FAIL:
            trial.values = None

    def _end_running(self, trial: TheirTrial) -> None:
        """Whoever runs it will tell Optuna, not this study."""
        if self._running == "fail":
            trial.state, trial.complete = TrialState.FAIL, self._now
            trial.order = (1 << 62, trial.number)
            trial.system_attrs["fail_reason"] = "It was RUNNING in Optuna when it was imported."
            self.notes["are FAIL: they were RUNNING"] += 1
            return
        trial.state, trial.reports = TrialState.WAITING, {}
        for key in [k for k in trial.system_attrs if k.partition(":")[0] == _CONSTRAINTS]:
            del trial.system_attrs[key]
        self.notes["wait for another attempt with the same parameters: they were RUNNING"] += 1

    def _begun(self, trial: TheirTrial) -> dict[str, Any]:
        """The fields of a trial that is not finished."""
        waits = trial.state == TrialState.WAITING
        fields: dict[str, Any] = {"st": int(TrialState.WAITING if waits else TrialState.RUNNING)}
        if trial.start is not None and not waits:
            fields["t0"] = trial.start
        if trial.params:
            space = self._space(trial)
            fields["s"] = space.id
            fields["p"] = [
                value if distribution.kind == "float" else int(value) for distribution, value in trial.params.values()
            ]
        attrs = dict(trial.system_attrs)
        fixed = attrs.pop("fixed_params", None)
        if isinstance(fixed, dict):
            fields["f"] = {name: choice_to_json(_as_choice(value)) for name, value in fixed.items()}
        for key in [k for k in attrs if k.partition(":")[0] == _CONSTRAINTS]:
            del attrs[key]
        if attrs:
            fields["sa"] = {k: ev.attr_to_json(clean_attr(k, v)) for k, v in attrs.items()}
        if waits:
            fields.update(_changes(trial))
        return fields

    def _space(self, trial: TheirTrial) -> Space:
        key = tuple((name, distribution) for name, (distribution, _) in trial.params.items())
        space = self._spaces.get(key)
        if space is None:
            space = self._spaces[key] = Space(dict(key))
        return space


def _outcome(trial: TheirTrial) -> dict[str, Any]:
    """The fields of a trial's end; none if it has not come."""
    if not trial.state.is_finished():
        return {}
    fields = {"st": int(trial.state), "t": trial.complete or 0, **_changes(trial)}
    if trial.values is not None:
        fields["y"] = [ev.number_to_json(value) for value in trial.values]
    return fields


def _changes(trial: TheirTrial) -> dict[str, Any]:
    reports = [[step, value] for step, value in sorted(trial.reports.items())]
    user_attrs = {k: clean_attr(k, v) for k, v in trial.user_attrs.items()}
    return ev.changes_to_json(reports, user_attrs, constraints_of(trial.system_attrs))


def constraints_of(system_attrs: dict[str, Any]) -> dict[str, float]:
    """Name -> value: a list until Optuna 4 (named "0", "1", ...), an attribute each since then."""
    found = {str(i): value for i, value in enumerate(system_attrs.get(_CONSTRAINTS) or ())}
    prefix = f"{_CONSTRAINTS}:"
    found.update({key.removeprefix(prefix): value for key, value in system_attrs.items() if key.startswith(prefix)})
    return {name: float(value) for name, value in found.items()}


def _as_choice(value: Any) -> Any:
    return tuple(map(_as_choice, value)) if isinstance(value, list) else value
