"""What may happen to a worker process on its way: broken messages, signals, forked children, devices that fail."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from executors.objectives import Device, is_alive, wait_until

import tunesmith
from tunesmith.executors._messages import Disconnected, Setup
from tunesmith.executors._process import ProcessChannel
from tunesmith.executors._stream import MessageStream

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="worker processes need a POSIX system")

ONE: Any = {"n_jobs": 1, "backend": "processes"}


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


class TestMessageStream:
    @pytest.mark.parametrize("size", [1, 100, 1 << 14, (1 << 14) + 1, 3_000_000])
    def test_messages_of_any_size(self, size: int) -> None:
        """The large one is more than a socket holds, so somebody must read while it is sent."""
        ours, theirs = socket.socketpair()
        data = os.urandom(size)
        child = os.fork()
        if child == 0:
            sender = MessageStream(theirs)
            sender.send(data)
            sender.send(b"next")
            os._exit(0)
        theirs.close()
        receiver = MessageStream(ours)
        assert (receiver.receive(10.0), receiver.receive(10.0)) == (data, b"next")
        with pytest.raises(Disconnected):
            receiver.receive(10.0)
        os.waitpid(child, 0)
        receiver.close()

    def test_a_wait_that_ends_inside_of_a_message_loses_nothing(
        self, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        whole = struct.pack("!Q", 5) + b"hello" + struct.pack("!Q", 1) + b"!"
        receiver = MessageStream(pair[0])
        for k in range(len(whole)):
            pair[1].send(whole[k : k + 1])
            assert receiver.receive(0.0001) == {12: b"hello", 21: b"!"}.get(k)

    def test_who_does_not_read_is_asked_after(self, pair: tuple[socket.socket, socket.socket]) -> None:
        asked = []

        def there() -> bool:
            asked.append(True)
            return len(asked) < 3

        with pytest.raises(Disconnected):
            MessageStream(pair[0], there).send(bytes(10_000_000))
        assert len(asked) == 3


class TestWorkers:
    def test_one_that_dies_inside_of_a_message_while_its_child_keeps_the_socket(self) -> None:
        """The rest of the message will never come."""

        def objective(trial: Any) -> float:
            if trial.attempt == 1:
                if os.fork() == 0:
                    os.setpgid(0, 0)  # not killed with its parent
                    time.sleep(6)
                    os._exit(0)
                os.write(trial._line._channel._stream._socket.fileno(), struct.pack("!Q", 1000) + b"abc")
                os.kill(os.getpid(), signal.SIGKILL)
            return float(trial.attempt)

        study = tunesmith.create_study()
        begin = time.monotonic()
        study.optimize(objective, n_trials=1, **ONE)
        assert study.best_value == 2.0
        assert time.monotonic() - begin < 5

    def test_one_that_cannot_be_started_leaves_no_descriptor(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refused(*args: Any, **options: Any) -> None:
            raise BlockingIOError("no more processes")

        monkeypatch.setattr(subprocess, "Popen", refused)
        before = len(os.listdir("/dev/fd"))
        with pytest.raises(BlockingIOError) as caught:  # which keeps the frame alive
            ProcessChannel(Setup(b"", 0, False, []))
        assert caught.traceback
        assert len(os.listdir("/dev/fd")) == before

    def test_programs_that_an_objective_starts_hear_ctrl_c(self) -> None:
        """An ignored signal stays ignored in whatever a process starts."""

        def objective(trial: Any) -> float:
            for number in (signal.SIGINT, signal.SIGTERM):
                program = subprocess.Popen(["sleep", "20"])
                program.send_signal(number)
                assert program.wait(5) == -number
            if (child := os.fork()) == 0:
                time.sleep(20)
                os._exit(0)
            os.kill(child, signal.SIGTERM)
            assert os.waitpid(child, 0)[1] == signal.SIGTERM
            return 1.0

        study = tunesmith.create_study()
        study.optimize(objective, n_trials=1, **ONE)
        assert study.best_value == 1.0

    def test_sigterm_for_one_alone_ends_it_after_a_while(self) -> None:
        """When the study's process has not done so."""

        def objective(trial: Any) -> float:
            from tunesmith.executors import _process_main

            if trial.attempt == 1:
                _process_main._TERM_SECONDS = 0.2
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.05)
                trial.set_user_attr("lived", True)
                time.sleep(20)
            return float(trial.attempt)

        study = tunesmith.create_study()
        study.optimize(objective, n_trials=1, **ONE)
        assert study.best_value == 2.0
        assert study.best_trial.user_attrs == {"lived": True}


class TestObjectives:
    @pytest.mark.parametrize("kind", ["function", "yield", "return"])
    def test_a_value_that_cannot_be_read_fails_its_trial_alone(self, kind: str) -> None:
        def function(trial: Any) -> Any:
            return Device() if trial.number == 0 else 1.0

        def generator(trial: Any) -> Any:
            yield Device() if trial.number == 0 and kind == "yield" else 1.0
            return Device() if trial.number == 0 else 1.0

        study = tunesmith.create_study(pruner="nop")
        study.optimize(function if kind == "function" else generator, n_trials=2, catch=RuntimeError, **ONE)
        assert [t.state.name for t in study.trials] == ["FAIL", "COMPLETE"]
        assert study.trials[0].system_attrs == {"fail_reason": "RuntimeError: device-side assert"}

    @pytest.mark.parametrize("backend", [None, "processes"])
    @pytest.mark.parametrize("yields", [False, True])
    def test_forked_children_do_not_leave_them(self, tmp_path: Path, backend: str | None, yields: bool) -> None:
        """Whatever they end by, the trial is their parent's, and there is one loop."""

        def leave(number: int) -> float:
            if number == 0:
                sys.exit()
            if number == 1:
                sys.exit(3)
            if number == 2:
                raise ValueError("of a child")
            return 9.0

        def function(trial: Any) -> float:
            child = os.fork()
            if child == 0:
                return leave(trial.number)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            assert status == [0, 3, 1, 0][trial.number]
            return float(trial.number)

        def generator(trial: Any) -> Iterator[float]:
            yield function(trial)

        study = tunesmith.create_study(storage=str(tmp_path / "log.jsonl"), pruner="nop")
        here = os.getpid()
        try:
            study.optimize(generator if yields else function, n_trials=4, backend=backend, n_jobs=1)
        finally:
            if os.getpid() != here:
                os._exit(9)  # a child of this test must not go on with the suite
        assert [t.value for t in study.trials] == [0.0, 1.0, 2.0, 3.0]
        assert not any(event["e"] == "release" for record in study.storage.read(study._log.study) for event in record)


SCRIPT = """
import os, time
import tunesmith as ts


def objective(trial):
    trial.suggest_float("x", 0, 1)
    open(f"pid-{os.getpid()}", "w").close()
    for epoch in range(1, 100):
        time.sleep(0.1)
        trial.save({"epoch": epoch})
        yield float(epoch)


study = ts.create_study(study_name="s", storage="log.jsonl", pruner="nop")
study.optimize(objective, n_trials=2, n_jobs=2, backend="processes")
"""


def test_sigterm_to_all_processes_of_a_job(tmp_path: Path) -> None:
    """As Slurm and systemd send it: the workers, which hear it first, do not die of it, and no attempt is lost."""
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], cwd=tmp_path, stderr=subprocess.PIPE, text=True)

    def pids() -> list[int]:
        return [int(path.name.partition("-")[2]) for path in tmp_path.glob("pid-*")]

    wait_until(lambda: len(pids()) == 2)
    time.sleep(0.3)
    for pid in pids():
        os.kill(pid, signal.SIGTERM)
    time.sleep(0.3)
    assert all(map(is_alive, pids()))
    process.terminate()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert not any(map(is_alive, pids()))
    study = tunesmith.load_study(study_name="s", storage=str(tmp_path / "log.jsonl"))
    assert [t.state.name for t in study.trials] == ["WAITING"] * 2
    log = [event for record in study.storage.read(study._log.study) for event in record]
    assert [event.get("free") for event in log if event["e"] == "release"] == [1, 1]
    assert max(event.get("sv", 0) for event in log) >= 5
