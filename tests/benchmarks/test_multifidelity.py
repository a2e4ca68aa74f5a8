"""The multi-fidelity benchmark on small tables that are made here; the file with the real ones is not needed."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.common import keeping
from benchmarks.common.names import split
from benchmarks.multifidelity import hosts, methods, peers, report, runs, tables, tuning
from benchmarks.multifidelity.hosts import Screen, TopKHost
from benchmarks.multifidelity.tables import AXES, Draw, Table
from tunesmith.executors.simulator import Heard, SimulatorExecutor

NAN = math.nan


def table(valid: Any, name: str = tables.DEV[0]) -> Table:
    """Configurations at random places; the test loss is ten times the validation loss."""
    valid = np.array(valid, float)
    unit = np.random.default_rng(0).random((len(valid), len(AXES)))
    return Table(name, unit, valid, 10 * valid)


def random_table(n: int = 40, name: str = tables.DEV[0]) -> Table:
    """Curves of 50 epochs towards random ends, some of which diverge."""
    rng = np.random.default_rng(n)
    ends, epochs = rng.random((n, 1)), np.arange(1, tables.EPOCHS + 1)
    valid = ends + (1 - ends) / epochs + 0.2 * rng.random((n, 1)) / epochs + 0.05 * rng.random((n, tables.EPOCHS))
    for row in np.flatnonzero(rng.random(n) < 0.2):
        valid[row, rng.integers(0, 20) :] = NAN
    return table(valid, name)


def params_at(unit: np.ndarray) -> dict[str, float]:
    return {a.name: a.low * (a.high / a.low) ** float(u) for a, u in zip(AXES, unit, strict=True)}


class InOrder(Draw):
    """Gives the rows in a prescribed order, whatever is proposed."""

    def __init__(self, found: Table, order: np.ndarray) -> None:
        super().__init__(found)
        self.order = order

    def take(self, number: int, params: Any) -> int:
        self.rows[number] = int(self.order[len(self.rows)])
        return self.rows[number]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every task is a random table of 40 configurations."""
    monkeypatch.setattr(tables, "load", lambda name: random_table(name=name))
    monkeypatch.setattr(peers, "CONFIGURATIONS", 40)
    monkeypatch.setattr(methods, "CONFIGURATIONS", 40)
    monkeypatch.setattr(runs, "_ready", {})


class TestTables:
    def test_the_point_before_training_is_left_out_and_a_diverged_run_stays_so(self) -> None:
        columns = {axis.column: np.array([0.9, 0.999]) for axis in AXES}
        valid = np.array([[9.0, 3.0, np.inf, 1.0], [9.0, 2.0, 1.0, 0.5]])
        made = tables.make("t", columns, valid, valid + 1)
        assert np.array_equal(made.valid, [[3.0, NAN, NAN], [2.0, 1.0, 0.5]], equal_nan=True)
        assert np.array_equal(made.test, [[4.0, NAN, NAN], [3.0, 2.0, 1.5]], equal_nan=True)
        beta1 = [axis.name for axis in AXES].index("one_minus_beta1")
        assert made.unit[:, beta1] == pytest.approx([0.75, 0.25])  # .1 and .001 between .0001 and 1

    def test_best_and_median_are_of_the_least_losses(self) -> None:
        made = table([[3.0, 1.0, 2.0], [NAN, NAN, NAN], [5.0, 4.0, NAN], [0.5, 0.2, 0.3], [7.0, 7.0, 7.0]])
        assert made.least.tolist() == [1.0, np.inf, 4.0, 0.2, 7.0]
        assert (made.best, made.median) == (0.2, 4.0)
        assert made.test_at_least.tolist() == [10.0, np.inf, 40.0, 2.0, 70.0]
        assert (made.test_best, made.test_median) == (2.0, 40.0)

    def test_halves(self) -> None:
        assert sorted(tables.DEV + tables.CONFIRM) == list(tables.ALL) == sorted(tables.ALL)
        assert len(tables.DEV) == len(tables.CONFIRM) == 6
        assert tables.choose("GRU,LSTM128_bs64") == (tables.ALL[1], tables.ALL[3], tables.ALL[4])
        with pytest.raises(SystemExit, match="No task is called 'nothing'"):
            tables.choose("nothing")

    def test_without_the_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(tables.VARIABLE, "nowhere.npz")
        with pytest.raises(SystemExit, match=r"Set TUNESMITH_TASKSET .* it is 'nowhere\.npz'"):
            tables.load("t")

    if os.environ.get(tables.VARIABLE):  # where the file is

        def test_the_real_tables(self) -> None:
            for name in tables.ALL:
                found = tables.load(name)
                assert found.valid.shape == found.test.shape == (tables.CONFIGURATIONS, tables.EPOCHS)
                assert ((found.unit > 0) & (found.unit < 1)).all()
                assert found.best < found.median < np.inf
                assert np.abs(found.unit.mean(axis=0) - 0.5).max() < 0.05  # drawn uniformly on these scales


class TestDraw:
    def test_the_nearest_that_is_not_used(self) -> None:
        made = random_table(30)
        draw = Draw(made)
        rng, free = np.random.default_rng(1), list(range(30))
        for number in range(30):
            point = rng.random(len(AXES))
            nearest = min(free, key=lambda row: float(np.linalg.norm(made.unit[row] - point)))
            assert draw.take(number, params_at(point)) == nearest == draw.rows[number]
            free.remove(nearest)
        with pytest.raises(IndexError, match="All 30 configurations"):
            draw.take(30, params_at(point))

    def test_curves(self) -> None:
        draw = Draw(table([[3.0, 2.0, 1.0], [3.0, NAN, NAN]]))
        assert list(draw.curve(0)) == [(1, 3.0), (2, 2.0), (3, 1.0)]
        assert list(draw.curve(0, after=1, until=2)) == [(2, 2.0)]
        assert repr(list(draw.curve(1))) == "[(1, 3.0), (2, nan)]"


class TestTopK:
    VALID = ((5.0, 1.0, 1.0), (3.0, 3.0, 2.0), (NAN, NAN, NAN), (4.0, 4.0, 4.0))

    def heard(self, n_workers: int, screen: Screen, budget: int) -> list[tuple[float, int, int]]:
        draw = InOrder(table(self.VALID), np.arange(4))
        executor = SimulatorExecutor(n_workers, max_reports=budget)
        executor.run(TopKHost(draw, screen, seed=0))  # type: ignore[arg-type]
        return [(h.seconds, h.number, h.item[0]) for h in executor.trace]

    def test_first_all_then_the_best_in_order(self) -> None:
        order = [(n, n - 1, 1) for n in range(1, 5)] + [(5, 1, 2), (6, 1, 3), (7, 3, 2), (8, 3, 3), (9, 0, 2)]
        assert self.heard(1, Screen(1, 4), 9) == order
        assert self.heard(1, Screen(2, 2), 9) == [(1, 0, 1), (2, 0, 2), (3, 1, 1), (4, 1, 2), (5, 0, 3), (6, 1, 3)]

    def test_no_worker_waits_for_the_last_of_the_first_epochs(self) -> None:
        assert self.heard(3, Screen(1, 4), 9)[:6] == [(1, 0, 1), (1, 1, 1), (1, 2, 1), (2, 3, 1), (2, 1, 2), (2, 0, 2)]

    @pytest.mark.parametrize("n_workers", [1, 3, 4])
    @pytest.mark.parametrize(("screen", "budget"), [
        (Screen(1, 36), 300), (Screen(1, 12), 50), (Screen(3, 24), 200), (Screen(12, 12), 160), (Screen(2, 24), 3000),
        (Screen(1, 36), 36),
    ])  # fmt: skip
    def test_tuning_reaches_what_the_host_does(self, screen: Screen, budget: int, n_workers: int) -> None:
        """Where all first epochs end at the same time."""
        made = random_table()
        sound = np.flatnonzero(np.isfinite(made.valid[:, screen.first - 1]))
        for seed in range(5):
            order = np.random.default_rng(seed).permutation(sound)
            if n_workers == 1:
                order = np.random.default_rng(seed).permutation(40)  # nothing overlaps
            screen = Screen(screen.first, min(screen.n, len(order) // n_workers * n_workers))
            executor = SimulatorExecutor(n_workers, max_reports=budget)
            executor.run(TopKHost(InOrder(made, order), screen, seed=0))  # type: ignore[arg-type]
            least = np.nanmin([h.item[1] for h in executor.trace])
            assert tuning.reached(made, order, screen, budget, n_workers) == least

    def test_candidates_fit_the_budget(self) -> None:
        for budget in (50, 1000, 100_000):
            found = tuning.candidates(budget)
            assert found
            assert all(0 < s.n * s.first <= budget and s.n <= tables.CONFIGURATIONS for s in found)

    def test_a_budget_that_nobody_tuned(self, small: None) -> None:
        line = runs.perform(runs.Task("topk", tables.DEV[0], 1, 0, 77))
        assert "no tuned screen for 1 workers and 77 epochs" in line["error"]
        line = runs.perform(runs.Task('topk{"first": 1, "n": 30}', tables.DEV[0], 1, 0, 77))
        assert (line["configurations"], line["epochs"]) == (30, 77)


class TestHosts:
    def test_a_configuration_that_is_asked_for_again_goes_on(self) -> None:
        draw = InOrder(table([[3.0, 2.0, 1.0, 0.5], [3.0, NAN, NAN, NAN]]), np.arange(2))
        wanted = iter([("a", 1.6), ("b", 3), ("a", 4), ("b", 4), ("a", 2)])
        told: list[tuple[str, float, int]] = []

        def suggest() -> Any:
            key, fidelity = next(wanted)
            return key, key, dict.fromkeys([a.name for a in AXES], 1.0), fidelity

        host = peers._FidelityHost(draw, suggest, lambda *args: told.append(args))
        executor = SimulatorExecutor()
        with pytest.raises(StopIteration):
            executor.run(host)  # type: ignore[arg-type]
        assert repr([h.item for h in executor.trace]) == "[(1, 3.0), (2, 2.0), (1, 3.0), (2, nan), (3, 1.0), (4, 0.5)]"
        assert told == [("a", 2.0, 2), ("b", peers.WORST, 3), ("a", 0.5, 2), ("b", peers.WORST, 0), ("a", 2.0, 0)]

    def test_random_configurations_are_uniform_on_a_logarithmic_scale(self) -> None:
        rng = np.random.default_rng(0)
        drawn = [hosts.uniform(rng) for _ in range(2000)]
        for axis in AXES:
            unit = axis.unit(np.array([params[axis.name] for params in drawn]))
            assert unit.mean() == pytest.approx(0.5, abs=0.03)
            assert unit.std() == pytest.approx(1 / math.sqrt(12), abs=0.02)

    @pytest.mark.parametrize("rule", ["median", "asha", "hyperband", "none"])
    def test_optuna_does_what_its_own_loop_does(self, small: None, rule: str) -> None:
        optuna = pytest.importorskip("optuna")
        opened = peers.optuna(methods.Part("tpe", {}), methods.Part(rule, {}))
        with opened(Draw(random_table()), 3) as host:
            SimulatorExecutor().run(host)  # type: ignore[arg-type]
            mine = host.study.trials  # type: ignore[attr-defined]
        draw = Draw(random_table())

        def objective(trial: Any) -> float:
            params = {a.name: trial.suggest_float(a.name, a.low, a.high, log=True) for a in AXES}
            for epoch, loss in draw.curve(draw.take(trial.number, params)):
                if math.isnan(loss):
                    return loss
                trial.report(loss, epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned
            return loss

        with opened(draw, 3) as host:
            study = host.study  # type: ignore[attr-defined]
        study.optimize(objective, n_trials=40)
        for own, theirs in zip(mine, study.trials, strict=True):
            assert (own.state, own.params, own.values) == (theirs.state, theirs.params, theirs.values)
            assert own.intermediate_values == theirs.intermediate_values


class TestRuns:
    def test_incumbents(self) -> None:
        made = table([[3.0, 2.0], [NAN, NAN], [2.0, 1.0]])
        trace = [
            Heard(1.0, 1, 5, (1, NAN)), Heard(2.0, 2, 7, (1, 3.0)), Heard(2.0, 3, 6, (1, 2.0)),
            Heard(3.0, 4, 7, (2, 2.0)), Heard(4.0, 5, 6, (2, 1.0)),
        ]  # fmt: skip
        assert runs.incumbents(made, {5: 1, 6: 2, 7: 0}, trace) == [
            [2, 2.0, 0, 1, 3.0, 30.0], [3, 2.0, 2, 1, 2.0, 20.0], [5, 4.0, 2, 2, 1.0, 10.0],
        ]  # fmt: skip

    def test_the_line_of_a_run(self, small: None) -> None:
        line = runs.perform(runs.Task("random+median", tables.DEV[0], 4, 1, 200))
        assert json.loads(json.dumps(line)) == line
        made = random_table()
        assert line["epochs"] == 200
        assert 50 <= line["virtual_seconds"] <= 51
        assert line["valid_best"] == made.best
        for spent, _, row, epoch, valid, test in line["incumbents"]:
            assert 1 <= spent <= 200
            assert (valid, test) == (made.valid[row, epoch - 1], made.test[row, epoch - 1])
        losses = [entry[4] for entry in line["incumbents"]]
        assert losses == sorted(losses, reverse=True)
        again = runs.perform(runs.Task("random+median", tables.DEV[0], 4, 1, 200))
        assert again | {"cpu_seconds": 0} == line | {"cpu_seconds": 0}

    def test_all_configurations(self, small: None) -> None:
        """The study ends when the table has no more, whatever the budget."""
        line = runs.perform(runs.Task("random+none", tables.DEV[0], 3, 0, 10_000))
        found = random_table()
        lengths = np.minimum(np.isfinite(found.valid).sum(axis=1) + 1, tables.EPOCHS)
        assert (line["configurations"], line["epochs"]) == (40, lengths.sum())
        assert line["incumbents"][-1][4] == found.best
        assert line["diverged"] == np.isnan(found.valid).any(axis=1).sum()
        assert line["full"] == 40 - np.isnan(found.valid[:, :-1]).any(axis=1).sum()

    def test_runs_for_a_budget_and_for_all(self, small: None) -> None:
        tasks = runs.wanted(["topk", "random+none"], ("t",), [1], [0], [50, 100])
        assert [(task.method, task.budget) for task in tasks] == [("topk", 50), ("topk", 100), ("random+none", 100)]

    def test_what_is_done_is_not_repeated(self, small: None, tmp_path: Path) -> None:
        out = tmp_path / "runs.jsonl"
        tasks = runs.wanted(["random+none"], tables.DEV[:1], [1, 2], [0], [60])
        runs.make(tasks[:1], out, 1)
        first = out.read_text()
        runs.make(tasks, out, 1)
        assert out.read_text().startswith(first)
        assert [keeping.task_of(runs.Task, line) for line in runs.read([out])] == tasks


class TestNames:
    def test_options_belong_to_the_part_before_them(self, small: None) -> None:
        found = methods.resolve('random{"seed": 3}+percentile{"percentile": 10.0, "n_startup_trials": 2}')
        assert found.anytime
        assert "tunesmith" in found.versions
        assert not methods.resolve("topk").anytime

    @pytest.mark.parametrize(("name", "message"), [
        ("nothing:tpe", "Unknown library 'nothing'"), ("a+b+c", "more than a sampler and a rule"), ("a b", "is no"),
    ])  # fmt: skip
    def test_impossible_names(self, name: str, message: str) -> None:
        with pytest.raises(SystemExit, match=message):
            methods.resolve(name)

    def test_commas_in_braces_do_not_separate(self) -> None:
        assert split(['a+b{"x": 1, "y": 2},c', "d"]) == ['a+b{"x": 1, "y": 2}', "c", "d"]


def line(method: str, name: str, seed: int, budget: int, *incumbents: list[float]) -> dict[str, Any]:
    return {
        "method": method, "table": name, "workers": 1, "seed": seed, "budget": budget,
        "incumbents": list(incumbents), "valid_best": 1.0, "valid_median": 3.0, "test_best": 10.0, "test_median": 50.0,
        "configurations": 7, "virtual_seconds": 9.0, "cpu_seconds": 0.5,
    }  # fmt: skip


class TestReport:
    def test_regret(self) -> None:
        found = line("m", "t", 0, 9, [2, 2.0, 0, 1, 4.0, 60.0], [4, 4.0, 0, 2, 2.0, 20.0], [9, 9.0, 0, 3, 1.0, 5.0])
        assert [report.regret_at(found, budget) for budget in (1, 2, 3, 4, 8, 9)] == [1, 1, 1, 0.5, 0.5, 0]
        assert [report.regret_at(found, budget, test=True) for budget in (3, 4, 9)] == [1, 0.25, 0]

    def test_scores(self) -> None:
        one, two = tables.ALL[:2]
        lines = [
            line("a", t, seed, 10, [5, 5.0, 0, 1, 2.0 + seed * 0.5, 20.0]) for t in (one, two) for seed in (0, 1)
        ] + [
            line("b", t, seed, budget, [1, 1.0, 0, 1, 1.0 + budget / 10, 20.0])
            for t in (one, two) for seed in (0, 1, 2) for budget in (5, 10)
        ]  # fmt: skip
        scores = report.collect(lines, None, (5, 10))
        assert (scores.methods, scores.tables, scores.seeds) == (("a", "b"), (one, two), (0, 1))
        assert scores.regret[:, 0].tolist() == [[[0.5, 0.5], [0.75, 0.75]], [[0.25, 0.5], [0.25, 0.5]]]
        mean, error = scores.mean()
        assert mean.tolist() == [[0.625, 0.625], [0.25, 0.5]]
        assert error[0] == pytest.approx([0.125, 0.125])
        assert scores.rank().tolist() == [[2.0, 1.75], [1.0, 1.25]]
        difference, error = scores.difference("b")
        assert difference[0].tolist() == [0.375, 0.125]
        assert error[0] == pytest.approx([0.125, 0.125])
        text = report.render(scores, "1 worker", "b", by_task=True)
        assert "**1 worker, both halves** (2 tables, 2 seeds)" in text
        assert f"**1 worker, {one}**" in text
        with pytest.raises(SystemExit, match="no runs of 'c'"):
            report.render(scores, "1 worker", "c")

    def test_runs_that_end_before_the_largest_budget_do_not_count(self) -> None:
        with pytest.raises(SystemExit, match="no runs"):
            report.collect([line("a", tables.ALL[0], 0, 10)], None, (5, 20))
        lines = [line("a", tables.ALL[0], 0, 10), line("b", tables.ALL[0], 1, 10)]
        with pytest.raises(SystemExit, match="no runs in common"):
            report.collect(lines, None, (5,))
