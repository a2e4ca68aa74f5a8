"""Kill drivers, workers and nodes of a Ray cluster while a study runs on it, and check what became of its trials.

``python tests/faults/ray_kills.py --drivers 20 --workers 100 --nodes 10 --out ray_kills.json`` takes some minutes on
two cores; ``tests/executors/test_ray.py`` is the short version. The cluster is ``ray.cluster_utils.Cluster``: every
node is a set of processes of this machine, killed with SIGKILL.

What is checked, from the notes that each attempt writes when it begins and the study's log:

- every trial is finished, and none was executed again after that;
- no attempt was executed twice, and none that the log does not know;
- each attempt of the log was executed, but for those whose driver, worker or node was killed between the claim and the
  first line of the objective; these are counted.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import tunesmith

_HEALTH = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 6}
_STORE_BYTES = 80_000_000

DRIVER = """
import os, sys, time
import ray, tunesmith
from tunesmith.executors import RayExecutor

address, storage, notes, trials = sys.argv[1:]
tunesmith.logging.set_verbosity(tunesmith.logging.ERROR)


def note(text):
    with open(notes, "a") as file:
        file.write(text + "\\n")


def objective(trial):
    note(f"begin {trial.number} {trial.attempt} {os.getpid()}")
    x = trial.suggest_float("x", 0, 1)
    for _ in range(6):
        time.sleep(0.05)
        yield x
    note(f"end {trial.number} {trial.attempt} {os.getpid()}")


ray.init(address=address, logging_level="ERROR", log_to_driver=False)
study = tunesmith.create_study(
    study_name="s", storage=storage, load_if_exists=True, seed=0, sampler="random", pruner="nop"
)
finished = sum(t.state.is_finished() for t in study.trials)
study.optimize(objective, n_trials=int(trials) - finished, backend=RayExecutor(4))
"""


class Run:
    """A cluster, a study on it, and its driver.

    Args:
        folder: for the store, the driver's script and the notes.
        trials: how many the study is to finish.
        seed: of the order and the moments of the kills.
    """

    def __init__(self, folder: Path, trials: int, seed: int) -> None:
        import ray.cluster_utils

        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": _STORE_BYTES}
        self.cluster = ray.cluster_utils.Cluster(
            initialize_head=True, head_node_args={**head, "_system_config": _HEALTH}
        )
        self.nodes = [self._add_node() for _ in range(2)]
        self.notes, self.storage, self.trials = folder / "notes", f"sqlite:///{folder}/study.db", trials
        self._script = folder / "driver.py"
        self._script.write_text(DRIVER)
        self._random = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.driver = self._start_driver()

    def _add_node(self) -> Any:
        return self.cluster.add_node(num_cpus=2, object_store_memory=_STORE_BYTES)

    def _start_driver(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(self._script), self.cluster.address, self.storage, str(self.notes)]
        return subprocess.Popen([*command, str(self.trials)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def computing(self) -> list[int]:
        """Process ids of attempts that have begun and not ended."""
        begun: dict[tuple[str, str], int] = {}
        for line in read(self.notes):
            kind, number, attempt, pid = line.split()
            if kind == "begin":
                begun[number, attempt] = int(pid)
            else:
                begun.pop((number, attempt), None)
        return [pid for pid in begun.values() if _is_worker(pid)]

    def kill(self, kind: str) -> bool:
        """Kill one; False if the study has ended."""
        if not self._wait_for_work():
            return False
        time.sleep(self._random.uniform(0, 0.4))
        if kind == "driver":
            self.driver.kill()
            self.driver.wait()
            self.driver = self._start_driver()
        elif kind == "node":
            node = self.nodes.pop(self._random.randrange(len(self.nodes)))
            self.cluster.remove_node(node, allow_graceful=False)
            self.nodes.append(self._add_node())
        else:
            pids = self.computing()
            if not pids:
                return self.kill(kind)
            try:
                os.kill(self._random.choice(pids), signal.SIGKILL)
            except ProcessLookupError:
                return self.kill(kind)
        self.done[kind] += 1
        return True

    def _wait_for_work(self) -> bool:
        while not self.computing():
            if self.driver.poll() is not None:
                return False
            time.sleep(0.02)
        return True

    def end(self) -> int:
        """Let the study come to its end; the driver's exit status."""
        status = self.driver.wait()
        self.cluster.shutdown()
        return status


def _is_worker(pid: int) -> bool:
    try:
        return b"ray" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def read(notes: Path) -> list[str]:
    """The whole lines."""
    return notes.read_text().rpartition("\n")[0].splitlines() if notes.exists() else []


def judge(notes: Path, storage: str) -> dict[str, Any]:
    """What became of the trials, and how often what must not happen has happened."""
    study = tunesmith.load_study(study_name="s", storage=storage)
    executed = Counter(tuple(map(int, line.split()[1:3])) for line in read(notes) if line.startswith("begin"))
    recorded: Counter[int] = Counter()
    (record,) = study.storage.studies()
    for events in study.storage.read(record.id):
        for event in events:
            if event["e"] == "ask":
                recorded[event["n"]] += 1
    trials = study.trials
    attempts = {(number, a) for number, n in recorded.items() for a in range(1, n + 1)}
    return {
        "trials": len(trials),
        "states": dict(Counter(t.state.name for t in trials)),
        "attempts recorded": len(attempts),
        "attempts executed": len(executed),
        "executed twice": sum(n > 1 for n in executed.values()),
        "executed without a record": len(set(executed) - attempts),
        "recorded, killed before their first line": len(attempts - set(executed)),
        "executed after the end": sum(
            a > t.system_attrs.get("attempt", 1) for t in trials for number, a in executed if number == t.number
        ),
        "attempts of a trial that is not the last one recorded": sum(
            recorded[t.number] != t.system_attrs.get("attempt", 1) for t in trials
        ),
        "unfinished": sum(not t.state.is_finished() for t in trials),
    }


def main() -> None:
    """Run it, print and write the result; status 1 if something happened that must not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for kind, n in (("drivers", 20), ("workers", 100), ("nodes", 10)):
        parser.add_argument(f"--{kind}", type=int, default=n, help=f"to be killed (default {n})")
    parser.add_argument("--trials", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    kinds = ["driver"] * given.drivers + ["worker"] * given.workers + ["node"] * given.nodes
    random.Random(given.seed).shuffle(kinds)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        run = Run(Path(folder), given.trials, given.seed)
        complete = all(run.kill(kind) for kind in kinds)
        status = run.end()
        result = {"killed": dict(run.done), "all kills done": complete, "driver's status": status}
        result |= judge(run.notes, run.storage)
        result["seconds"] = round(time.monotonic() - begun)
    print(json.dumps(result, indent=2))
    if given.out:
        given.out.write_text(json.dumps(result, indent=2) + "\n")
    forbidden = (
        "executed twice", "executed without a record", "executed after the end", "unfinished", "driver's status",
        "attempts of a trial that is not the last one recorded",
    )  # fmt: skip
    sys.exit(1 if any(result[name] for name in forbidden) or not complete else 0)


if __name__ == "__main__":
    main()
