"""Hyperband: the paper's table, its order, and the brackets side by side."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tunesmith
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.pruners import HyperbandPruner, Start
from tunesmith.pruners.hyperband import _brackets
from tunesmith.testing.studies import check_reload

#: Li et al. (2018), table 1: R = 81, eta = 3; (n_i, r_i) of the brackets s = 4, ..., 0.
TABLE = [
    [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
    [(34, 3), (11, 9), (3, 27), (1, 81)],
    [(15, 9), (5, 27), (1, 81)],
    [(8, 27), (2, 81)],
    [(5, 81)],
]


def curve(number: int, epochs: int) -> list[float]:
    rng = np.random.default_rng(number)
    return (rng.random() + rng.random(epochs) / np.sqrt(np.arange(1, epochs + 1))).tolist()


def run(rule: Any, n_trials: int, epochs: int, **options: Any) -> tuple[Any, list[int], list[int]]:
    """The study, how far each trial came, and its bracket."""

    def objective(trial: Any) -> Iterator[float]:
        trial.suggest_float("x", 0, 1)
        yield from curve(trial.number, epochs)

    study = tunesmith.create_study(pruner=rule, sampler="random", seed=0)
    study.optimize(objective, n_trials=n_trials, **options)
    check_reload(study)
    came = [len(t.intermediate_values) for t in study.trials]
    return study, came, [int(t.system_attrs.get("tags", {}).get("hyperband.bracket", -1)) for t in study.trials]


def survivors(rows: list[tuple[int, int]]) -> dict[int, int]:
    """Resource -> how many trials end there."""
    ends = [n for n, _ in rows[1:]] + [0]
    return {r: n - later for (n, r), later in zip(rows, ends, strict=True) if n > later}


@pytest.mark.parametrize("n_jobs", [1, 4])
def test_the_papers_table(n_jobs: int) -> None:
    study, came, bracket = run(HyperbandPruner(1, 81, synchronous=True), 143, 81, n_jobs=n_jobs)
    for index, rows in enumerate(TABLE):
        assert Counter(c for c, b in zip(came, bracket, strict=True) if b == index) == survivors(rows)
    whole = np.array(came) == 81
    assert int(whole.sum()) == 1 + 1 + 1 + 2 + 5
    assert [t.state.name == "COMPLETE" for t in study.trials] == whole.tolist()


def test_as_the_papers_algorithm() -> None:
    """Who continues in two loops of R = 9, eta = 3; n is computed as in algorithm 1, with B = (s_max + 1) R."""
    big, eta, s_max = 9, 3, 2
    expected, number = [], 0
    for s in [2, 1, 0] * 2:
        n = math.ceil((s_max + 1) * big / big * eta**s / (s + 1))
        left, ends = list(range(number, number + n)), dict.fromkeys(range(number, number + n), 0)
        number += n
        for i in range(s + 1):
            resource = big // eta ** (s - i)
            ends.update(dict.fromkeys(left, resource))
            left.sort(key=lambda t, r=resource: curve(t, 9)[r - 1])  # type: ignore[misc]
            left = left[: int(n / eta**i) // eta]
        expected += list(ends.values())
    _, came, bracket = run(HyperbandPruner(1, 9, synchronous=True), number, 9)
    assert came == expected
    assert bracket == sorted(bracket)
    assert max(bracket) == 5


def test_no_more_trials_than_that() -> None:
    """The bracket that is not full is halved as it is."""
    _, came, bracket = run(HyperbandPruner(1, 9, synchronous=True), 6, 9)
    assert set(bracket) == {0}
    assert Counter(came) == {1: 4, 3: 1, 9: 1}


@pytest.mark.parametrize(
    ("low", "high", "factor", "sizes", "levels"),
    [
        (1, 81, 3, [81, 34, 15, 8, 5], [1, 3, 9, 27]),
        (1, 30, 3, [27, 12, 6, 4], [1, 3, 10]),
        (3, 30, 3, [9, 5, 3], [3, 10]),
        (2, 100, 3, [27, 12, 6, 4], [4, 11, 33]),
        (1, 64, 4, [64, 22, 8, 4], [1, 4, 16]),
        (1, 1, 2, [1], []),
        (5, 9, 2, [1], []),
    ],
)
def test_brackets(low: int, high: int, factor: int, sizes: list[int], levels: list[int]) -> None:
    found, brackets = _brackets(float(low), float(high), factor, True)
    assert list(found) == levels
    assert [b.size for b in brackets] == sizes
    assert [b.lowest for b in brackets] == list(range(len(sizes)))
    exact, _ = _brackets(float(low), float(high), factor, False)
    np.testing.assert_allclose(exact, [high / factor**k for k in range(len(levels), 0, -1)])


def test_side_by_side_in_proportion() -> None:
    """Each stretch of 143 trials has, but for a few, as many of each bracket as the table; who they are is a function
    of the number."""
    rule = HyperbandPruner(1, 81)
    study = tunesmith.create_study(pruner="nop")
    found = []
    for _ in range(286):
        (wish,) = rule.schedule(study.history)  # type: ignore[misc]
        assert isinstance(wish, Start)
        found.append(wish.tags["hyperband.bracket"])
        study.tell(study.ask(), 1.0)
    for part in (found[:143], found[143:], found[70:213]):
        counts = Counter(part)
        assert all(abs(counts[b] - rows[0][0]) <= 2 for b, rows in enumerate(TABLE)), counts
    assert found[0] == 0


@pytest.mark.parametrize("promote_first", [False, True])
def test_side_by_side_each_bracket_is_one_of_asha(promote_first: bool) -> None:
    """Trials compete within their bracket only: it goes as if it were alone."""
    rule = HyperbandPruner(1, 27, promote_first=promote_first)
    study, came, bracket = run(rule, 80, 27)
    assert set(bracket) == {0, 1, 2, 3}
    for index in range(4):
        mine = [t.number for t, b in zip(study.trials, bracket, strict=True) if b == index]
        levels = [3**k for k in range(index, 3)]
        for level in levels:
            there = [n for n in mine if came[n] >= level]
            best = sorted(there, key=lambda n, r=level: curve(n, 27)[r - 1])[: len(there) // 3]  # type: ignore[misc]
            assert all(came[n] > level for n in best), (index, level)
        assert {came[n] for n in mine} <= {*levels, 27}


def test_a_trial_without_a_tag_belongs_where_its_number_puts_it() -> None:
    study = tunesmith.create_study(pruner=HyperbandPruner(1, 9, bootstrap_count=5))
    said = []
    for _ in range(20):
        trial = study.ask()
        found = 0
        for step in range(1, 10):
            trial.report(1.0, step)
            if trial.should_prune():
                found = step
                break
        said.append(found)
        study.tell(trial, state=tunesmith.trial.TrialState.PRUNED) if found else study.tell(trial, 1.0)
    assert set(said) == {0, 1, 3}
    assert said[0] == 1


class TestAuto:
    def test_r_is_what_the_first_complete_trial_has_used(self) -> None:
        _, came, bracket = run(HyperbandPruner(), 30, 27)
        assert (came[0], bracket[0]) == (27, -1)
        assert set(came) <= {1, 3, 9, 27}
        assert set(bracket[1:]) <= {0, 1, 2, 3}

    def test_steps_from_zero(self) -> None:
        """Steps 0 to 26 are 27 epochs, as in Optuna."""

        def objective(trial: Any) -> Iterator[Any]:
            yield from enumerate(curve(trial.number, 27))

        study = tunesmith.create_study(pruner=HyperbandPruner(promote_first=False))
        study.optimize(objective, n_trials=20)
        assert {max(t.intermediate_values) for t in study.trials} <= {1, 3, 9, 26}

    def test_synchronous(self) -> None:
        _, came, bracket = run(HyperbandPruner(synchronous=True), 1 + 17, 9)
        assert bracket == [-1] + [0] * 9 + [1] * 5 + [2] * 3
        assert Counter(came[1:10]) == {1: 6, 3: 2, 9: 1}


def test_several_objectives() -> None:
    def objective(trial: Any) -> Iterator[Any]:
        for step in range(1, 10):
            yield step, (float(trial.number), float(-trial.number) + 100.0 * (trial.number in (3, 4, 5, 6, 7)))

    study = tunesmith.create_study(directions=["minimize", "minimize"], pruner=HyperbandPruner(1, 9, synchronous=True))
    study.optimize(objective, n_trials=9)
    came = [len(t.intermediate_values) for t in study.trials]
    assert Counter(came) == {1: 6, 3: 2, 9: 1}
    assert not any(came[number] > 1 for number in (3, 4, 5, 6, 7))


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"min_resource": 0}, InvalidValueError, "min_resource"),
        ({"min_resource": "auto"}, InvalidValueError, "min_resource"),
        ({"min_resource": 10, "max_resource": 9}, InvalidValueError, "max_resource"),
        ({"max_resource": 9.5}, InvalidTypeError, "max_resource"),
        ({"max_resource": "most"}, InvalidValueError, "max_resource"),
        ({"reduction_factor": 1}, InvalidValueError, "reduction_factor"),
        ({"reduction_factor": 3.0}, InvalidTypeError, "reduction_factor"),
        ({"bootstrap_count": 1}, InvalidValueError, "max_resource"),
        ({"bootstrap_count": 1, "max_resource": 9, "synchronous": True}, InvalidValueError, "bootstrap_count"),
        ({"synchronous": "yes"}, InvalidTypeError, "synchronous"),
    ],
)
def test_bad_arguments(options: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        HyperbandPruner(**options)
