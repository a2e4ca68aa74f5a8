"""The final report: fresh trainings of the best configurations, and how optimistic the search was."""

from __future__ import annotations

import json
import math
import statistics
from typing import Any

import numpy as np
import pytest

import tunesmith as ts
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.study import Confirmation

NOISE = 0.5


class Noisy:
    """val_loss = x + noise of the seed; the test is that plus 1."""

    metrics = ("val_loss", "other")
    directions = ("minimize",)

    def __init__(self, sign: int = 1, fail_above: float = math.inf) -> None:
        self.sign, self.fail_above, self.asked = sign, fail_above, []  # type: ignore[var-annotated]

    def to_dict(self) -> dict[str, Any]:
        return {"sign": self.sign}

    def value(self, x: float, seed: int) -> float:
        return self.sign * (x + NOISE * float(np.random.default_rng([7, seed]).normal()))

    def __call__(self, trial: Any) -> float:
        return self.value(trial.suggest_float("x", 0, 1), trial.number)

    def confirmation_seed(self, number: int) -> int:
        return 10**6 + number

    def evaluate_test(self, params: dict[str, Any], training_seed: int) -> dict[str, float]:
        self.asked.append((params["x"], training_seed))
        if params["x"] > self.fail_above:
            raise ArithmeticError("it diverged")
        value = self.value(params["x"], training_seed)
        return {"test_loss": value + self.sign, "val_loss": value, "other": 3.0}


class WithoutTest(Noisy):
    """As when the test part is what the search validates on."""

    evaluate_test = None  # type: ignore[assignment]

    def evaluate(self, params: dict[str, Any], training_seed: int) -> dict[str, float]:
        return {"val_loss": self.value(params["x"], training_seed)}


def searched(problem: Noisy, n: int = 30, **options: Any) -> ts.Study:
    study = ts.create_study(seed=0, sampler="random", **options)
    study.optimize(problem, n_trials=n)
    return study


def test_it_trains_the_best_on_fresh_seeds_and_says_how_optimistic_the_search_was() -> None:
    problem = Noisy()
    study = searched(problem)
    found = study.confirm(problem, top=3, repeats=20)
    ranked = sorted(study.trials, key=lambda t: t.value)
    assert [t.number for t in found.trials] == [t.number for t in ranked[:3]]
    assert {seed for _, seed in problem.asked} == {10**6 + i for i in range(20)}
    assert len(problem.asked) == 60
    first = found.trials[0]
    values = [problem.value(first.params["x"], 10**6 + i) for i in range(20)]
    assert first.search_value == study.best_value
    assert first.mean_sd("val_loss") == pytest.approx((statistics.fmean(values), statistics.stdev(values)))
    assert first.mean_sd("test_loss")[0] == pytest.approx(statistics.fmean(values) + 1)
    gap, error = found.optimism
    assert gap == pytest.approx(statistics.fmean(values) - study.best_value)
    assert error == pytest.approx(statistics.stdev(values) / math.sqrt(20))
    assert gap > 3 * error  # the best of 30 noisy values: what it is for
    best = min(found.trials, key=lambda t: t.mean_sd("val_loss")[0])
    assert found.best is best
    assert first.metrics == ["val_loss", "test_loss", "other"]


def test_maximising_is_its_mirror() -> None:
    down, up = Noisy(), Noisy(sign=-1)
    first = searched(down).confirm(down, top=4, repeats=5)
    second = searched(up, direction="maximize").confirm(up, top=4, repeats=5)
    assert [t.number for t in first.trials] == [t.number for t in second.trials]
    assert first.optimism == pytest.approx(second.optimism)
    assert first.best.number == second.best.number
    assert second.direction == "maximize"
    assert first.trials[0].mean_sd("val_loss")[0] == -second.trials[0].mean_sd("val_loss")[0]


def test_an_interrupted_confirmation_goes_on(tmp_path: Any) -> None:
    class Interrupted(Noisy):
        def evaluate_test(self, params: dict[str, Any], training_seed: int) -> dict[str, float]:
            if len(self.asked) == 4:
                raise KeyboardInterrupt
            return super().evaluate_test(params, training_seed)

    place = f"sqlite:///{tmp_path}/s.db"
    study = searched(Noisy(), study_name="s", storage=place)
    with pytest.raises(KeyboardInterrupt):
        study.confirm(Interrupted(), top=3, repeats=4)
    rest = Noisy()
    calls: list[tuple[int, int]] = []
    again = ts.load_study(study_name="s", storage=place).confirm(
        rest, top=3, repeats=4, on_progress=lambda done, total: calls.append((done, total))
    )
    assert len(rest.asked) == 12 - 4
    assert calls == [(done, 12) for done in range(1, 13)]
    assert again == searched(Noisy()).confirm(Noisy(), top=3, repeats=4)
    more = Noisy()
    study.confirm(more, top=3, repeats=6)
    assert len(more.asked) == 6  # what is known is not trained again
    another = Noisy(sign=-1)
    study.confirm(another, top=3, repeats=4)
    assert len(another.asked) == 12  # of another problem nothing is known


def test_trainings_that_fail_are_counted() -> None:
    class Failing(Noisy):
        def fail_reason(self, error: BaseException) -> str | None:
            return str(error) if isinstance(error, ArithmeticError) else None

    study = searched(Noisy(), 10)
    bound = study.best_params["x"] - 1e-9
    found = study.confirm(Failing(fail_above=bound), top=10, repeats=3)
    assert found.trials[0].failures == ("it diverged",) * 3
    assert math.isnan(found.optimism[0])
    assert found.best.params["x"] <= bound  # one that can be trained stands before one that cannot
    assert "cannot be judged" in str(found)
    assert "3 of 3" in str(found)
    json.dumps(found.to_dict())
    with pytest.raises(ArithmeticError):  # an error that the problem does not call a failure is one
        study.confirm(Noisy(fail_above=bound), top=1, repeats=4)


def test_equal_configurations_count_once_and_only_complete_feasible_ones_count() -> None:
    problem = Noisy()
    study = ts.create_study(seed=0)
    for x in (0.5, 0.5, 0.25):
        study.enqueue_trial({"x": x})
    study.optimize(problem, n_trials=3)

    def other(trial: Any) -> float:
        trial.suggest_float("x", 0, 1)
        trial.set_constraint("c", 1.0)
        return -100.0

    study.optimize(other, n_trials=1)
    found = study.confirm(problem, top=5, repeats=1)
    assert sorted(t.params["x"] for t in found.trials) == [0.25, 0.5]
    assert math.isnan(found.optimism[1])
    assert "more repeats" in str(found)


def test_without_a_test_part() -> None:
    problem = WithoutTest()
    found = searched(problem).confirm(problem, top=2, repeats=3)
    assert not found.has_test
    assert found.trials[0].metrics == ["val_loss"]
    assert "no test part that the search has not looked at" in str(found)


def test_the_report_can_be_read() -> None:
    problem = Noisy()
    found = searched(problem).confirm(problem, top=2, repeats=12)
    text = str(found)
    lines = text.splitlines()
    assert lines[0].split() == ["trial", "search", "val_loss", "fresh", "val_loss", "optimism", "test_loss"]
    assert len({len(line) for line in lines[:4]}) == 1
    mean, sd = found.trials[0].mean_sd("val_loss")
    assert f"{mean:.2f} ± {sd:.2f}" in lines[2]
    assert "was optimistic by" in text
    data = json.loads(json.dumps(found.to_dict()))
    assert data["trials"][0]["mean_sd"]["val_loss"] == [mean, sd]
    assert len(data["trials"][0]["results"]) == data["repeats"] == 12


def test_numbers_are_shown_with_the_digits_that_mean_something() -> None:
    from tunesmith.study._confirm import _spread

    assert _spread(0.320412, 0.00812) == "0.3204 ± 0.0081"
    assert _spread(1234.5678, 12.3) == "1235 ± 12"
    assert _spread(0.5, 0.0996) == "0.50 ± 0.10"
    assert _spread(0.5, 0.0) == "0.5 ± 0"
    assert _spread(0.5, math.nan) == "0.5"
    assert _spread(0.25, 0.1, sign="+") == "+0.25 ± 0.10"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"problem": lambda trial: 1.0}, InvalidTypeError, "needs `confirmation_seed"),
        ({"top": 0}, InvalidValueError, "`top` must be at least 1"),
        ({"repeats": 2.5}, InvalidTypeError, "`repeats` must be an integer"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    study = searched(Noisy(), 2)
    with pytest.raises(error, match=message):
        study.confirm(**{"problem": Noisy(), "top": 1, "repeats": 1, **arguments})


def test_nothing_to_confirm() -> None:
    with pytest.raises(InvalidValueError, match="nothing to confirm"):
        ts.create_study().confirm(Noisy())

    class Silent(Noisy):
        def evaluate_test(self, params: dict[str, Any], training_seed: int) -> dict[str, float]:
            return {"test_loss": 1.0}

    with pytest.raises(InvalidValueError, match="not its objective 'val_loss'"):
        searched(Silent(), 2).confirm(Silent(), top=1, repeats=1)
    several = ts.create_study(directions=["minimize", "minimize"])
    several.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 1.0), n_trials=1)
    with pytest.raises(RuntimeError, match="several"):
        several.confirm(Noisy())


def test_optimism_is_what_it_claims_to_be() -> None:
    """Over many searches, where all configurations are equally good, it is the expected smallest of n noisy values."""
    gaps = []
    for seed in range(60):

        class Equal(Noisy):
            def value(self, x: float, seed: int, search: int = seed) -> float:
                return NOISE * float(np.random.default_rng([search, seed]).normal())

        problem = Equal()
        study = searched(problem, 10)
        gaps.append(study.confirm(problem, top=1, repeats=10).optimism[0])
    expected = NOISE * 1.5388  # of the smallest of ten standard normal values
    assert statistics.fmean(gaps) == pytest.approx(expected, abs=4 * statistics.stdev(gaps) / math.sqrt(60))
    assert isinstance(study.confirm(problem, top=1, repeats=2), Confirmation)


def test_an_objective_without_a_value_is_a_failure() -> None:
    class Undefined(Noisy):
        def evaluate_test(self, params: dict[str, Any], training_seed: int) -> dict[str, float]:
            return {"val_loss": math.nan, "test_loss": 1.0}

    (trial,) = searched(Noisy(), 3).confirm(Undefined(), top=1, repeats=2).trials
    assert (trial.results, trial.failures) == ((), ("val_loss is NaN.",) * 2)
