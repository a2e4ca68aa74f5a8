"""Spaces, objectives and runs for the conformance kit of samplers."""

from __future__ import annotations

import contextlib
import copy
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tunesmith.distributions import BaseDistribution, Categorical, Float, Int, choice_key
from tunesmith.fold import Fold
from tunesmith.history import History
from tunesmith.samplers import BaseSampler, available, from_spec
from tunesmith.space import Space
from tunesmith.storages import BaseStorage, InMemoryStorage
from tunesmith.study import Study, create_study, load_study, suggest_all
from tunesmith.trial import Trial, TrialPruned, TrialState

Objective = Callable[[Trial], Any]

#: Every kind of parameter, in spaces of at most five so that a grid over them stays small.
SPACES: dict[str, Space] = {
    "floats": Space({"x": Float(-3, 5), "y": Float(1e-4, 1e-1, log=True), "z": Float(0, 1, step=0.1)}),
    "integers": Space({"i": Int(-4, 4), "j": Int(3, 30, step=3), "k": Int(1, 512, log=True)}),
    "choices": Space(
        {
            "a": Categorical(["relu", "tanh", "gelu"]),
            "b": Categorical([None, True, 1, 1.0, "1"]),
            "c": Categorical([(1, 2), (3, (4, 5))]),
        }
    ),
    "single": Space({"x": Float(2, 2), "i": Int(7, 7), "c": Categorical(["only"]), "g": Float(3, 3, log=True)}),
    "huge": Space(
        {
            "x": Float(-1.7e308, 1.7e308),
            "y": Float(1e-300, 1e300, log=True),
            "i": Int(-(2**62), 2**62),
            "k": Int(1, 2**60, log=True),
            "s": Int(0, 10**18, step=10**6),
        }
    ),
    "conditional": Space(
        {
            "lr": Float(1e-4, 1e-1, log=True),
            "layers": Int(1, 3),
            "f2": Int(8, 64, log=True),
            "f3": Int(8, 64),
            "optimizer": Categorical(["sgd", "adam"]),
            "momentum": Float(0, 1),
        },
        {"f2": "layers >= 2", "f3": "layers >= 3", "momentum": "optimizer == 'sgd'"},
    ),
}

#: Where no configuration can come twice by chance.
CONTINUOUS = Space({"x": Float(-3, 5), "y": Float(1e-4, 1e-1, log=True), "z": Float(0, 1)})
SMALL = Space({"c": Categorical(["a", "b", "c"]), "i": Int(1, 2)})


def loss(space: Space, params: dict[str, Any]) -> float:
    """A smooth function of a configuration; its best point is off the centre."""
    unit = space.encode(space.from_params(params)[None])[0]
    target = 0.3 + 0.4 * np.arange(len(unit)) / max(1, len(unit))
    return float(np.nansum((unit - target) ** 2))


def on(space: Space) -> Objective:
    """An objective that asks for the active parameters of ``space`` and returns their loss."""
    return lambda trial: loss(space, suggest_all(trial, space))


def typed_on(space: Space) -> Objective:
    """As :func:`on`; what the objective gets must have the parameter's own type."""

    def objective(trial: Trial) -> float:
        params = suggest_all(trial, space)
        for name, value in params.items():
            check_type(name, space[name], value)
        return loss(space, params)

    return objective


def check_type(name: str, distribution: BaseDistribution, value: Any) -> None:
    """A float for a float parameter, an int for an integer one, a choice of its very type for a choice."""
    if isinstance(distribution, Categorical):
        keys = {choice_key(choice) for choice in distribution.choices}
        assert choice_key(value) in keys, f"{name} = {value!r} has another type than its choice"
    else:
        kind = float if distribution.kind == "float" else int
        assert type(value) is kind, f"{name} = {value!r} is a {type(value).__name__}"


def branching(trial: Trial) -> float:
    """Define-by-run with branches and a loop, so that names turn up one after the other."""
    lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
    total = (np.log10(lr) + 2) ** 2
    if trial.suggest_categorical("model", ["linear", "net"]) == "net":
        for layer in range(trial.suggest_int("layers", 1, 3)):
            total += abs(trial.suggest_int(f"units_{layer}", 4, 64) - 20) / 60
    else:
        total += 1 + trial.suggest_float("ridge", 0, 1)
    return float(total)


def changing(trial: Trial) -> float:
    """Bounds that move after trial 5, choices that change after trial 8, a new name after trial 11."""
    n = trial.number
    x = trial.suggest_float("x", 0, 1) if n <= 5 else trial.suggest_float("x", 0.5, 3)
    c = trial.suggest_categorical("c", ["a", "b"] if n <= 8 else ["b", "new", "a"])
    total = (x - 0.7) ** 2 + (c != "b")
    if n > 11:
        total += trial.suggest_int("k", 1, 9, log=True) / 10
    return float(total)


def troubled(space: Space) -> Objective:
    """One trial in six fails, returns NaN, is pruned with or without a report, or is infinite."""

    def objective(trial: Trial) -> float:
        value = loss(space, suggest_all(trial, space))
        match trial.number % 6:
            case 1:
                raise RuntimeError("on purpose")
            case 2:
                return float("nan")
            case 3:
                trial.report(value, 1)
                raise TrialPruned
            case 4:
                if trial.number % 12 == 4:
                    raise TrialPruned
                return float("inf")
        return value

    return objective


def run(study: Study, objective: Objective, trials: int) -> Study:
    """Optimize until ``trials`` trials have finished, or the method has nothing left to propose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study.optimize(objective, n_trials=trials - study.history.n, catch=(RuntimeError,))
    return study


def facts(study: Study) -> list[tuple[Any, ...]]:
    """What must be equal in two runs that are to be the same: everything but times and attempts."""
    return [
        (
            t.number,
            t.state.name,
            repr(t.values),
            {name: choice_key(value) for name, value in t.params.items()},
            t.distributions,
            t.system_attrs.get("tags", {}),
        )
        for t in study.get_trials()
    ]


def check_domain(study: Study, space: Space | None = None) -> None:
    """Every finished configuration lies in its distributions, and has the names that are active."""
    for trial in study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED)):
        for name, value in trial.params.items():
            distribution = trial.distributions[name]
            assert distribution.contains(value), f"trial {trial.number}: {name} = {value!r} is not in {distribution!r}"
            check_type(name, distribution, value)
        if space is not None:
            assert set(trial.params) == set(space.active(trial.params))
            missing = {n for n in set(space) - set(trial.params) if space.holds(n, trial.params)}
            assert not missing, f"trial {trial.number} lacks {missing}"


def configurations(study: Study) -> list[tuple[Any, ...]]:
    """The configurations of all trials, hashable, by number."""
    return [tuple(sorted((n, choice_key(v)) for n, v in t.params.items())) for t in study.get_trials()]


def snapshot(history: History) -> list[Any]:
    """Everything a sampler can see, copied."""
    arrays = [history.X, history.Y, history.state, history.number, history.violation, *history.reports]
    tags = [history.tag(name) for name in sorted(history._tags)]
    return [[a.copy().tobytes() for a in (*arrays, *tags)], copy.deepcopy(repr(history.open)), history.n, history.seed]


def reloadable(sampler: BaseSampler) -> bool:
    """Whether a log alone can bring the sampler back (it belongs to ``tunesmith.samplers``)."""
    return type(sampler).__name__ in available() and sampler.spec()["args"] is not None


def load(storage: BaseStorage, sampler: BaseSampler) -> Study:
    """The study of a storage that holds one; with the sampler from its log, if that can be."""
    return load_study(study_name=None, storage=storage, sampler=None if reloadable(sampler) else sampler)


def stored(records: list[Any]) -> BaseStorage:
    """A store with a study of these records, as if its only worker had been killed."""
    store = InMemoryStorage()
    name = store.create("cut")
    for record in records:
        store.append(name, [{**e, "start": "long ago"} if e["e"] == "worker" else dict(e) for e in record])
    return store


def cut_logs(study: Study) -> Iterator[BaseStorage]:
    """For every length of the study's log: a store with that much of it, as if its only worker had been killed then."""
    records = study.storage.read(study._log.study)
    for length in range(1, len(records) + 1):
        yield stored(records[:length])


def retimed(study: Study, step: int) -> History:
    """The study's history, had the first event come in 2001 and every later one ``step`` microseconds after the other.

    Held by the log alone: what is running goes on running.
    """
    fold, now = Fold(), 10**15
    for record in study.storage.read(study._log.study):
        for event in record:
            now += step
            fold.apply({**event, "t": now} if "t" in event else event)
    return fold.history()


def drop_caches(sampler: BaseSampler) -> None:
    """Clear every ``functools`` cache in the library and in the package of the sampler."""
    roots = {"tunesmith", type(sampler).__module__.partition(".")[0]}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in roots:
            for value in list(vars(module).values()):
                with contextlib.suppress(Exception):
                    value.cache_clear()


def new_study(sampler: BaseSampler, space: Space | None = None, seed: int = 5, **options: Any) -> Study:
    """A study in memory."""
    return create_study(sampler=sampler, space=space, seed=seed, **options)


def busy(sampler: BaseSampler, space: Space, trials: int) -> Study:
    """A study with finished trials and two pending ones."""
    study = run(new_study(sampler, space), on(space), trials)
    for _ in range(2):
        study.ask()
    return study


def edits(study: Study) -> Iterator[Callable[[], Any]]:
    """Edits and deletions: of the best trial, of early and late ones, and of one that is running."""
    best, (first, *_, last) = study.best_trial, study.get_trials(states=(TrialState.COMPLETE,))
    yield lambda: study.edit_trial(best.number, values=1e3 * (1 + abs(best.value or 0)))
    yield lambda: study.delete_trial(last.number)
    yield lambda: study.edit_trial(first.number, state=TrialState.FAIL)
    yield lambda: study.delete_trial(study.get_trials(states=(TrialState.RUNNING,))[0].number)
    yield lambda: study.edit_trial(first.number, state=TrialState.COMPLETE, values=-5.0, constraints={"c": -1.0})
    yield lambda: study.delete_trial(study.best_trial.number)


def rebuilt(sampler: BaseSampler) -> BaseSampler:
    """The sampler from what a log keeps of it."""
    spec = json.loads(json.dumps(sampler.spec(), allow_nan=False))
    return from_spec(spec) if reloadable(sampler) else type(sampler)(**spec["args"])


def constrained(space: Space) -> Objective:
    """The first four trials are infeasible, and later every third; one of those fails."""

    def objective(trial: Trial) -> float:
        value = loss(space, suggest_all(trial, space))
        trial.set_constraint("size", 1.0 + trial.number if trial.number < 4 or trial.number % 3 == 0 else -1.0)
        if trial.number == 6:
            raise RuntimeError("on purpose")
        return value

    return objective


def twofold(space: Space) -> Callable[[Trial], tuple[float, float]]:
    """Two objectives; one trial in five fails, or has infinite values."""

    def objective(trial: Trial) -> tuple[float, float]:
        value = loss(space, suggest_all(trial, space))
        if trial.number % 10 == 3:
            raise RuntimeError("on purpose")
        return (float("inf"), value) if trial.number % 10 == 8 else (value, float(trial.number % 4))

    return objective
