"""Experts' priors: the densities against scipy's, the odds, and that a good one helps while a bad one is survived."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tunesmith import Categorical, Float, Int, Space, create_study, load_study, minimize
from tunesmith.distributions import BaseDistribution
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.samplers import GridSampler, PriorSampler, PSOSampler, from_spec
from tunesmith.samplers._priors import belief, check_form
from tunesmith.storages import InMemoryStorage
from tunesmith.study import suggest_all
from tunesmith.testing.samplers import SamplerKit

SPACE = Space(
    {
        "x": Float(0, 10),
        "lr": Float(1e-5, 1, log=True),
        "k": Int(1, 8),
        "c": Categorical([None, True, 1]),
        "m": Float(0, 1),
    },
    {"m": "c == None"},
)


class TestKit(SamplerKit):
    """With beliefs in parameters of some of the kit's spaces."""

    sampler_class = PriorSampler
    options = {  # noqa: RUF012
        "priors": {
            "x": {"mean": 0.75, "sd": 0.5},
            "y": {"median": 1e-2, "factor": 2},
            "lr": {"quantiles": {"0.2": 1e-3, "0.8": 1e-2}},
            "layers": {"mean": 2, "sd": 0.5},
            "optimizer": {"weights": {"adam": 5}},
        },
        "base": "pso",
    }


def density(name: str, form: dict[str, Any], unit: np.ndarray) -> np.ndarray:
    return belief(name, SPACE[name], check_form(name, form)).density(unit)


UNIT = np.linspace(0.001, 0.999, 201)


def test_normal() -> None:
    form = {"mean": 8.0, "sd": 3.0}
    expected = stats.truncnorm(-8 / 3, 2 / 3, loc=8, scale=3)
    np.testing.assert_allclose(density("x", form, UNIT), 10 * expected.pdf(10 * UNIT))
    drawn = belief("x", SPACE["x"], check_form("x", form)).at(UNIT)
    np.testing.assert_allclose(10 * drawn, expected.ppf(UNIT))


def test_log_normal() -> None:
    """With the mean and standard deviation that were given, before it is cut off."""
    of = belief("lr", SPACE["lr"], check_form("lr", {"mean": 1e-3, "sd": 5e-4}))
    sigma = math.sqrt(math.log(1.25))
    free = stats.lognorm(sigma, scale=1e-3 / math.sqrt(1.25))
    assert (free.mean(), free.std()) == pytest.approx((1e-3, 5e-4))
    values = SPACE.decode(np.tile(of.at(UNIT)[:, None], (1, 5)))[:, 1]
    np.testing.assert_allclose(values, free.ppf(UNIT), rtol=1e-6)


def test_median_and_factor() -> None:
    """Two thirds of the draws are within the factor."""
    of = belief("lr", SPACE["lr"], check_form("lr", {"median": 1e-3, "factor": 3}))
    values = SPACE.decode(np.tile(of.at((np.arange(9999) + 0.5)[:, None] / 9999), (1, 5)))[:, 1]
    assert np.median(values) == pytest.approx(1e-3, rel=1e-3)
    assert np.mean((values > 1e-3 / 3) & (values < 3e-3)) == pytest.approx(0.6827, abs=1e-3)


def test_quantiles() -> None:
    of = belief("x", SPACE["x"], check_form("x", {"quantiles": {0.9: 6, "0.1": 2}}))
    np.testing.assert_allclose(10 * of.at(np.array([0, 0.1, 0.5, 0.9, 1.0])), [0, 2, 4, 6, 10], atol=1e-9)
    np.testing.assert_allclose(of.density(np.array([0.1, 0.4, 0.8])), [0.5, 2.0, 0.25])
    assert of.mode == pytest.approx(0.4)
    narrow = belief("x", SPACE["x"], check_form("x", {"quantiles": {0.3: 5, 0.6: 5}}))
    assert np.isfinite(narrow.density(UNIT)).all()


def test_weights() -> None:
    of = belief("c", SPACE["c"], check_form("c", {"weights": [[True, 4], [1, 0]]}))
    np.testing.assert_allclose(of.density(np.array([0.1, 0.5, 0.9])), [0.6, 2.4, 0.0])
    assert SPACE["c"].choices[int(of.mode * 3)] is True


@pytest.mark.parametrize("name", ["x", "lr", "k", "c"])
def test_densities_have_mass_one_and_are_those_of_the_draws(name: str) -> None:
    form = {"c": {"weights": [[None, 3.0]]}, "lr": {"median": 0.3, "factor": 5}}.get(name, {"mean": 3.0, "sd": 2.0})
    of = belief(name, SPACE[name], check_form(name, form))
    fine = (np.arange(20_000) + 0.5) / 20_000
    assert of.density(fine).mean() == pytest.approx(1, rel=1e-3)
    counts, edges = np.histogram(of.at(fine), bins=24, range=(0, 1))
    cumulated = np.interp(edges, fine, np.cumsum(of.density(fine)) / 20_000)
    np.testing.assert_allclose(counts / 20_000, np.diff(cumulated), atol=2e-3)


def test_the_first_trial_is_the_most_plausible() -> None:
    priors = {
        "x": {"mean": 4.0, "sd": 2.0},
        "c": {"weights": [[1, 9]]},
        "k": {"mean": 6.2, "sd": 1},
        "later": {"mean": 1, "sd": 1},
    }
    study = create_study(sampler=PriorSampler(priors, "random"), space=SPACE, seed=0)
    params = study.ask().relative_params
    assert (params["x"], params["k"]) == (pytest.approx(4.0), 6)
    assert params["c"] == 1
    assert params["c"] is not True


def share_drawn(priors: dict[str, Any], beta: float, trials: int = 120) -> np.ndarray:
    study = create_study(sampler=PriorSampler(priors, "random", beta=beta), space=SPACE, seed=1)
    study.optimize(lambda t: abs(suggest_all(t, SPACE)["x"] - 2.0), n_trials=trials)
    return study.history.tag("prior.drawn") == 1


def test_odds() -> None:
    """beta / t if what is drawn is as good as the rest, more if it is better, and less and less."""
    same = share_drawn({"k": {"mean": 3, "sd": 2}}, 10.0)
    expected = sum(10 / (10 + t) for t in range(1, 120))
    assert same.sum() == pytest.approx(expected, abs=9)
    assert same[:20].sum() > same[-60:].sum()
    good = share_drawn({"x": {"mean": 2, "sd": 0.3}}, 10.0)
    bad = share_drawn({"x": {"mean": 9, "sd": 0.3}}, 10.0)
    assert good.sum() > 2 * same.sum()
    assert bad.sum() < 0.8 * same.sum()
    assert not share_drawn({"x": {"mean": 2, "sd": 0.3}}, 0.0, 10).any()


BOWL = Space({name: Float(0, 1) for name in "abcd"})


def reached(sampler: Any, trials: int) -> float:
    """Median of nine searches of a bowl around 0.3."""
    found = []
    for seed in range(9):
        study = minimize(
            lambda **p: sum((v - 0.3) ** 2 for v in p.values()), dict(BOWL), trials, sampler=sampler, seed=seed
        )
        found.append(study.best_value)
    return float(np.median(found))


def test_a_good_belief_helps_and_a_bad_one_is_survived() -> None:
    base = PSOSampler()
    good = PriorSampler({name: {"mean": 0.35, "sd": 0.1} for name in BOWL}, base)
    bad = PriorSampler({name: {"mean": 0.95, "sd": 0.1} for name in BOWL}, base)
    assert reached(good, 10) < 0.3 * reached(base, 10)
    assert reached(bad, 10) > reached(base, 10)
    assert reached(bad, 80) < 0.3 * reached(base, 20)


def test_several_at_once_and_define_by_run() -> None:
    study = create_study(sampler=PriorSampler({"x": {"mean": 2, "sd": 1}}, "pso"), space=SPACE, seed=0)
    batch = [study.ask().relative_params["x"] for _ in range(8)]
    assert len(set(batch)) == 8

    def objective(trial: Any) -> float:
        return trial.suggest_float("x", 0, 10) + trial.suggest_int("n", 1, 3)

    late = create_study(sampler=PriorSampler({"x": {"mean": 2, "sd": 0.01}}, "random", beta=1e6), seed=0)
    late.optimize(objective, n_trials=6)
    assert all(abs(t.params["x"] - 2) < 0.1 for t in late.trials)


def test_enqueued_in_part() -> None:
    study = create_study(sampler=PriorSampler({"x": {"mean": 2, "sd": 0.01}}, "random", beta=1e9), space=SPACE, seed=0)
    study.enqueue_trial({"k": 3})
    study.optimize(lambda t: float(suggest_all(t, SPACE)["x"]), n_trials=1)
    assert study.trials[0].params["k"] == 3
    assert abs(study.trials[0].params["x"] - 2) < 0.1


def test_two_objectives() -> None:
    study = create_study(
        sampler=PriorSampler({"x": {"mean": 2, "sd": 1}}, "random"), space=SPACE, seed=0, directions=["minimize"] * 2
    )
    study.optimize(lambda t: (suggest_all(t, SPACE)["x"], t.params["k"]), n_trials=12)
    assert 0 < (study.history.tag("prior.drawn") == 1).sum() < 12


def test_the_log_keeps_the_beliefs() -> None:
    store = InMemoryStorage()
    priors = {
        "c": {"weights": [[(1, None), 2], [float("inf"), 3]]},
        "x": {"quantiles": {0.5: 3}},
        "y": {"mean": 1, "sd": 2},
    }
    sampler = PriorSampler(priors, PSOSampler(swarm_size=3), beta=4, seed=9)
    study = create_study(storage=store, sampler=sampler, study_name="s")
    assert study.history.seed == 9
    assert load_study(study_name="s", storage=store).sampler == sampler
    spec = json.loads(json.dumps(PriorSampler({"c": {"weights": {"a": 1}}}, "pso").spec()))
    assert from_spec(spec) == PriorSampler({"c": {"weights": {"a": 1}}}, "pso")
    assert PriorSampler({"c": {"weights": [[object(), 1]]}}, "pso").spec()["args"] is None


@pytest.mark.parametrize(
    ("form", "error", "match"),
    [
        (3, InvalidTypeError, "must be one of"),
        ({"mean": 1}, InvalidValueError, "keys"),
        ({"mean": 1, "sd": 0}, InvalidValueError, "`sd` > 0"),
        ({"mean": math.nan, "sd": 1}, InvalidValueError, "finite"),
        ({"mean": "a", "sd": 1}, InvalidTypeError, "needs numbers"),
        ({"median": 1, "factor": 0.5}, InvalidValueError, "`factor` > 1"),
        ({"quantiles": {}}, InvalidTypeError, "mapping share"),
        ({"quantiles": {"half": 1}}, InvalidValueError, "mapping share"),
        ({"quantiles": {0.5: 1, 0.7: 0}}, InvalidValueError, "grow"),
        ({"quantiles": {0.0: 1}}, InvalidValueError, "between 0 and 1"),
        ({"weights": 3}, InvalidTypeError, "choice -> weight"),
        ({"weights": {"a": -1}}, InvalidValueError, "negative"),
        ({"weights": {"a": 0}}, InvalidValueError, "positive"),
    ],
)
def test_bad_forms(form: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        PriorSampler({"p": form}, "random")


@pytest.mark.parametrize(
    ("distribution", "form"),
    [
        (Categorical(["a"]), {"mean": 1, "sd": 1}),
        (Float(0, 1), {"weights": {"a": 1}}),
        (Float(0, 1), {"median": 0.5, "factor": 2}),
        (Float(1, 2, log=True), {"mean": -1, "sd": 1}),
        (Categorical(["a"]), {"weights": {"b": 1}}),
    ],
)
def test_beliefs_that_do_not_suit(distribution: BaseDistribution, form: Any) -> None:
    with pytest.raises(InvalidValueError, match="prior"):
        create_study(sampler=PriorSampler({"p": form}, "random"), space=Space({"p": distribution})).ask()


def test_other_errors() -> None:
    with pytest.raises(InvalidValueError, match="goes on"):
        PriorSampler({}, GridSampler({"a": [1]}))
    with pytest.raises(InvalidTypeError, match="name -> belief"):
        PriorSampler([1], "random")  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="`beta`"):
        PriorSampler({}, "random", beta=-1)
    single = Space({"p": Float(2, 2), "q": Int(1, 1)})
    sampler = PriorSampler({"p": {"mean": 5, "sd": 1}, "q": {"quantiles": {0.5: 1}}}, "random")
    assert create_study(sampler=sampler, space=single).ask().relative_params == {"p": 2.0, "q": 1}
