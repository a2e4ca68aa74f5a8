"""Trials in worker processes: the same values, the same log, and what happens when processes die."""

from __future__ import annotations

import functools
import logging
import math
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from executors.objectives import (
    Counting,
    Dying,
    TwoArguments,
    events,
    is_alive,
    plain,
    saving,
    segfault,
    wait_until,
    yielding,
)

import tunesmith
from tunesmith._machine import cores
from tunesmith.exceptions import (
    InvalidTypeError,
    InvalidValueError,
    StaleTrialError,
    TrialMemoryError,
    TrialPruned,
    TrialTimeoutError,
)
from tunesmith.executors import InlineExecutor, ProcessExecutor
from tunesmith.history import History, OpenRow
from tunesmith.pruners import (
    BasePruner,
    Continue,
    HyperbandPruner,
    Idle,
    Schedule,
    Start,
    SuccessiveHalvingPruner,
    Verdict,
)
from tunesmith.study import Study, _live_trials
from tunesmith.study._settings import choose_executor
from tunesmith.testing.studies import check_reload
from tunesmith.trial import Trial, TrialState

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="worker processes need a POSIX system")

ONE = {"n_jobs": 1, "backend": "processes"}
TWO = {"n_jobs": 2, "backend": "processes"}


def states(study: Study) -> list[str]:
    return [t.state.name for t in study.trials]


def reason(study: Study, number: int) -> str:
    return str(study.trials[number].system_attrs["fail_reason"])


@pytest.fixture
def unflushed(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a report that comes half a second after the last append is an append of its own."""
    monkeypatch.setattr(_live_trials, "FLUSH_SECONDS", math.inf)


@pytest.mark.usefixtures("unflushed")
class TestSameAsInline:
    @pytest.mark.parametrize(
        ("objective", "pruner"),
        [
            (plain, "median"),
            (yielding, HyperbandPruner(min_resource=1, max_resource=9)),
            (yielding, SuccessiveHalvingPruner(min_resource=1)),
        ],
        ids=["function", "hyperband", "halving"],
    )
    def test_one_process_writes_the_same_log(self, objective: Any, pruner: Any) -> None:
        logs = []
        for backend in (None, "processes"):
            study = tunesmith.create_study(study_name="s", seed=7, pruner=pruner)
            study.optimize(objective, n_trials=14, backend=backend, n_jobs=1)
            check_reload(study)
            logs.append(events(study))
        assert logs[0] == logs[1]
        assert len(logs[0]) > 20

    def test_a_problem_is_trained_to_the_same_bits(self) -> None:
        pytest.importorskip("torch")
        from tunesmith import train

        problem = train.Problem(
            data="digits", model="mlp", epochs=2, n_train=128, n_validation=64, n_test=16, device="cpu"
        )
        logs = []
        for options in ({}, ONE):
            study = tunesmith.create_study(space=problem.space, seed=3, sampler="random")
            study.optimize(problem, n_trials=3, **options)  # type: ignore[arg-type]
            assert states(study)[0] == "COMPLETE"
            logs.append(events(study))
        assert logs[0] == logs[1]

    def test_several_processes_know_of_each_other(self) -> None:
        """The sampler sees what runs elsewhere: a grid gives no point twice."""
        study = tunesmith.create_study(sampler=tunesmith.samplers.GridSampler({"x": [0.0, 0.25, 0.5, 0.75]}))

        def objective(trial: Any) -> float:
            trial.set_user_attr("pid", os.getpid())
            return float(trial.suggest_float("x", 0, 1))

        study.optimize(objective, **TWO)  # type: ignore[arg-type]
        pids = {t.user_attrs["pid"] for t in study.trials}
        assert sorted(t.params["x"] for t in study.trials) == [0.0, 0.25, 0.5, 0.75]
        assert os.getpid() not in pids
        assert len(pids) <= 2


class TestTrial:
    def test_it_has_the_vocabulary_of_a_trial(self) -> None:
        from tunesmith.executors._remote_trial import RemoteTrial

        kept_by_the_study = {"take_pending", "put_back"}
        assert {n for n in dir(Trial) if not n.startswith("_")} - set(dir(RemoteTrial)) - kept_by_the_study == {"study"}

    def test_everything_can_be_asked(self, tmp_path: Path) -> None:
        def objective(trial: Any) -> tuple[float, float]:
            marker = object()
            assert trial.suggest_categorical("o", [ValueError]) is ValueError
            x = trial.suggest_uniform("x", 0, 1)
            assert trial.params == {"o": ValueError, "x": x} or str(trial.params["o"]) != ""
            assert trial.suggest_int("n", 1, 3) == trial.params["n"]
            assert trial.distributions["x"].high == 1
            assert (trial.number, trial.attempt, trial._trial_id) == (0, 1, 0)
            trial.report(x, 1)
            trial.report_objective(1, 2.0, 1)
            trial.set_user_attr("k", (1, 2))
            assert trial.user_attrs == {"k": [1, 2]}
            trial.set_constraint("c", -1)
            assert trial.constraints == {"c": -1.0}
            assert trial.datetime_start is not None
            assert trial.system_attrs == {}
            assert "x" not in trial.relative_params
            trial.save({"a": [1, 2.0, "t"]})
            assert trial.load() == {"a": [1, 2.0, "t"]}
            assert trial.study.study_name == "s"
            assert trial.study.directions[0].name == "MINIMIZE"
            assert [t.number for t in trial.study.get_trials(deepcopy=False)] == [0]
            trial.study.set_user_attr("from", "child")
            with pytest.raises(AttributeError, match="another process"):
                trial.study.sampler = marker
            with pytest.raises(InvalidTypeError, match=r"`set_user_attr`|cannot be stored"):
                trial.set_user_attr("o", marker)
            with pytest.raises(RuntimeError, match="single objective"):
                _ = trial.study.best_trial
            trial.study.stop()
            return x, 2.0

        study = tunesmith.create_study(
            study_name="s", directions=["minimize", "maximize"], storage=f"{tmp_path}/log.jsonl", pruner="nop"
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study.optimize(objective, n_trials=5, **ONE)  # type: ignore[arg-type]
        assert states(study) == ["COMPLETE"]  # stopped after the first
        trial = study.trials[0]
        assert trial.user_attrs == {"k": [1, 2]}
        assert study.user_attrs == {"from": "child"}
        assert trial.constraints == {"c": -1.0}

    def test_errors_keep_their_type_and_text(self) -> None:
        def objective(trial: Any) -> float:
            caught = []
            for wrong in (
                lambda: trial.report(1.0, -1),
                lambda: trial.report("x", 1),
                lambda: trial.suggest_float("x", 2, 1),
                lambda: trial.suggest_categorical("c", []),
                lambda: trial.set_constraint("c", math.nan),
                lambda: trial.set_constraint("c", "?"),
                lambda: trial.save({"a": {1, 2}}),
                lambda: trial.report_objective(4, 1.0, 1),
            ):
                try:
                    wrong()
                except Exception as error:
                    caught.append(f"{type(error).__name__}: {error}")
            trial.set_user_attr("caught", caught)
            return 1.0

        found = []
        for options in ({}, ONE):
            study = tunesmith.create_study()
            study.optimize(objective, n_trials=1, **options)  # type: ignore[arg-type]
            found.append(study.trials[0].user_attrs["caught"])
        assert found[0] == found[1]
        assert len(found[0]) == 8

    def test_a_warning_is_shown_once(self, recwarn: pytest.WarningsRecorder) -> None:
        def objective(trial: Any) -> float:
            trial.report(1.0, 1)
            trial.report(2.0, 1)
            return 1.0

        tunesmith.create_study().optimize(objective, n_trials=1, **ONE)  # type: ignore[arg-type]
        assert len([w for w in recwarn if "already reported" in str(w.message)]) == 1

    def test_pruned_by_the_objective(self) -> None:
        def objective(trial: Any) -> float:
            trial.report(float(trial.number), 1)
            if trial.should_prune():
                raise TrialPruned("enough")
            return float(trial.number)

        study = tunesmith.create_study(pruner=tunesmith.pruners.ThresholdPruner(upper=1.5))
        study.optimize(objective, n_trials=3, **ONE)  # type: ignore[arg-type]
        assert states(study) == ["COMPLETE", "COMPLETE", "PRUNED"]

    def test_threads_of_an_objective_take_turns_and_forked_children_are_refused(self) -> None:
        def objective(trial: Any) -> float:
            def work(i: int) -> None:
                for step in range(30):
                    trial.report_metric(f"m{i}", float(step), step)

            threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                try:
                    trial.report(1.0, 1)
                except InvalidTypeError as error:
                    os.write(writer, str(error).encode())
                os._exit(0)
            os.waitpid(child, 0)
            assert b"forked" in os.read(reader, 1000)
            return 1.0

        study = tunesmith.create_study(pruner="nop")
        study.optimize(objective, n_trials=1, **ONE)  # type: ignore[arg-type]
        assert study.trials[0].metrics["m2"][29] == 29.0

    def test_nobody_listens_between_a_pause_and_the_end(self) -> None:
        """A straggling thread of a finished trial does not disturb the next one."""

        def objective(trial: Any) -> float:
            if trial.number == 0:

                def later() -> None:
                    time.sleep(0.2)
                    try:
                        trial.report(5.0, 5)
                    except StaleTrialError:
                        Path("stale").touch()

                threading.Thread(target=later).start()
            else:
                time.sleep(0.4)
                trial.set_user_attr("stale", Path("stale").exists())
            return 1.0

        before = Path.cwd()
        folder = Path(os.environ["PYTEST_TMP"])
        os.chdir(folder)
        try:
            study = tunesmith.create_study()
            study.optimize(objective, n_trials=2, **ONE)  # type: ignore[arg-type]
        finally:
            os.chdir(before)
        assert study.trials[1].user_attrs == {"stale": True}


@pytest.fixture(autouse=True)
def folder_in_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers inherit it."""
    monkeypatch.setenv("PYTEST_TMP", str(tmp_path))


class TestObjectives:
    def test_of_every_kind(self) -> None:
        offset = 10.0

        def closure(trial: Any) -> float:
            return offset + float(trial.suggest_float("x", 0, 0))

        found = []
        for objective in (
            closure,
            lambda trial: trial.suggest_float("x", 0, 0) + 11,
            functools.partial(lambda trial, add: trial.suggest_float("x", 0, 0) + add, add=12),
            Counting(0.0).value,
        ):
            study = tunesmith.create_study()
            study.optimize(objective, n_trials=1, **ONE)  # type: ignore[arg-type]
            found.append(study.best_value)
        assert found == [10.0, 11.0, 12.0, 0.0]

    def test_one_that_cannot_be_pickled_costs_no_trial(self) -> None:
        lock = threading.Lock()
        study = tunesmith.create_study()
        with pytest.raises(
            InvalidTypeError, match=r"objective <function .*lock.* cannot be sent.*pickle.*inside of it"
        ):
            study.optimize(lambda_with(lock), n_trials=1, **ONE)  # type: ignore[arg-type]
        assert study.trials == []

    def test_one_that_cannot_be_loaded_costs_no_trial(self) -> None:
        study = tunesmith.create_study()
        with pytest.raises(InvalidTypeError, match=r"cannot load the objective \(ZeroDivisionError"):
            study.optimize(Unloadable(), n_trials=1, **TWO)  # type: ignore[arg-type]
        assert study.trials == []

    def test_a_process_that_dies_while_it_loads_costs_no_trial(self) -> None:
        study = tunesmith.create_study()
        with pytest.raises(tunesmith.exceptions.WorkerDiedError, match="exited with status 3 before it was ready"):
            study.optimize(Unloadable("__import__('os')._exit(3)"), n_trials=1, **ONE)  # type: ignore[arg-type]
        assert study.trials == []

    def test_results_that_cannot_be_pickled_fail_the_trial(self) -> None:
        def objective(trial: Any) -> Any:
            return threading.Lock() if trial.number == 0 else (1.0, threading.Lock()) if trial.number == 1 else 2.0

        study = tunesmith.create_study()
        study.optimize(objective, n_trials=3, **ONE)  # type: ignore[arg-type]
        assert states(study) == ["FAIL", "FAIL", "COMPLETE"]
        assert "lock" in reason(study, 0)
        assert "cannot be pickled" in reason(study, 1)

    def test_tensors_are_numbers(self) -> None:
        pytest.importorskip("torch")

        def objective(trial: Any) -> Any:
            import torch

            weight = torch.ones(2, requires_grad=True)
            if trial.number == 1:
                trial.save({"weight": weight * 2, "list": [weight]})
            yield 1, (weight * 3).sum()
            if trial.number == 1:
                assert trial.load()["weight"].tolist() == [2.0, 2.0]
                assert torch.get_num_threads() == 1
            yield 2, (weight * 2).sum()

        study = tunesmith.create_study(artifacts=os.environ["PYTEST_TMP"], pruner="nop")
        study.optimize(objective, n_trials=2, **ONE)  # type: ignore[arg-type]
        assert [t.value for t in study.trials] == [4.0, 4.0]
        assert study.trials[0].intermediate_values == {1: 6.0, 2: 4.0}

    def test_the_surroundings_go_along(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "only_here.py").write_text("ANSWER = 42\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("OMP_NUM_THREADS", "7")
        monkeypatch.setattr(sys, "argv", ["prog", "--flag"])

        def objective(trial: Any) -> float:
            import only_here  # type: ignore[import-not-found]

            for key, value in {
                "cwd": os.getcwd(),
                "threads": [os.environ[f"{n}_NUM_THREADS"] for n in ("OMP", "MKL", "OPENBLAS", "NUMBA")],
                "verbosity": tunesmith.logging.get_verbosity(),
                "argv": sys.argv,
                "stdin": sys.stdin.read(),
            }.items():
                trial.set_user_attr(key, value)
            return float(only_here.ANSWER)

        study = tunesmith.create_study()
        study.optimize(objective, n_trials=1, **ONE)  # type: ignore[arg-type]
        assert study.best_value == 42
        assert study.best_trial.user_attrs == {
            "cwd": str(tmp_path), "threads": ["1"] * 4, "verbosity": tunesmith.logging.WARNING,
            "argv": ["prog", "--flag"], "stdin": "",
        }  # fmt: skip

    def test_prints_arrive(self, capfd: pytest.CaptureFixture[str]) -> None:
        def objective(trial: Any) -> float:
            print("to the standard output")
            print("to the standard error", file=sys.stderr)
            os.kill(os.getpid(), signal.SIGKILL)  # nothing is held back
            return 1.0

        tunesmith.create_study().optimize(objective, n_trials=1, attempts=1, **ONE)  # type: ignore[arg-type]
        out, err = capfd.readouterr()
        assert out == "to the standard output\n"
        assert "to the standard error\n" in err


def lambda_with(lock: Any) -> Any:
    def objective(trial: Any) -> float:
        with lock:
            return 1.0

    objective.__qualname__ = "with_a_lock"
    return objective


class Unloadable:
    """Raises where it is unpickled."""

    def __init__(self, what: str = "1 / 0") -> None:
        self.what = what

    def __reduce__(self) -> Any:
        return eval, (self.what,)

    def __call__(self, trial: Any) -> float:
        return 1.0


class TestErrors:
    def test_a_class_of_the_user_is_caught_and_raised_as_itself(self, caplog: pytest.LogCaptureFixture) -> None:
        class MyError(Exception):
            pass

        def objective(trial: Any) -> float:
            if trial.number == 1:
                raise MyError("mine") from ValueError("below")
            return 1.0

        study = tunesmith.create_study()
        tunesmith.logging.enable_propagation()
        try:
            study.optimize(objective, n_trials=3, catch=MyError, **ONE)  # type: ignore[arg-type]
        finally:
            tunesmith.logging.disable_propagation()
        assert states(study) == ["COMPLETE", "FAIL", "COMPLETE"]
        assert reason(study, 1) == "MyError: mine"
        text = "\n".join(record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
        assert "Raised in a worker process" in text
        assert 'raise MyError("mine")' in text
        assert "ValueError: below" in text
        study = tunesmith.create_study()
        study.enqueue_trial({})
        with pytest.raises(MyError, match="mine"):
            study.optimize(objective, n_trials=3, **ONE)  # type: ignore[arg-type]
        assert states(study) == ["COMPLETE", "FAIL"]

    def test_odd_exceptions(self) -> None:
        def objective(trial: Any) -> float:
            if trial.number == 0:
                raise TwoArguments(1, 2)
            error = ValueError("holds a lock")
            error.lock = threading.Lock()  # type: ignore[attr-defined]
            raise error

        study = tunesmith.create_study()
        study.optimize(objective, n_trials=2, catch=(TwoArguments, ValueError), **ONE)  # type: ignore[arg-type]
        assert [reason(study, i) for i in range(2)] == ["TwoArguments: 1 and 2", "ValueError: holds a lock"]

    @pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
    def test_interrupts_release_the_trial(self, error: type[BaseException]) -> None:
        def objective(trial: Any) -> float:
            if trial.number == 1:
                raise error
            return 1.0

        study = tunesmith.create_study()
        with pytest.raises(error):
            study.optimize(objective, n_trials=3, catch=Exception, **ONE)  # type: ignore[arg-type]
        assert states(study) == ["COMPLETE", "WAITING"]

    def test_the_first_error_ends_the_others(self) -> None:
        """A generator comes to its yield; a function that computes is killed. Both are attempted again later."""

        def objective(trial: Any) -> Any:
            if trial.number == 1:
                wait_until(Path(os.environ["PYTEST_TMP"], "computing").exists)
                raise ValueError("wrong")
            Path(os.environ["PYTEST_TMP"], "computing").touch()
            time.sleep(60)

        from tunesmith.executors import _remote

        before, _remote.GRACE_SECONDS = _remote.GRACE_SECONDS, 0.3
        study = tunesmith.create_study()
        begin = time.monotonic()
        try:
            with pytest.raises(ValueError, match="wrong"):
                study.optimize(objective, n_trials=2, **TWO)  # type: ignore[arg-type]
        finally:
            _remote.GRACE_SECONDS = before
        assert time.monotonic() - begin < 10
        assert states(study) == ["WAITING", "FAIL"]
        check_reload(study)


class TestDeaths:
    def test_a_death_costs_one_attempt(self) -> None:
        """``kill(0, ...)`` is the whole process group, which is the worker's own."""
        deaths = {
            1: (functools.partial(os.kill, 0, signal.SIGKILL), 1),
            2: (segfault, 2),
            3: (functools.partial(os._exit, 5), 2),
        }
        study = tunesmith.create_study(seed=1)
        study.optimize(Dying(deaths), n_trials=5, attempts=2, **ONE)  # type: ignore[arg-type]
        assert states(study) == ["COMPLETE", "COMPLETE", "FAIL", "FAIL", "COMPLETE"]
        assert study.trials[1].system_attrs["attempt"] == 2
        assert "SIGSEGV while it evaluated trial 2" in reason(study, 2)
        assert "exited with status 5" in reason(study, 3)
        check_reload(study)
        calm = tunesmith.create_study(seed=1)
        calm.optimize(Dying({}), n_trials=2)
        assert [t.params for t in calm.trials] == [t.params for t in study.trials[:2]]

    def test_others_go_on(self) -> None:
        study = tunesmith.create_study(seed=1, sampler="random")
        study.optimize(Dying({0: (segfault, 1), 3: (segfault, 1)}), n_trials=6, **TWO)  # type: ignore[arg-type]
        assert states(study) == ["COMPLETE"] * 6

    def test_a_saved_state_survives(self, tmp_path: Path) -> None:
        study = tunesmith.create_study(storage=f"{tmp_path}/log.jsonl", pruner="nop")
        study.optimize(saving, n_trials=1, **ONE)  # type: ignore[arg-type]
        assert states(study) == ["COMPLETE"]
        assert study.trials[0].user_attrs == {"from_1": 0, "from_2": 2}
        assert study.trials[0].intermediate_values == {i: float(i) for i in range(1, 5)}

    def test_paused_generators_of_a_dead_worker_begin_again(self) -> None:
        """All four pause; the first one to go on kills its process, and with it the other three."""

        def objective(trial: Any) -> Iterator[float]:
            trial.set_user_attr(f"began_{trial.attempt}", os.getpid())
            yield 1.0
            if trial.number == 0 and trial.attempt == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            yield 2.0

        study = tunesmith.create_study(pruner=Waves(4))
        study.optimize(objective, n_trials=4, **ONE)  # type: ignore[arg-type]
        assert states(study) == ["COMPLETE"] * 4
        for trial in study.trials:
            assert trial.intermediate_values == {1: 1.0, 2: 2.0}
            assert len(set(trial.user_attrs.values())) == 2
        check_reload(study)

    def test_nothing_of_the_workers_is_left(self) -> None:
        study = tunesmith.create_study()

        def objective(trial: Any) -> float:
            trial.set_user_attr("pid", os.getpid())
            return 1.0

        study.optimize(objective, n_trials=3, **TWO)  # type: ignore[arg-type]
        assert not any(is_alive(t.user_attrs["pid"]) for t in study.trials)


@dataclass(frozen=True)
class Waves(BasePruner):
    """``n`` trials pause after their first report; when all have, they go on, the first one first."""

    n: int = 4

    def verdict(self, history: History, trial: OpenRow) -> Verdict:
        return Verdict.PAUSE if max(trial.reports) == 1 else Verdict.GO

    def schedule(self, history: History) -> Schedule:
        if history.n_trials < self.n:
            return Start()
        if any(len(t.reports) == 0 for t in history.open):
            return Idle.WAIT
        return [Continue(t.number) for t in history.open if t.state == TrialState.PAUSED] or Idle.DONE


class TestPaused:
    def test_a_trial_goes_on_where_its_generator_is(self) -> None:
        def objective(trial: Any) -> Iterator[float]:
            here = os.getpid()
            yield 1.0
            assert os.getpid() == here
            time.sleep(0.05)
            yield 2.0

        study = tunesmith.create_study(pruner=Waves(6))
        study.optimize(objective, n_trials=6, **TWO)  # type: ignore[arg-type]
        assert states(study) == ["COMPLETE"] * 6
        assert all(t.system_attrs.get("attempt", 1) == 1 for t in study.trials)

    def test_a_busy_worker_does_not_idle_the_others(self) -> None:
        """The rule prefers trial 2, whose worker is busy with trial 0 for a while; the other one gets trial 1."""

        def objective(trial: Any) -> Iterator[float]:
            folder = Path(os.environ["PYTEST_TMP"])
            if trial.number == 0:
                wait_until((folder / "begun").exists)  # so that 0 and 2 are in one process, and 1 in the other
            if trial.number == 1:
                (folder / "begun").touch()
                wait_until((folder / "two").exists)
            if trial.number == 2:
                (folder / "two").touch()
            yield 1.0
            if trial.number == 0:
                wait_until((folder / "one").exists)
            if trial.number == 1:
                (folder / "one").touch()
            yield 2.0

        @dataclass(frozen=True)
        class Preferring(Waves):
            def schedule(self, history: History) -> Schedule:
                wishes = super().schedule(history)
                if not isinstance(wishes, list):
                    return wishes
                paused = {t.number for t in history.open if t.state == TrialState.PAUSED}
                return [Continue(n) for n in (0, 2, 1) if n in paused]

        study = tunesmith.create_study(pruner=Preferring(3))
        study.optimize(objective, n_trials=3, **TWO)  # type: ignore[arg-type]
        assert states(study) == ["COMPLETE"] * 3

    def test_generators_are_closed(self) -> None:
        """By a rule that stops them (paused or not), by max_paused, and at the end."""

        def objective(trial: Any) -> Iterator[float]:
            try:
                while True:
                    yield float(trial.number)
            finally:
                with Path(os.environ["PYTEST_TMP"], "closed").open("a") as file:
                    file.write(f"{trial.number}\n")

        @dataclass(frozen=True)
        class PauseAll(BasePruner):
            def verdict(self, history: History, trial: OpenRow) -> Verdict:
                return Verdict.STOP if trial.number == 0 else Verdict.PAUSE

            def schedule(self, history: History) -> Schedule:
                return Start() if history.n_trials < 5 else Idle.DONE

        study = tunesmith.create_study(pruner=PauseAll())
        study.optimize(objective, n_trials=5, max_paused=2, **ONE)  # type: ignore[arg-type]
        assert states(study) == ["PRUNED"] * 5
        assert Path(os.environ["PYTEST_TMP"], "closed").read_text().split() == ["0", "3", "4", "1", "2"]

    def test_kept_ones_begin_again_in_the_next_call(self) -> None:
        study = tunesmith.create_study(pruner=Waves(2))
        study.optimize(yielding, n_trials=1, keep_paused=True, **ONE)  # type: ignore[arg-type]
        assert states(study) == ["PAUSED"]
        study.optimize(yielding, n_trials=1, **ONE)  # type: ignore[arg-type]
        assert states(study) == ["COMPLETE"] * 2


class TestLimits:
    def test_timeout(self, tmp_path: Path) -> None:
        """Also of what it has started; the loop goes on, and what was reported is kept."""

        def objective(trial: Any) -> float:
            trial.report(1.0, 1)
            if trial.number == 1:
                child = subprocess.Popen(["sleep", "60"])
                Path(os.environ["PYTEST_TMP"], "pid").write_text(str(child.pid))
                while True:
                    pass
            return 1.0

        study = tunesmith.create_study()
        study.optimize(objective, n_trials=3, trial_timeout=0.6, **ONE)  # type: ignore[arg-type]
        assert states(study) == ["COMPLETE", "FAIL", "COMPLETE"]
        assert TrialTimeoutError.__name__ in reason(study, 1)
        assert "trial_timeout=0.6" in reason(study, 1)
        assert study.trials[1].intermediate_values == {1: 1.0}
        wait_until(lambda: not is_alive(int((tmp_path / "pid").read_text())), 2.0)

    def test_time_counts_through_pauses_but_not_in_them(self) -> None:
        def objective(trial: Any) -> Iterator[float]:
            time.sleep(0.3)
            yield 1.0
            time.sleep(0.05 if trial.number else 0.5)
            yield 2.0

        study = tunesmith.create_study(pruner=Waves(3))
        study.optimize(objective, n_trials=3, trial_timeout=0.6, **ONE)  # type: ignore[arg-type]
        assert states(study)[0] == "FAIL"  # and with it the generators of the others are lost; they begin again
        assert states(study)[1:] == ["COMPLETE"] * 2

    def test_a_killed_worker_gets_no_other_trial(self) -> None:
        """Not even while it is dying; a trial that it got would lose an attempt."""

        def objective(trial: Any) -> float:
            time.sleep(60 if trial.number % 2 else 0)
            return 1.0

        study = tunesmith.create_study(pruner="nop")
        study.optimize(objective, n_trials=6, trial_timeout=0.1, **ONE)  # type: ignore[arg-type]
        assert states(study) == ["COMPLETE", "FAIL"] * 3
        assert all(t.system_attrs.get("attempt", 1) == 1 for t in study.trials)

    def test_memory(self) -> None:
        def objective(trial: Any) -> float:
            if trial.number == 0:
                import numpy as np

                held = [np.ones(2**20) for _ in range(60)]  # 480 MiB
                time.sleep(60)
                del held
            return 1.0

        study = tunesmith.create_study()
        study.optimize(objective, n_trials=2, trial_memory="400 MiB", **ONE)  # type: ignore[arg-type]
        assert states(study) == ["FAIL", "COMPLETE"]
        assert TrialMemoryError.__name__ in reason(study, 0)
        assert "trial_memory=400 MiB" in reason(study, 0)

    def test_memory_that_not_even_an_idle_worker_gets_by_with(self) -> None:
        study = tunesmith.create_study()
        with pytest.raises(InvalidValueError, match=r"trial_memory=1 MiB is too little.*before its first trial"):
            study.optimize(plain, n_trials=2, trial_memory=2**20, **ONE)  # type: ignore[arg-type]
        assert study.trials == []

    def test_where_trials_cannot_be_killed(self) -> None:
        study = tunesmith.create_study()
        for options in ({}, {"n_jobs": 2}, {"lanes": 2}, {"backend": InlineExecutor()}):
            with pytest.raises(InvalidValueError, match="backend='processes'"):
                study.optimize(plain, n_trials=1, trial_timeout=5, **options)  # type: ignore[arg-type]
        with pytest.raises(InvalidValueError, match="`lanes`"):
            study.optimize(plain, n_trials=1, lanes=2, backend="processes")

    @pytest.mark.parametrize(
        ("text", "size"),
        [
            ("2 GiB", 2**31),
            ("500MB", 5 * 10**8),
            ("1.5 KiB", 1536),
            ("64k", 64_000),
            (1e6, 10**6),
            (".5 TB", 5 * 10**11),
        ],
    )
    def test_sizes(self, text: Any, size: int) -> None:
        assert ProcessExecutor(1, trial_memory=text).limits.memory == size

    @pytest.mark.parametrize("bad", ["2 gigs", "", "-1", 0, -5, "0", True, [1], math.nan, math.inf])
    def test_impossible_ones(self, bad: Any) -> None:
        with pytest.raises((InvalidValueError, InvalidTypeError), match="trial_memory"):
            ProcessExecutor(1, trial_memory=bad)
        with pytest.raises((InvalidValueError, InvalidTypeError), match="trial_timeout"):
            ProcessExecutor(1, trial_timeout=bad)


def test_how_many() -> None:
    def chosen(**options: Any) -> int:
        executor = choose_executor(plain, options.pop("n_jobs", None), None, "processes", **options)
        assert isinstance(executor, ProcessExecutor)
        return executor.n

    assert chosen() == ProcessExecutor().n == cores()
    assert chosen(n_jobs=5) == 5
    assert chosen(n_jobs=5, n_trials=2) == 2
    assert chosen(n_trials=0) == 1
    with pytest.raises(InvalidValueError, match="`n`"):
        ProcessExecutor(0)


# -- scripts -----------------------------------------------------------------------------------------------------------

SCRIPT = """
import os, sys, time
import tunesmith as ts
from tunesmith.executors import _remote

_remote.GRACE_SECONDS = 0.5
open(f"main-{os.getpid()}", "w").close()       # each process that runs this file leaves a trace
ts.logging.set_verbosity(ts.logging.ERROR)


def objective(trial):
    x = trial.suggest_float("x", 0, 1)
    open(f"pid-{os.getpid()}", "w").close()
    if HANG and trial.number >= 2:
        print("computing", flush=True)
        while True:
            pass
    return x


study = ts.create_study(study_name="s", storage="log.jsonl", seed=5, load_if_exists=True, sampler="random",
                        space={"x": ts.Float(0, 1)})
study.optimize(objective, n_trials=4 - len(study.get_trials(states=[ts.TrialState.COMPLETE])), n_jobs=2,
               backend="processes")
print([t.state.name for t in study.trials], [t.params["x"] for t in study.trials])
"""


def script(folder: Path, hang: bool, grace: float = 0.5) -> subprocess.Popen[str]:
    """In a process group of its own, as a shell would start it."""
    (folder / "script.py").write_text(SCRIPT.replace("HANG", str(hang)).replace("0.5", str(grace)))
    return subprocess.Popen(
        [sys.executable, "script.py"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        process_group=0,
    )  # fmt: skip


def pids(folder: Path) -> list[int]:
    return [int(path.name.partition("-")[2]) for path in folder.glob("pid-*")]


def without_interruption() -> list[float]:
    study = tunesmith.create_study(seed=5, sampler="random", space={"x": tunesmith.Float(0, 1)})
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=4)
    return [t.params["x"] for t in study.trials]


def finish(folder: Path) -> None:
    """What was interrupted is attempted again, and in the end there is nothing to be seen of it."""
    out, err = script(folder, hang=False).communicate(timeout=60)
    assert out == f"{['COMPLETE'] * 4} {without_interruption()}\n", err


def test_a_script_needs_no_guard(tmp_path: Path) -> None:
    finish(tmp_path)
    assert len(list(tmp_path.glob("main-*"))) == 1


def test_ctrl_c(tmp_path: Path) -> None:
    """The terminal signals the whole foreground group. The trials are given back, no worker is left."""
    process = script(tmp_path, hang=True)
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["computing\n"] * 2
    begin = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert time.monotonic() - begin < 8
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert not any(map(is_alive, pids(tmp_path)))
    assert "KeyboardInterrupt" not in err.replace("KeyboardInterrupt", "", 1)  # of this process alone
    finish(tmp_path)


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    process = script(tmp_path, hang=True, grace=60.0)
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["computing\n"] * 2
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.3)
    begin = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=30)
    assert time.monotonic() - begin < 2  # of the sixty that it would wait
    wait_until(lambda: not any(map(is_alive, pids(tmp_path))), 2.0)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_parent_leaves_no_worker(tmp_path: Path, number: int) -> None:
    """Although they compute."""
    process = script(tmp_path, hang=True)
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["computing\n"] * 2
    workers = pids(tmp_path)
    assert len(workers) == 2
    assert all(map(is_alive, workers))
    process.send_signal(number)
    process.communicate(timeout=30)
    wait_until(lambda: not any(map(is_alive, workers)), 2.0)
    finish(tmp_path)
