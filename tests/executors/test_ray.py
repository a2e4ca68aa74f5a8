"""Trials as tasks of Ray, on clusters of several nodes that are processes of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from executors.objectives import events

import tunesmith
from tunesmith import executors
from tunesmith.exceptions import InvalidTypeError, InvalidValueError, MissingDependencyError
from tunesmith.executors import RayExecutor
from tunesmith.pruners import SuccessiveHalvingPruner
from tunesmith.study._settings import choose_executor

ray = pytest.importorskip("ray")
cluster_utils = pytest.importorskip("ray.cluster_utils")

pytestmark = pytest.mark.slow  # a cluster takes seconds to start


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A node for the driver with two cores and one GPU (which nobody looks at), and room for more nodes."""
    quickly = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300, "health_check_failure_threshold": 5}
    head = {"num_cpus": 2, "num_gpus": 1, "include_dashboard": False, "object_store_memory": 80_000_000}
    head["_system_config"] = quickly
    made = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
    ray.init(address=made.address, logging_level="ERROR", log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Where objectives note what they do; one line each."""
    return tmp_path / "notes"


def note(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text + "\n")


def noted(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def states(study: Any) -> list[str]:
    return [t.state.name for t in study.trials]


def plain(trial: Any) -> float:
    x = trial.suggest_float("x", 1e-3, 1.0, log=True)
    for step in range(3):
        trial.report(x + step, step)
    trial.set_user_attr("k", [1, "a"])
    trial.set_constraint("c", x - 0.5)
    return float(x + trial.suggest_int("n", 0, 3))


def yielding(trial: Any) -> Iterator[float]:
    x = trial.suggest_float("x", 0.0, 1.0)
    for epoch in range(4):
        yield x / (epoch + 1)


@pytest.mark.parametrize("objective", [plain, yielding])
def test_one_task_at_a_time_is_the_same_as_inline(
    objective: Callable[[Any], Any], cluster: Any, tmp_path: Path
) -> None:
    found = []
    for name, backend in (("inline", None), ("ray", RayExecutor(1))):
        study = tunesmith.create_study(storage=f"{tmp_path}/{name}.jsonl", sampler="tpe", pruner="nop", seed=1)
        study.optimize(objective, n_trials=5, backend=backend)
        # Positions and other events depend on time: a report goes out by itself half a second after the last append.
        asked = [event for record in events(study) for event in record if event["e"] == "ask"]
        fields = [
            (t.state, t.values, t.params, t.intermediate_values, t.user_attrs, t.constraints) for t in study.trials
        ]
        found.append(([{k: v for k, v in event.items() if k != "at"} for event in asked], fields))
    assert found[0] == found[1]


def test_a_backend_by_name(cluster: Any) -> None:
    """As many at a time as there is room for; a script's own functions travel along."""
    study = tunesmith.create_study(seed=1)
    offset = 3.0
    study.optimize(lambda trial: trial.suggest_float("x", 0, 0) + offset, n_trials=6, backend="ray")
    assert states(study) == ["COMPLETE"] * 6
    assert study.best_value == 3.0


def test_paused_trials_go_on_from_their_states(cluster: Any, notes: Path) -> None:
    def objective(trial: Any) -> Iterator[float]:
        x = trial.suggest_float("x", 0, 1)
        done = trial.load() or 0
        try:
            for epoch in range(done + 1, 10):
                note(notes, f"{trial.number}.{epoch}")
                if trial.number % 2:
                    trial.save(epoch)
                yield x
        finally:
            note(notes, f"closed.{trial.number}")

    rule = SuccessiveHalvingPruner(min_resource=1, max_resource=9, reduction_factor=3)
    study = tunesmith.create_study(sampler="random", pruner=rule, seed=3)
    study.optimize(objective, n_trials=9, backend=RayExecutor(2))
    counts = Counter(noted(notes))
    assert set(states(study)) == {"COMPLETE", "PRUNED", "PAUSED"}  # those that were saved may go on later
    epochs = Counter(int(line.split(".")[0]) for line in counts if not line.startswith("closed"))
    assert max(epochs.values()) > 1  # some went on
    for line, times in counts.items():
        number, epoch = line.split(".")
        if number != "closed" and int(number) % 2:
            assert times == 1, f"epoch {epoch} of trial {number} was trained {times} times"
    for trial in study.trials:
        assert sorted(trial.intermediate_values) == list(range(1, len(trial.intermediate_values) + 1))
        assert counts[f"closed.{trial.number}"] >= 1


def test_fractions_of_a_gpu(cluster: Any) -> None:
    executor = RayExecutor(num_cpus=0.5, num_gpus=0.25)
    assert executor._room(ray) == 4
    study = tunesmith.create_study(directions=["minimize", "minimize"])

    def objective(trial: Any) -> tuple[float, float]:
        trial.set_user_attr("visible", os.environ.get("CUDA_VISIBLE_DEVICES"))
        assigned = ray.get_runtime_context().get_assigned_resources()
        return assigned["GPU"], assigned["CPU"]

    study.optimize(objective, n_trials=2, backend=executor)
    assert [t.values for t in study.trials] == [[0.25, 0.5]] * 2
    assert study.trials[0].user_attrs == {"visible": "0"}


class TestLosses:
    def test_a_worker_that_is_killed_costs_one_attempt(self, cluster: Any, notes: Path, tmp_path: Path) -> None:
        def objective(trial: Any) -> float:
            note(notes, f"{trial.number}.{trial.attempt}")
            x = trial.suggest_float("x", 0, 1)
            if trial.number == 1 and trial.attempt < 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return float(x)

        space = {"x": tunesmith.Float(0, 1)}
        study = tunesmith.create_study(storage=f"sqlite:///{tmp_path}/s.db", sampler="random", seed=0, space=space)
        study.optimize(objective, n_trials=4, backend=RayExecutor(2))
        assert states(study) == ["COMPLETE"] * 4
        assert Counter(noted(notes)) == Counter(["0.1", "1.1", "1.2", "1.3", "2.1", "3.1"])
        whole = tunesmith.create_study(sampler="random", seed=0, space=space)
        whole.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=4)
        assert study.trials[1].params == whole.trials[1].params
        assert study.trials[1].system_attrs["attempt"] == 3

    def test_the_third_loss_fails_the_trial(self, cluster: Any) -> None:
        def objective(trial: Any) -> float:
            if trial.number == 0:
                os._exit(7)
            return 1.0

        study = tunesmith.create_study()
        study.optimize(objective, n_trials=2, backend=RayExecutor(1))
        assert states(study) == ["FAIL", "COMPLETE"]
        reason = study.trials[0].system_attrs["fail_reason"]
        assert "lost by Ray (WorkerCrashedError" in reason
        assert "while it evaluated trial 0" in reason

    def test_a_node_that_is_lost(self, cluster: Any, notes: Path) -> None:
        node = cluster.add_node(num_cpus=1, resources={"far": 1}, object_store_memory=80_000_000)

        def objective(trial: Any) -> Iterator[float]:
            note(notes, f"{trial.number}.{trial.attempt}")
            for _ in range(600 if trial.attempt == 1 else 2):
                time.sleep(0.05)
                yield 1.0

        study = tunesmith.create_study(pruner="nop")

        executor = RayExecutor(1, resources={"far": 1})
        running = threading.Thread(target=lambda: study.optimize(objective, n_trials=1, backend=executor))
        running.start()
        while not noted(notes):
            time.sleep(0.05)
        cluster.remove_node(node, allow_graceful=False)
        cluster.add_node(num_cpus=1, resources={"far": 1}, object_store_memory=80_000_000)
        running.join()
        assert states(study) == ["COMPLETE"]
        assert noted(notes) == ["0.1", "0.2"]

    def test_a_driver_that_is_killed(self, cluster: Any, notes: Path, tmp_path: Path) -> None:
        script = tmp_path / "driver.py"
        script.write_text(DRIVER)
        command = [sys.executable, str(script), cluster.address, f"sqlite:///{tmp_path}/s.db", str(notes)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        first = subprocess.Popen(command, **quiet)
        deadline = time.monotonic() + 40
        while len(noted(notes)) < 6 and time.monotonic() < deadline:
            time.sleep(0.02)
        first.kill()
        first.wait()
        subprocess.run(command, check=True, timeout=60, **quiet)
        study = tunesmith.load_study(study_name="s", storage=f"sqlite:///{tmp_path}/s.db")
        assert states(study) == ["COMPLETE"] * 12
        runs = Counter(noted(notes))
        assert set(runs.values()) == {1}  # no attempt ran twice
        finished = {t.number: t.system_attrs.get("attempt", 1) for t in study.trials}
        assert all(int(line.split(".")[1]) <= finished[int(line.split(".")[0])] for line in runs)
        assert 1 <= sum(attempt > 1 for attempt in finished.values()) <= 2


DRIVER = """
import sys, time
import ray, tunesmith
from tunesmith.executors import RayExecutor

address, storage, notes = sys.argv[1:]
tunesmith.logging.set_verbosity(tunesmith.logging.ERROR)

def objective(trial):
    with open(notes, "a") as file:
        file.write(f"{trial.number}.{trial.attempt}\\n")
    time.sleep(0.2)
    return trial.suggest_float("x", 0, 1)

ray.init(address=address, logging_level="ERROR", log_to_driver=False)
study = tunesmith.create_study(study_name="s", storage=storage, load_if_exists=True, seed=0)
finished = len([t for t in study.trials if t.state.is_finished()])
study.optimize(objective, n_trials=12 - finished, backend=RayExecutor(2))
"""


class TestErrors:
    def test_of_the_objective(self, cluster: Any) -> None:
        def objective(trial: Any) -> float:
            raise ZeroDivisionError("of mine")

        study = tunesmith.create_study()
        with pytest.raises(ZeroDivisionError, match="of mine"):
            study.optimize(objective, n_trials=3, backend=RayExecutor(1))
        assert states(study) == ["FAIL"]
        study.optimize(objective, n_trials=2, backend=RayExecutor(1), catch=(ZeroDivisionError,))
        assert states(study) == ["FAIL"] * 3

    def test_a_trial_that_takes_too_long_is_ended(self, cluster: Any) -> None:
        def objective(trial: Any) -> float:
            time.sleep(60 if trial.number == 0 else 0)
            return 1.0

        study = tunesmith.create_study()
        begun = time.monotonic()
        study.optimize(objective, n_trials=2, backend=RayExecutor(1, trial_timeout=0.5))
        assert time.monotonic() - begun < 20
        assert states(study) == ["FAIL", "COMPLETE"]
        assert "trial_timeout=0.5" in study.trials[0].system_attrs["fail_reason"]

    def test_no_room(self, cluster: Any) -> None:
        study = tunesmith.create_study()
        with pytest.raises(InvalidValueError, match=r"No node .* has room .* 'GPU': 2\.0.*all nodes together"):
            study.optimize(plain, n_trials=1, backend=RayExecutor(num_gpus=2))
        assert study.trials == []

    def test_an_objective_that_cannot_be_loaded(self, cluster: Any) -> None:
        study = tunesmith.create_study()
        with pytest.raises(InvalidTypeError, match=r"cannot load the objective \(ZeroDivisionError"):
            study.optimize(Unloadable(), n_trials=1, backend=RayExecutor(1))
        assert study.trials == []


class Unloadable:
    def __call__(self, trial: Any) -> float:
        return 1.0

    def __reduce__(self) -> Any:
        return eval, ("1/0",)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n": 0}, InvalidValueError, "`n` must be an integer of at least 1"),
        ({"num_cpus": -1}, InvalidValueError, "`num_cpus` must be"),
        ({"num_gpus": "all"}, InvalidTypeError, "`num_gpus` must be a number"),
        ({"resources": ["a"]}, InvalidTypeError, "`resources` must be a mapping"),
        ({"num_cpus": 0}, InvalidValueError, "must need something"),
        ({"options": {"max_retries": 3}}, InvalidValueError, "'max_retries'"),
        ({"trial_timeout": 0}, InvalidValueError, "`trial_timeout`"),
    ],
)
def test_impossible_arguments(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        RayExecutor(**options)


def test_choosing() -> None:
    chosen = choose_executor(plain, 7, None, "ray", trial_timeout=5)
    assert isinstance(chosen, RayExecutor)
    assert (chosen.n, chosen.limits.seconds) == (7, 5.0)
    for wrong in ({"lanes": 4}, {"trial_memory": "1 GiB"}):
        with pytest.raises(InvalidValueError, match="neither `lanes` nor `trial_memory`"):
            choose_executor(plain, None, wrong.pop("lanes", None), "ray", **wrong)


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert executors.RayExecutor is RayExecutor
    with pytest.raises(MissingDependencyError, match=r"pip install 'tunesmith\[ray\]'"):
        RayExecutor()
