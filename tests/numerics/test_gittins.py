"""The index of a project against all stopping rules there are, one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tunesmith.numerics.gittins import index


def random_projects(seed: int, a: int, paths: int, stages: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    gain = np.cumsum(rng.exponential(size=(a, paths, stages)) * (rng.random((a, paths, stages)) < 0.5), axis=2)
    gain += 1e-9 * np.arange(paths)[:, None]  # no two paths look the same
    return gain, np.cumsum(rng.uniform(0.5, 3.0, (a, stages)), axis=1)


@pytest.mark.parametrize("seed", range(5))
def test_the_best_of_all_stopping_rules(seed: int) -> None:
    """With a bin for each path a rule may leave each one anywhere after its first stage: 3^4 rules."""
    gain, cost = random_projects(seed, 3, 4, 3)
    found = index(gain, cost, bins=4)
    for project in range(3):
        ratios = [
            sum(gain[project, p, stage] for p, stage in enumerate(rule)) / sum(cost[project, stage] for stage in rule)
            for rule in itertools.product(range(3), repeat=4)
        ]
        assert found[project] == pytest.approx(max(ratios), rel=1e-9)


def test_rules_that_see_nothing() -> None:
    """With one bin only the stage can be chosen."""
    gain, cost = random_projects(7, 4, 8, 5)
    assert index(gain, cost, bins=1) == pytest.approx((gain.mean(axis=1) / cost).max(axis=1))


def test_giving_up_is_worth_something() -> None:
    """Half of the paths fall at the first stage and go on falling, half never do: those are left."""
    gain = np.zeros((1, 8, 2))
    gain[0, 4:] = 1.0, 10.0
    cost = np.array([[1.0, 9.0]])
    both, seen = index(gain, cost, bins=1)[0], index(gain, cost, bins=2)[0]
    assert both == pytest.approx(5.0 / 9.0)
    assert seen == pytest.approx(5.0 / (1.0 + 4.0))  # the second stage costs 8, half of the time


def test_units() -> None:
    gain, cost = random_projects(3, 2, 16, 6)
    assert index(8.0 * gain, 4.0 * cost) == pytest.approx(2.0 * index(gain, cost))
    assert (index(np.zeros((2, 16, 6)), cost) == 0.0).all()
    assert index(gain[:, :, :1], cost[:, :1]) == pytest.approx(gain[:, :, 0].mean(axis=1) / cost[:, 0])


def test_projects_do_not_depend_on_each_other() -> None:
    gain, cost = random_projects(5, 6, 16, 4)
    alone = [index(gain[i : i + 1], cost[i : i + 1])[0] for i in range(6)]
    assert index(gain, cost).tolist() == pytest.approx(alone)
