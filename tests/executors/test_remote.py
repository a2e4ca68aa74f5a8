"""The conversation between a study and a worker, without processes: it does not depend on how the bytes travel."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import tunesmith
from tunesmith.exceptions import StaleTrialError, WorkerDiedError
from tunesmith.executors import BaseExecutor, Host
from tunesmith.executors._limits import Limits
from tunesmith.executors._messages import Disconnected, Opened, Raised, Ready, Returned, pack, raised, unpack
from tunesmith.executors._remote import RemoteGenerator, RemoteWorker
from tunesmith.executors._remote_worker import Evaluator
from tunesmith.pruners import BasePruner, Continue, Idle, Start, Verdict
from tunesmith.trial import TrialState


class Queues:
    """Both ends of a channel: a worker in a thread of this process."""

    def __init__(self, objective: Any) -> None:
        self.to_worker: queue.Queue[bytes | None] = queue.Queue()
        self.to_study: queue.Queue[bytes | None] = queue.Queue()
        self.is_alive = True
        self.sent: list[str] = []
        threading.Thread(target=self._work, args=(objective,), daemon=True).start()

    def _work(self, objective: Any) -> None:
        try:
            Evaluator(_WorkersEnd(self), objective).run()
        except Disconnected:
            pass
        finally:
            self.is_alive = False
            self.to_study.put(None)

    def send(self, data: bytes) -> None:
        if not self.is_alive:
            raise Disconnected
        self.sent.append(type(unpack(data)).__name__)
        self.to_worker.put(data)

    def receive(self, timeout: float) -> bytes | None:
        try:
            data = self.to_study.get(timeout=timeout)
        except queue.Empty:
            return None
        if data is None:
            raise Disconnected
        return data

    def alive(self) -> bool:
        return self.is_alive

    def memory(self) -> int | None:
        return None

    def kill(self) -> None:
        self.is_alive = False
        self.to_worker.put(None)

    def epitaph(self) -> str:
        return "was unplugged"

    def close(self, patience: float = 0.0) -> None:
        self.kill()


class _WorkersEnd:
    def __init__(self, queues: Queues) -> None:
        self.queues = queues

    def send(self, data: bytes) -> None:
        self.queues.to_study.put(data)

    def receive(self) -> bytes:
        data = self.queues.to_worker.get()
        if data is None:
            raise Disconnected
        return data


class QueueExecutor(BaseExecutor):
    """One worker at the other end of two queues."""

    def resumes(self, kept: Any) -> bool:
        return isinstance(kept, RemoteGenerator) and kept.alive

    def run(self, host: Host) -> None:
        self.channel = Queues(host.objective)
        worker = RemoteWorker(self.channel, Limits())
        with host.worker():
            while works := host.take():
                worker.evaluate(host, works[0], lambda kept: kept.worker.close(kept.trial.number))()
                if not self.channel.alive():
                    self.channel = Queues(host.objective)
                    worker = RemoteWorker(self.channel, Limits())
        worker.end()


class PauseOnce(BasePruner):
    """Each of three trials pauses after its first report."""

    def verdict(self, history: Any, trial: Any) -> Verdict:
        return Verdict.PAUSE if max(trial.reports) == 1 else Verdict.GO

    def schedule(self, history: Any) -> Any:
        if history.n_trials < 3:
            return Start()
        return [Continue(t.number) for t in history.open if t.state == TrialState.PAUSED] or Idle.DONE

    def spec(self) -> dict[str, Any]:
        return {"name": "PauseOnce", "args": {}}


def halves(trial: Any) -> Iterator[float]:
    x = trial.suggest_float("x", 0, 1)
    for i in range(3):
        yield x / (i + 1)


def test_any_channel_will_do() -> None:
    found = []
    for backend in (None, QueueExecutor()):
        study = tunesmith.create_study(seed=3, pruner=PauseOnce())
        study.optimize(halves, n_trials=3, backend=backend)
        found.append([(t.state, t.params, t.intermediate_values, t.value) for t in study.trials])
    assert found[0] == found[1]


def test_a_worker_that_is_gone_is_named() -> None:
    study = tunesmith.create_study()
    executor = QueueExecutor()

    def unplug(trial: Any) -> float:
        if trial.attempt < 3:
            executor.channel.to_study.put(None)
            executor.channel.kill()
            raise Disconnected
        return 1.0

    study.optimize(unplug, n_trials=1, backend=executor)
    assert [t.state.name for t in study.trials] == ["COMPLETE"]
    assert study.trials[0].system_attrs["attempt"] == 3
    study = tunesmith.create_study()
    study.optimize(unplug, n_trials=1, backend=executor, attempts=2)
    assert (
        study.trials[0]
        .system_attrs["fail_reason"]
        .endswith("WorkerDiedError: A worker process was unplugged while it evaluated trial 0.")
    )
    assert issubclass(WorkerDiedError, RuntimeError)


class Odd(Exception):
    """Breaks wherever it can."""

    def __str__(self) -> str:
        raise ValueError("no text")

    def __reduce__(self) -> Any:
        raise TypeError("no pickle")


class Keyed(KeyError):
    def __init__(self, key: str, *, table: str) -> None:
        super().__init__(key)
        self.table = table


@pytest.mark.parametrize(
    "error",
    [ValueError("a"), StaleTrialError("b"), KeyError("c"), OSError(2, "no file"), Keyed("d", table="t"), SystemExit(3)],
)
def test_exceptions_travel(error: BaseException) -> None:
    message = unpack(pack(raised(error)))
    assert isinstance(message, Raised)
    back = message.exception("somewhere")
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert back.__notes__[0].startswith("Raised in somewhere:")


def test_an_exception_that_cannot_travel_is_told_of() -> None:
    assert str(raised(Odd()).exception()) == "Odd: (which cannot be shown as text)"


@pytest.mark.parametrize(
    "message", [Ready(), Opened(), Returned((1.0, None)), Returned({"a": [Verdict.GO]}), Returned({1})]
)
def test_messages_travel(message: Any) -> None:
    assert unpack(pack(message)) == message
