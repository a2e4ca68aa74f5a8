"""One epoch for everybody, all of them for the best few."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tunesmith
from tunesmith.exceptions import InvalidTypeError, InvalidValueError, TrialPruned
from tunesmith.pruners import TopKPruner
from tunesmith.testing.studies import check_reload

LOSSES = np.random.default_rng(3).permutation(20) + 0.5
EPOCHS = 5


def run(rule: Any, n_trials: int = 20, **options: Any) -> tuple[list[int], list[tuple[int, int]]]:
    """How many epochs each trial had, and (number, epoch) in their order."""
    order: list[tuple[int, int]] = []

    def objective(trial: Any) -> Iterator[float]:
        for epoch in range(1, EPOCHS + 1):
            order.append((trial.number, epoch))
            yield LOSSES[trial.number]

    made = {key: options.pop(key) for key in ("budget",) if key in options}
    study = tunesmith.create_study(pruner=rule, seed=0, **made)
    study.optimize(objective, n_trials=n_trials, **options)
    check_reload(study)
    return [len(t.intermediate_values) for t in study.trials], order


@pytest.mark.parametrize("n_jobs", [1, 4])
def test_the_best_k_of_all_go_on(n_jobs: int) -> None:
    came, order = run(TopKPruner(), n_jobs=n_jobs)
    best = np.argsort(LOSSES)[:3]
    assert np.flatnonzero(np.array(came) == EPOCHS).tolist() == sorted(best)
    assert came.count(1) == 17
    if n_jobs == 1:
        assert order == [(n, 1) for n in range(20)] + [(n, e) for n in best for e in range(2, EPOCHS + 1)]


def test_round_by_round() -> None:
    """After ten the best two of these, then the next ten."""
    came, order = run(TopKPruner(2, 10))
    for begin in (0, 10):
        best = begin + np.argsort(LOSSES[begin : begin + 10])[:2]
        assert np.flatnonzero(np.array(came[begin : begin + 10]) == EPOCHS).tolist() == sorted(best - begin)
    assert [n for n, e in order if e == 1] == list(range(20))
    assert order.index((10, 1)) > max(order.index((n, EPOCHS)) for n in range(10) if came[n] == EPOCHS)


def test_a_round_that_is_not_filled() -> None:
    came, _ = run(TopKPruner(2, 15))
    assert np.flatnonzero(np.array(came[15:]) == EPOCHS).tolist() == sorted(np.argsort(LOSSES[15:])[:2])


def test_the_studys_budget_is_the_number_of_configurations() -> None:
    came, order = run(TopKPruner(1), budget=8)
    best = int(np.argmin(LOSSES[:8]))
    assert came[best] == EPOCHS
    assert order.index((best, 2)) == 8


def test_a_longer_first_look() -> None:
    came, _ = run(TopKPruner(4, first=3))
    assert sorted(came) == [3] * 16 + [EPOCHS] * 4


def test_functions_go_on_while_they_are_among_the_best_so_far() -> None:
    def objective(trial: Any) -> float:
        for epoch in range(1, EPOCHS + 1):
            trial.report(LOSSES[trial.number], epoch)
            if trial.should_prune():
                raise TrialPruned
        return float(LOSSES[trial.number])

    study = tunesmith.create_study(pruner=TopKPruner(2, 20))
    study.optimize(objective, n_trials=20)
    came = [len(t.intermediate_values) for t in study.trials]
    expected = [1]  # the first cannot know
    for number in range(1, 20):
        rank = int((LOSSES[:number] < LOSSES[number]).sum())
        expected.append(EPOCHS if rank < max(1, 2 * (number + 1) // 20) else 1)
    assert came == expected


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"k": 0}, InvalidValueError, "`k`"),
        ({"k": 1.0}, InvalidTypeError, "`k`"),
        ({"k": 3, "n_configurations": 2}, InvalidValueError, "n_configurations"),
        ({"first": 0}, InvalidValueError, "first"),
        ({"first": 0.5}, InvalidTypeError, "first"),
        ({"first": -1.0, "resource": "seconds"}, InvalidValueError, "first"),
        ({"resource": None}, InvalidTypeError, "resource"),
    ],
)
def test_bad_arguments(options: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        TopKPruner(**options)
