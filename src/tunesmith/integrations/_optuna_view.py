"""A tunesmith history as Optuna sees a study: a storage that holds one study of given trials. Imports Optuna."""

from __future__ import annotations

import copy
import datetime
import sys
from collections.abc import Container, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution as OptunaCategorical
from optuna.distributions import FloatDistribution as OptunaFloat
from optuna.distributions import IntDistribution as OptunaInt
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tunesmith.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from tunesmith.exceptions import InvalidValueError
from tunesmith.history import History
from tunesmith.space import EXACT, Space

#: Samplers read no clock: every trial of a view began and ended then.
_THEN = datetime.datetime(2000, 1, 1)
_STUDY = 0
_STATES = {1: TrialState.COMPLETE, 2: TrialState.PRUNED, 3: TrialState.FAIL}


class View(BaseStorage):
    """One study in memory, made for one question to a sampler and thrown away.

    Args:
        directions: +1 (minimise) or -1 (maximise), one an objective.
        trials: by number, which is also their id.
        attrs: system attributes of the study; a sampler may add to them.
    """

    def __init__(self, directions: Sequence[int], trials: list[FrozenTrial], attrs: dict[str, Any]) -> None:
        self.directions = [StudyDirection.MAXIMIZE if d < 0 else StudyDirection.MINIMIZE for d in directions]
        self.trials = trials
        self.attrs = attrs

    def study(self, sampler: optuna.samplers.BaseSampler) -> optuna.Study:
        """The study, searched by ``sampler``."""
        return optuna.Study("tunesmith", self, sampler=sampler, pruner=optuna.pruners.NopPruner())

    # -- the study ----------------------------------------------------------------------------------------------

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        raise NotImplementedError("A view holds one study.")

    def delete_study(self, study_id: int) -> None:
        raise NotImplementedError("A view is read-only but for the trial that is asked for.")

    def get_study_id_from_name(self, study_name: str) -> int:
        return _STUDY

    def get_study_name_from_id(self, study_id: int) -> str:
        return "tunesmith"

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self.directions

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return {}

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        raise NotImplementedError("A view has no user attributes.")

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return dict(self.attrs)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self.attrs[key] = value

    def get_all_studies(self) -> list[Any]:
        raise NotImplementedError("A view holds one study.")

    # -- its trials ---------------------------------------------------------------------------------------------

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        self.trials.append(running(len(self.trials), {}, {}))
        return len(self.trials) - 1

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self.trials[trial_id]

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        found = [t for t in self.trials if states is None or t.state in states]
        return copy.deepcopy(found) if deepcopy else found

    def set_trial_param(self, trial_id: int, param_name: str, param_value_internal: float, distribution: Any) -> None:
        trial = self.trials[trial_id]
        trial.params[param_name] = distribution.to_external_repr(param_value_internal)
        trial.distributions[param_name] = distribution

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.trials[trial_id].system_attrs[key] = value

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.trials[trial_id].user_attrs[key] = value

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        raise NotImplementedError("Nothing is evaluated in a view.")

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        raise NotImplementedError("Nothing is evaluated in a view.")


def running(number: int, params: dict[str, Any], distributions: Mapping[str, Any]) -> FrozenTrial:
    """A running trial of these parameters."""
    return FrozenTrial(
        number, TrialState.RUNNING, None, _THEN, None, params, {n: distributions[n] for n in params}, {}, {}, {}, number
    )


class Translation:
    """Between a space and Optuna's distributions.

    A choice is the position of its value, so that any value will do and choices may change between trials.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.distributions = {name: _optuna_distribution(name, d) for name, d in space.items()}

    def there(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """A configuration for Optuna, without names and choices that the space lacks; numbers are moved into range."""
        found: dict[str, Any] = {}
        for name, value in params.items():
            distribution = self.space.get(name)
            if distribution is None:
                continue
            if isinstance(distribution, CategoricalDistribution):
                if distribution.contains(value):
                    found[name] = int(distribution.to_internal_repr(value))
            elif isinstance(value, (int, float)):
                found[name] = value if distribution.contains(value) else _nearest(name, distribution, value)
        return found

    def back(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Inverse of :meth:`there`."""
        return {name: self.space[name].to_external_repr(params[name]) for name in self.space if name in params}


def _optuna_distribution(name: str, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return OptunaCategorical(range(len(distribution.choices)))
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    low, high = distribution.low, distribution.high
    widest = EXACT if isinstance(distribution, IntDistribution) else sys.float_info.max / 2
    if max(abs(low), abs(high)) > widest:
        raise InvalidValueError(
            f"The range of {name!r}, [{low}, {high}], is too wide for Optuna's samplers, which reach to {widest:.3g}; "
            "narrow it, or take one of tunesmith's own."
        )
    kind: Any = OptunaInt if isinstance(distribution, IntDistribution) else OptunaFloat
    return kind(low, high, log=distribution.log, step=distribution.step)


def _nearest(name: str, distribution: BaseDistribution, value: float) -> Any:
    space = Space({name: distribution})
    low = distribution.low  # type: ignore[attr-defined]
    inside = max(value, low)  # the logarithm of what lies below may not exist
    return space.to_params(space.decode(space.encode(space.from_params({name: inside})[None]))[0])[name]


def finished_trials(history: History, translation: Translation) -> list[FrozenTrial]:
    """The finished trials for Optuna, in finishing order."""
    if not history.n:
        return []
    names = history.names
    tables = [history.categories.get(name) for name in names]
    kinds = [history.distributions[name] for name in names]
    violation = history.violation.tolist() if history.violation.any() else None
    reports = _reports(history)
    found = []
    rows = zip(history.number.tolist(), history.state.tolist(), history.X.tolist(), history.Y.tolist(), strict=True)
    for row, (number, state, x, y) in enumerate(rows):
        params = {
            name: table[int(value)] if table is not None else kind.to_external_repr(value)
            for name, kind, table, value in zip(names, kinds, tables, x, strict=True)
            if value == value
        }
        params = translation.there(params)
        notes: dict[str, Any] = {} if violation is None else {"constraints": [violation[row]]}
        distributions = {name: translation.distributions[name] for name in params}
        values = y if all(v == v for v in y) else None
        found.append(
            FrozenTrial(
                number,
                _STATES[state],
                None,
                _THEN,
                _THEN,
                params,
                distributions,
                {},
                notes,
                reports.get(row, {}),
                number,
                values=values,
            )
        )
    return found


def _reports(history: History) -> dict[int, dict[int, float]]:
    """Row -> step -> objective, of the pruned trials (no sampler looks at the others')."""
    reports = history.reports
    wanted = (reports.metric == 0) & (history.state[reports.row] == 2)
    found: dict[int, dict[int, float]] = {}
    for row, step, value in zip(
        reports.row[wanted].tolist(), reports.step[wanted].tolist(), reports.value[wanted].tolist(), strict=True
    ):
        found.setdefault(row, {})[step] = value
    return found


def ask(view: View, sampler: optuna.samplers.BaseSampler, distributions: Mapping[str, Any]) -> FrozenTrial:
    """What the sampler proposes for the next trial of the view, with all the attributes it has left there."""
    trial = view.study(sampler).ask(dict(distributions))
    return view.trials[trial._trial_id]
