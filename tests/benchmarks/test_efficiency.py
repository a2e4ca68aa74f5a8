"""The efficiency benchmark on a small table that is made here: no peer and no real table is needed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.common.names import split
from benchmarks.efficiency import methods, report, runs, tables
from benchmarks.efficiency.evaluation import Evaluation
from benchmarks.efficiency.tables import Axis, Table

AXES = (Axis("size", (16, 64, 256), True), Axis("kind", ("a", "b"), False))
LOSSES = np.array([[5.0, 7.0], [4.0, np.nan], [1.0, 3.0], [9.0, 9.0], [2.0, 8.0], [6.0, 6.0]])


@pytest.fixture
def table() -> Table:
    return Table("mlp/car", AXES, LOSSES)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, table: Table) -> Table:
    """Every table is this one."""
    monkeypatch.setattr(tables, "load", lambda name: Table(name, AXES, LOSSES))
    monkeypatch.setattr(runs, "_ready", {})
    return table


def line(method: str, name: str, seed: int, noisy: list[float], mean: list[float] | None = None) -> dict[str, Any]:
    return {
        "method": method, "table": name, "seed": seed, "trials": len(noisy), "noisy": noisy, "mean": mean or noisy,
        "best": 0.0, "median": 2.0, "seconds": 1.0, "cpu_seconds": 0.5,
    }  # fmt: skip


def test_rows_count_through_the_axes_the_last_fastest(table: Table) -> None:
    assert [table.row({"size": i, "kind": kind}) for i in range(3) for kind in "ab"] == list(range(6))
    with pytest.raises(ValueError, match=r"size = 1\.5"):
        table.row({"size": 1.5, "kind": "a"})
    with pytest.raises(ValueError, match="size = -1"):
        table.row({"size": -1, "kind": "a"})


def test_best_and_median_are_of_means_of_the_results_there_are(table: Table) -> None:
    assert table.mean.tolist() == [6.0, 4.0, 2.0, 9.0, 5.0, 6.0]
    assert (table.best, table.median) == (2.0, 5.5)


def test_runs_of_a_seed_are_paired(table: Table) -> None:
    """The k-th visit to a configuration gives the same result in whatever order it comes; other seeds differ."""
    first, second = Evaluation(table, 3), Evaluation(table, 3)
    forward = {(i, k): first({"size": i, "kind": "a"}) for k in range(8) for i in range(3)}
    backward = {(i, k): second({"size": i, "kind": "a"}) for i in (2, 1, 0) for k in range(8)}
    assert forward == backward
    assert {forward[0, k] for k in range(8)} == {5.0, 7.0}
    drawn = [table.result(0, seed, 0) for seed in range(400)]
    assert 150 < drawn.count(5.0) < 250
    assert {table.result(1, seed, 0) for seed in range(50)} == {4.0}


def test_incumbent_is_chosen_by_noise_and_scored_by_mean() -> None:
    noisy, mean = [3.0, 1.0, 1.0, 2.0, 0.5], [1.0, 2.0, 0.0, 0.0, 3.0]
    found = report.incumbent_regret(line("m", "mlp/car", 0, noisy, mean))
    assert found.tolist() == [0.5, 1.0, 1.0, 1.0, 1.5]  # the tie leaves the incumbent
    noisy, mean = list(np.random.default_rng(0).integers(0, 6, 50) / 1.0), list(np.random.default_rng(1).random(50))
    slow = [mean[int(np.argmin(noisy[: i + 1]))] / 2 for i in range(50)]  # argmin takes the first of equal ones
    assert report.incumbent_regret(line("m", "mlp/car", 0, noisy, mean)).tolist() == slow


def test_means_ranks_and_paired_differences_by_hand() -> None:
    lines = [
        line("a", "mlp/car", 0, [2.0, 1.0]), line("a", "mlp/kc1", 0, [1.0, 1.0]),
        line("a", "mlp/car", 1, [4.0, 1.0]), line("a", "mlp/kc1", 1, [3.0, 2.0]),
        line("b", "mlp/car", 0, [1.0, 1.0]), line("b", "mlp/kc1", 0, [2.0, 0.0]),
        line("b", "mlp/car", 1, [2.0, 2.0]), line("b", "mlp/kc1", 1, [3.0, 1.0]),
        line("a", "mlp/car", 2, [0.0, 0.0]),  # only one of them has this seed
        {"method": "b", "table": "mlp/car", "seed": 2, "trials": 2, "error": "Boom"},
    ]  # fmt: skip
    scores = report.collect(lines, None, (1, 2))
    assert (scores.methods, scores.tables, scores.seeds) == (("a", "b"), ("mlp/car", "mlp/kc1"), (0, 1))
    mean, error = scores.mean()
    assert mean.tolist() == [[1.25, 0.625], [1.0, 0.5]]
    assert error[0].tolist() == pytest.approx([0.5, 0.125])  # by seed: (0.75, 1.75) and (0.5, 0.75)
    assert scores.rank().tolist() == [[1.625, 1.625], [1.375, 1.375]]
    difference, error = scores.difference("a")
    assert difference.tolist() == [[0.0, 0.0], [-0.25, -0.125]]
    assert error[1].tolist() == pytest.approx([0.25, 0.125])
    text = report.render(scores, "a")
    assert "to develop on** (mlp/car, 2 seeds)" in text
    assert "to confirm** (mlp/kc1, 2 seeds)" in text
    assert "both halves** (2 tables, 2 seeds)" in text


def test_methods_without_common_runs_are_refused() -> None:
    with pytest.raises(SystemExit, match="no runs in common"):
        report.collect([line("a", "mlp/car", 0, [1.0]), line("b", "mlp/car", 1, [1.0])], None, (1,))


def test_the_halves_share_nothing_and_have_all() -> None:
    assert len(tables.ALL) == 15
    assert sorted(tables.DEV + tables.CONFIRM) == sorted(tables.ALL)
    assert len(tables.DEV) == 7
    assert tables.choose("nas201/cifar10") == ("nas201/cifar10",)
    assert tables.choose("nas201,car") == ("mlp/car", "nas201/cifar10", "nas201/cifar100", "nas201/imagenet")


def test_runs_are_made_once_and_are_repeatable(small: Table, tmp_path: Path) -> None:
    out = tmp_path / "runs.jsonl"
    tasks = [runs.Task(m, "mlp/car", s, 7) for s in (0, 1) for m in ("random", "tunesmith:random", "sobol")]
    runs.make(tasks[:4], out, jobs=1)
    first = out.read_text()
    runs.make(tasks, out, jobs=1)
    assert out.read_text().startswith(first)
    made = [json.loads(text) for text in out.read_text().splitlines()]
    assert [(r["method"], r["seed"]) for r in made] == [(t.method, t.seed) for t in tasks]
    again = runs.perform(tasks[2])
    assert (again["rows"], again["noisy"]) == (made[2]["rows"], made[2]["noisy"])
    assert again["mean"] == small.mean[again["rows"]].tolist()
    assert sorted(made[1]["rows"][:6]) == list(range(6))  # tunesmith's tries all before it repeats one


def test_a_run_that_fails_is_kept_as_such_and_made_again(
    small: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "runs.jsonl"
    task = runs.Task("random", "mlp/car", 0, 3)

    def fails(objective: Callable[..., float], trials: int, seed: int) -> None:
        raise RuntimeError("no such thing")

    monkeypatch.setattr(runs, "_ready", {"random": methods.Method("random", fails, {})})
    runs.make([task], out, jobs=1)
    assert "no such thing" in json.loads(out.read_text())["error"]
    monkeypatch.setattr(runs, "_ready", {})
    runs.make([task], out, jobs=1)
    (found,) = runs.read([out])
    assert "error" not in found
    assert len(found["rows"]) == 3


@pytest.mark.parametrize("name", ["nosuch:tpe", "no such", "pso{", "pso-nosuch"])
def test_a_wrong_name_ends_the_command(small: Table, tmp_path: Path, name: str) -> None:
    with pytest.raises((SystemExit, ValueError), match=r"nosuch|no such|pso"):
        runs.make([runs.Task(name, "mlp/car", 0, 3)], tmp_path / "runs.jsonl", jobs=1)


def test_options_are_json_in_braces() -> None:
    assert split(["a,b:c", 'pso{"swarm_size": 3, "topology": "ring"},d']) == [
        "a", "b:c", 'pso{"swarm_size": 3, "topology": "ring"}', "d",
    ]  # fmt: skip
    assert methods.resolve('pso{"swarm_size": 3}').versions["numpy"] == np.__version__
    with pytest.raises(ValueError, match="swarm_sizes"):
        methods.resolve('pso{"swarm_sizes": 3}')
