"""Quasi-Monte Carlo search: against scipy and Optuna, and what is particular about it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import qmc

from tunesmith import Categorical, Float, Int, Space, create_study
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.samplers import QMCSampler, RandomSampler, from_spec, get_sampler
from tunesmith.study import Study, suggest_all

CUBE = Space({name: Float(0, 1) for name in "abcd"})


def search(sampler: Any, trials: int, space: Space = CUBE, seed: int = 4) -> Study:
    study = create_study(sampler=sampler, space=space, seed=seed)
    study.optimize(lambda t: float(len(suggest_all(t, space))), n_trials=trials)
    return study


def visited(study: Study) -> np.ndarray:
    return np.array([list(t.params.values()) for t in study.trials])


@pytest.mark.parametrize(("kind", "engine"), [("sobol", qmc.Sobol), ("halton", qmc.Halton)])
def test_plain_sequences_are_scipys(kind: str, engine: Any) -> None:
    found = visited(search(QMCSampler(qmc_type=kind), 64))
    np.testing.assert_allclose(found, engine(4, scramble=False).random(64))
    assert (found[0] == 0).all()  # the corner: why the short names are scrambled


@pytest.mark.parametrize("name", ["sobol", "halton"])
def test_short_names_are_scrambled(name: str) -> None:
    one, other = visited(search(name, 64)), visited(search(name, 64, seed=5))
    assert not np.allclose(one, other)
    assert (one[0] > 0).all()
    assert qmc.discrepancy(one) < 0.5 * qmc.discrepancy(visited(search("random", 64)))
    assert get_sampler(f"{name}-unscrambled") == QMCSampler(qmc_type=name)
    assert get_sampler(name) == QMCSampler(qmc_type=name, scramble=True)


def test_scrambled_sobol_stays_a_net() -> None:
    """Every elementary interval of volume 1/64 in the first two dimensions has exactly one of the first 64 points."""
    found = visited(search("sobol", 64))[:, :2]
    for k in range(7):
        cells = {(int(x * 2**k), int(y * 2 ** (6 - k))) for x, y in found}
        assert len(cells) == 64


@pytest.mark.filterwarnings("ignore:QMCSampler is experimental")
def test_optuna_agrees() -> None:
    """Same points as Optuna's sampler for the same parameters, choices included."""
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    choices = ["a", "b", "c"]

    def objective(trial: Any) -> float:
        trial.suggest_float("x", -1, 3)
        trial.suggest_float("y", 1e-3, 10, log=True)
        trial.suggest_categorical("c", choices)
        trial.suggest_int("k", 1, 9)
        return 0.0

    theirs = optuna.create_study(sampler=optuna.samplers.QMCSampler(seed=1))
    theirs.optimize(objective, n_trials=33)
    ours = create_study(sampler=QMCSampler(seed=1))
    ours.optimize(objective, n_trials=33)
    for mine, other in zip(ours.trials[1:], theirs.trials[1:], strict=True):  # both draw the first one at random
        assert mine.params["c"] == other.params["c"]
        assert [mine.params[n] for n in "xyk"] == pytest.approx([other.params[n] for n in "xyk"])


def test_choices_and_integers_are_spread_evenly() -> None:
    space = Space({"c": Categorical(["a", "b", "c", "d"]), "k": Int(1, 8), "s": Float(0, 1.5, step=0.5)})
    study = search("sobol", 64, space)
    for name, values in (("c", "abcd"), ("k", range(1, 9)), ("s", (0.0, 0.5, 1.0, 1.5))):
        counts = [sum(t.params[name] == v for t in study.trials) for v in values]
        assert set(counts) == {64 // len(counts)}


def test_index_is_the_next_unused_one() -> None:
    """Whatever order workers finish in, whatever fails, and when a proposal was replaced by an enqueued one."""
    study = create_study(sampler="sobol", space=CUBE, seed=4)
    trials = [study.ask(CUBE) for _ in range(5)]
    for k in (3, 0, 4):
        study.tell(trials[k], 1.0)
    study.enqueue_trial({"a": 0.5})  # in part: its other values are drawn, but it is no point of the sequence
    study.enqueue_trial(dict.fromkeys("abcd", 0.25))
    study.optimize(lambda t: [suggest_all(t, CUBE), 1 / (t.number != 8)][1], n_trials=6, catch=ZeroDivisionError)
    index = {t.number: t.system_attrs.get("tags", {}).get("qmc.i") for t in study.trials}
    assert index == {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: None, 6: None, 7: 5, 8: 6, 9: 7, 10: 8}
    plain = search("sobol", 9)
    for t in study.trials:
        if (i := index[t.number]) is not None:
            assert t.params == plain.trials[int(i)].params


def test_a_grown_space_goes_on_at_the_next_index() -> None:
    study = create_study(sampler=QMCSampler(), seed=1)

    def objective(trial: Any) -> float:
        x = trial.suggest_float("x", 0, 1)
        return x + (trial.suggest_float("y", 0, 1) if trial.number >= 4 else 0)

    study.optimize(objective, n_trials=9)
    sequence = qmc.Sobol(2, scramble=False).random(8)
    assert [t.params["x"] for t in study.trials[1:5]] == sequence[:4, 0].tolist()
    np.testing.assert_array_equal([[t.params["x"], t.params["y"]] for t in study.trials[5:]], sequence[4:8])


def test_late_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    """Optuna's two arguments: who draws them, and whether that is worth a warning."""

    class Lowest(RandomSampler):
        def independent(self, name: str, distribution: Any, history: Any, rng: Any) -> Any:
            return distribution.low

    def objective(trial: Any) -> float:
        trial.suggest_float("x", 2, 3)
        return trial.suggest_float("y", 5, 6) if trial.number else 0.0

    for sampler, drawn, warned in (
        (QMCSampler(independent_sampler=Lowest()), True, True),
        (QMCSampler(warn_independent_sampling=False), False, False),
    ):
        study = create_study(sampler=sampler, seed=0)
        study.optimize(objective, n_trials=2)
        assert (study.trials[0].params["x"] == 2 and study.trials[1].params["y"] == 5) == drawn
        assert ("'y' is new" in capsys.readouterr().err) == warned
    sampler = QMCSampler(independent_sampler=RandomSampler(seed=3), seed=8)
    assert from_spec(sampler.spec()) == sampler


def test_limits() -> None:
    with pytest.raises(InvalidValueError, match="sobol, halton"):
        QMCSampler(qmc_type="lhs")
    with pytest.raises(InvalidTypeError, match="independent_sampler"):
        QMCSampler(independent_sampler="random")  # type: ignore[arg-type]
    wide = Space({f"x{i}": Float(0, 1) for i in range(21202)})
    study = create_study(sampler="sobol", space=wide)
    with pytest.raises(InvalidValueError, match="at most 21201"):
        study.ask()
