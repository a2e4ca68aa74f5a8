"""Optuna's samplers as search methods: against Optuna itself, and under the kit."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from tunesmith import Categorical, Float, Int, Space, create_study, integrations
from tunesmith.exceptions import InvalidTypeError, InvalidValueError, MissingDependencyError
from tunesmith.integrations.optuna import METHODS, OptunaSampler, sampler
from tunesmith.numerics.streams import stream
from tunesmith.samplers import BaseSampler, RandomSampler
from tunesmith.study import Study, suggest_all
from tunesmith.testing._searches import SPACES, facts, on, run
from tunesmith.testing.samplers import Method, SamplerKit

optuna = pytest.importorskip("optuna")
pytestmark = [
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
    pytest.mark.filterwarnings("ignore:CmaEsSampler"),
]
optuna.logging.set_verbosity(optuna.logging.ERROR)

MIXED = Space(
    {
        "x": Float(-5, 5),
        "y": Float(1e-3, 1, log=True),
        "c": Categorical([None, (1, 2), "x"]),
        "k": Int(1, 100, log=True),
    }
)
THEIRS = {
    "x": optuna.distributions.FloatDistribution(-5, 5),
    "y": optuna.distributions.FloatDistribution(1e-3, 1, log=True),
    "c": optuna.distributions.CategoricalDistribution([0, 1, 2]),
    "k": optuna.distributions.IntDistribution(1, 100, log=True),
}
#: Those that need nothing but Optuna and NumPy, with what makes them learn within the trials of a test.
QUICK: dict[str, dict[str, Any]] = {
    "random": {},
    "tpe": {"n_startup_trials": 5},
    "qmc": {"scramble": True},
    "nsgaii": {"population_size": 6},
}


def make(name: str, **options: Any) -> OptunaSampler:
    try:
        return sampler(name, **options)
    except MissingDependencyError as error:
        pytest.skip(str(error))


class TestKit(SamplerKit):
    """The whole kit for the ones that are quick."""

    trials = 12
    refuses = ("huge",)

    @pytest.fixture(params=QUICK)
    def method(self, request: pytest.FixtureRequest) -> Method:
        return OptunaSampler, {"name": request.param, "options": QUICK[request.param]}


@pytest.mark.parametrize(
    ("name", "options", "trials"),
    [
        ("random", {}, 10),
        ("tpe", {}, 40),
        ("tpe", {"multivariate": True, "n_startup_trials": 5}, 25),
        ("qmc", {}, 20),
        ("nsgaii", {"population_size": 6}, 40),
        ("nsgaiii", {"population_size": 6}, 40),
        ("cmaes", {}, 60),
    ],
)
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_optuna_itself_proposes_the_same(name: str, options: dict[str, Any], trials: int, direction: str) -> None:
    """A native study whose sampler is newly seeded for every trial, with the seeds that the trials' tags hold."""
    made = make(name, **options)
    sign = -1 if direction == "maximize" else 1

    def value(x: float, y: float, k: int, c: int) -> float:
        return sign * ((x - 1) ** 2 + (np.log10(y) + 2) ** 2 + abs(np.log(k / 9)) + (c != 1))

    study = create_study(sampler=made, space=MIXED, seed=3, direction=direction)
    native = optuna.create_study(direction=direction)
    for number in range(trials):
        trial = study.ask(MIXED)
        seed = int(study.trials[-1].system_attrs["tags"]["optuna.seed"])
        assert seed == int(stream(3, number).integers(2**32))
        native.sampler = type(made.make(0))(seed=seed, **options)
        other = native.ask(THEIRS)
        c = [None, (1, 2), "x"].index(trial.params["c"])
        assert {**trial.params, "c": c} == other.params
        told = value(**other.params)
        if number % 7 == 5:  # failures and pruned trials as well
            trial.report(told, 1)
            other.report(told, 1)
            study.tell(trial, state=study.trials[-1].state.PRUNED)
            native.tell(other, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, told)
            native.tell(other, told)


def test_gp_takes_part() -> None:
    """Needs torch, so only the essentials: it learns, stays in its domain, and resumes."""
    pytest.importorskip("torch")
    made = make("gp", n_startup_trials=4)
    space = SPACES["floats"]
    whole = facts(run(create_study(sampler=made, space=space, seed=1), on(space), 6))
    part = run(create_study(sampler=made, space=space, seed=1), on(space), 5)
    assert facts(run(part, on(space), 6)) == whole
    assert made.n_initial(space) == 4


def test_tpe_beats_random_search_on_a_sphere() -> None:
    space = Space({f"x{i}": Float(-5, 5) for i in range(3)})

    def best(method: BaseSampler) -> float:
        found = []
        for seed in range(5):
            study = create_study(sampler=method, space=space, seed=seed)
            study.optimize(lambda t: sum((v - 1) ** 2 for v in suggest_all(t, space).values()), n_trials=60)
            found.append(study.best_value)
        return float(np.median(found))

    assert best(make("tpe")) < 0.5 * best(RandomSampler())


def test_cmaes_goes_on_where_it_stopped() -> None:
    """Its state is found again in another process by asking for the earlier trials once more."""
    made = make("cmaes")
    space = Space({f"x{i}": Float(-5, 5) for i in range(3)})

    def objective(trial: Any) -> float:
        return float(sum((v - 1) ** 2 for v in suggest_all(trial, space).values()))

    whole = run(create_study(sampler=made, space=space, seed=1), objective, 50)
    part = run(create_study(sampler=made, space=space, seed=1), objective, 30)
    part.sampler = make("cmaes")  # nothing is known to the new instance
    assert facts(run(part, objective, 50)) == facts(whole)
    assert whole.best_value < 0.5


def test_several_objectives() -> None:
    space = Space({"x": Float(0, 1), "y": Float(0, 1)})
    for name in ("tpe", "nsgaii"):
        study = create_study(sampler=make(name), space=space, seed=1, directions=["minimize", "maximize"])
        study.optimize(lambda t: (suggest_all(t, space)["x"], t.params["y"]), n_trials=15)
        assert study.best_trials


def test_constraints_are_passed_on() -> None:
    """TPE avoids what is infeasible."""
    space = Space({"x": Float(0, 1), "y": Float(0, 1)})

    def objective(trial: Any) -> float:
        params = suggest_all(trial, space)
        trial.set_constraint("c", 0.7 - params["x"])
        return params["x"] + params["y"]

    late = []
    for seed in range(3):
        study = create_study(sampler=make("tpe"), space=space, seed=seed)
        study.optimize(objective, n_trials=50)
        late += [t.params["x"] for t in study.trials[25:]]
    assert np.mean(np.array(late) >= 0.7) > 0.5  # 0.3 of the space is feasible; without the constraint x goes to 0


def test_a_changed_space() -> None:
    """Values that are outside now are moved inside, choices that are gone are left out."""

    def objective(trial: Any) -> float:
        early = trial.number < 8
        x = trial.suggest_float("x", 1e-6 if early else 1e-3, 1, log=True)
        c = trial.suggest_categorical("c", ["a", "b", "c"] if early else ["c", "d"])
        return x + trial.suggest_int("k", 0, 100 if early else 10, step=5) + (c == "c")

    for name, options in QUICK.items():
        study = create_study(sampler=make(name, **options), seed=2)
        study.optimize(objective, n_trials=20)
        assert study.history.n == 20


def test_n_initial() -> None:
    assert [make(name, **options).n_initial(MIXED) for name, options in QUICK.items()] == [0, 5, 0, 6]


def test_names() -> None:
    made = integrations.get_sampler("optuna:TPE", n_startup_trials=3, seed=9)
    assert made == OptunaSampler("TPE", {"n_startup_trials": 3}, 9)
    assert made.study_seed == 9
    assert integrations.get_sampler(" optuna : nsga-ii ") == OptunaSampler("nsga-ii")
    assert set(METHODS) == {"tpe", "gp", "cmaes", "nsgaii", "nsgaiii", "random", "qmc"}
    with pytest.raises(InvalidValueError, match="'annealing' is unknown here; known: tpe"):
        sampler("annealing")
    with pytest.raises(InvalidValueError, match="startup"):
        sampler("tpe", startup=3)
    with pytest.raises(InvalidTypeError, match="name"):
        OptunaSampler(3)  # type: ignore[arg-type]


def test_without_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'tunesmith\[optuna\]'"):
        sampler("tpe")


def test_without_what_a_sampler_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, package in (("cmaes", "cmaes"), ("gp", "torch")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingDependencyError, match=f"pip install {package}"):
            sampler(name)


def test_the_log_names_it() -> None:
    """The log cannot rebuild what is not of the library's own room; it says so, and goes on when it is given."""
    space = SPACES["floats"]
    study = run(create_study(sampler=make("random"), space=space, seed=1), on(space), 3)
    again = Study(study.study_name, study._log)
    with pytest.raises(InvalidValueError, match="OptunaSampler"):
        run(again, on(space), 4)
    assert run(Study(study.study_name, study._log, make("random")), on(space), 4).history.n == 4


def test_a_scrambled_sequence_is_one_sequence() -> None:
    """Its points fill the square more evenly than random ones; with a scrambling for each they would not."""
    from scipy.stats.qmc import discrepancy

    space = Space({"x": Float(0, 1), "y": Float(0, 1)})

    def unevenness(name: str, seed: int, **options: Any) -> float:
        study = create_study(sampler=make(name, **options), space=space, seed=seed)
        for _ in range(32):
            study.tell(study.ask(space), 0.0)
        return float(discrepancy([list(t.params.values()) for t in study.trials]))

    even = [unevenness("qmc", seed, scramble=True) for seed in range(4)]
    assert len(set(even)) == 4  # another study has another scrambling
    assert np.mean(even) < 0.4 * np.mean([unevenness("random", seed) for seed in range(4)])


@pytest.mark.parametrize("name", ["tpe", "cmaes"])
def test_what_is_enqueued_in_part_is_completed_by_the_method(name: str) -> None:
    """A model that knows the optimum puts the open parameter near it; independent draws would not."""
    space = Space({"x": Float(-10, 10), "y": Float(-10, 10)})
    study = create_study(sampler=make(name), space=space, seed=1)
    objective = lambda trial: trial.suggest_float("x", -10, 10) ** 2 + trial.suggest_float("y", -10, 10) ** 2  # noqa: E731
    study.optimize(objective, n_trials=60)
    for k in range(15):
        study.enqueue_trial({"x": 0.1 + k / 1000})
    study.optimize(objective, n_trials=15)
    assert np.median([abs(t.params["y"]) for t in study.trials[60:]]) < 3
    assert len({t.params["y"] for t in study.trials[60:]}) > 10


class Climber(optuna.samplers.BaseSampler):  # type: ignore[misc,name-defined]
    """In OptunaHub's style: it has no argument ``seed``, and generators among its attributes."""

    def __init__(self, step: float = 0.1) -> None:
        self._rng = optuna.samplers._lazy_random_state.LazyRandomState()
        self._independent = optuna.samplers.RandomSampler()
        self._step = step

    def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
        return optuna.search_space.intersection_search_space(study.get_trials(deepcopy=False))

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        if not study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE]):
            return {}
        trial.set_user_attr("climbs", True) if hasattr(trial, "set_user_attr") else None
        best = study.best_params
        return {
            name: float(np.clip(best[name] + self._rng.rng.normal(scale=self._step), d.low, d.high))
            for name, d in search_space.items()
        }

    def sample_independent(self, study: Any, trial: Any, name: str, distribution: Any) -> Any:
        return self._independent.sample_independent(study, trial, name, distribution)


SQUARE = Space({"x": Float(-5, 5), "y": Float(-5, 5)})


def climbed(trials: int = 40, seed: int = 3) -> Study:
    study = create_study(sampler=OptunaSampler(Climber, {"step": 0.5}), space=SQUARE, seed=seed)
    study.optimize(lambda t: t.suggest_float("x", -5, 5) ** 2 + t.suggest_float("y", -5, 5) ** 2, n_trials=trials)
    return study


def test_a_class_in_optunas_style() -> None:
    one, same, other = climbed(), climbed(), climbed(seed=4)
    assert facts(one) == facts(same) != facts(other)
    assert one.best_value < 0.5
    assert one.sampler.spec()["args"] is None


def test_an_instance_in_optunas_style_is_refused_with_the_way_in() -> None:
    with pytest.raises(InvalidTypeError, match=r"OptunaSampler\(the class"):
        create_study(sampler=Climber())
    with pytest.raises(InvalidTypeError, match="give its class and arguments"):
        OptunaSampler(Climber())  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match="no subclass of optuna"):
        OptunaSampler(dict).make(0)
