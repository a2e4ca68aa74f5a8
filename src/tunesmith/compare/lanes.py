"""A comparison in lanes: studies that run side by side share one stack of networks.

Each study still evaluates one trial after the other, as alone: only the trainings of different studies are computed
together, across methods and repeats. As a lane's result does not depend on its neighbours, neither does a study's.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Hashable
from typing import Any

from tunesmith.compare.collect import SECONDS
from tunesmith.executors.lanes import LaneEvent, LaneRunner
from tunesmith.trial import Trial

#: Seconds that the stack waits for a study that is about to bring its next trial.
_PATIENCE = 0.25


class LanesStopped(Exception):
    """The comparison ends, and with it this training."""


class LanePool:
    """Lanes that several threads put trials into, each one at a time.

    Args:
        runner: computes.
        clients: how many threads there are; an epoch begins when all of them wait, or after a moment, which is granted
            once for each that is missing.
    """

    def __init__(self, runner: LaneRunner, clients: int) -> None:
        self._runner, self._clients = runner, clients
        self._change = threading.Condition()
        self._new: list[tuple[Hashable, Any, queue.SimpleQueue[Any]]] = []
        self._gone: set[Hashable] = set()
        self._mail: dict[Hashable, queue.SimpleQueue[Any]] = {}
        self._stopped: BaseException | None = None
        self._count = 0
        self._late = 0  # threads that were waited for in vain
        self._thread = threading.Thread(target=self._work, name="tunesmith-pool", daemon=True)
        self._thread.start()

    def evaluate(self, evaluation: Any) -> Generator[Any, None, LaneEvent]:
        """Yield what a trial reports; return its end.

        Raises:
            LanesStopped: the pool was stopped. Exception: what the evaluation raised, or what broke the pool.
        """
        mail: queue.SimpleQueue[Any] = queue.SimpleQueue()
        with self._change:
            self._count += 1
            key = self._count
            self._new.append((key, evaluation, mail))
            self._change.notify_all()
        ended = False
        try:
            while True:
                if self._stopped is not None:
                    raise LanesStopped from self._stopped
                try:
                    event = mail.get(timeout=0.5)
                except queue.Empty:
                    continue
                if event.item is not None:
                    yield event.item
                    continue
                ended = True
                if event.error is not None:
                    raise event.error
                return event  # type: ignore[no-any-return]
        finally:
            if not ended:
                with self._change:
                    self._gone.add(key)

    def leave(self) -> None:
        """A thread has no more trials; the others need not wait for it."""
        with self._change:
            self._clients -= 1
            self._change.notify_all()

    def stop(self, cause: BaseException | None = None) -> None:
        """End all that is in work; idempotent."""
        with self._change:
            self._stopped = self._stopped or cause or KeyboardInterrupt()
            self._change.notify_all()
        self._runner.stop()

    def close(self) -> None:
        """Stop, and wait for the thread that computes."""
        self.stop()
        self._thread.join()

    def _work(self) -> None:
        try:
            while self._gather():
                for event in self._runner.step():
                    mail = self._mail.get(event.key)
                    if event.item is None:
                        self._mail.pop(event.key, None)
                    if mail is not None:
                        mail.put(event)
        except BaseException as error:
            self.stop(error)
        finally:
            self._runner.close()

    def _gather(self) -> bool:
        """Take in what is new, once nobody else is about to come; whether there is more to do."""
        with self._change:
            self._change.wait_for(lambda: self._stopped is not None or self._mail or self._new)
            self._change.wait_for(self._complete, _PATIENCE)
            self._late = self._missing
            for key, evaluation, mail in self._new:
                self._mail[key] = mail
                self._runner.start(key, evaluation)
            self._new.clear()
            for key in self._gone:
                self._mail.pop(key, None)
                self._runner.drop(key)
            self._gone.clear()
            return self._stopped is None

    @property
    def _missing(self) -> int:
        """Threads that have no trial here."""
        return self._clients - len(self._mail) - len(self._new)

    def _complete(self) -> bool:
        """Whether nobody is missing, apart from those who were waited for already and have not come since."""
        return self._stopped is not None or self._missing <= self._late


class LaneProblem:
    """A problem whose trainings run in a pool; everything else is the problem's."""

    def __init__(self, problem: Any, pool: LanePool) -> None:
        self._problem, self._pool = problem, pool

    def __getattr__(self, name: str) -> Any:
        return getattr(self._problem, name)

    def __call__(self, trial: Trial) -> Generator[Any, None, Any]:
        event = yield from self._pool.evaluate(self._problem.begin(trial))
        for name, value in event.attributes:
            trial.set_user_attr(name, value)
        trial.set_user_attr(SECONDS, event.seconds)
        return event.value

    @property
    def evaluate_test(self) -> Callable[[Any, int], Any] | None:
        """The problem's, with the training in a lane; None if it has none."""
        return None if getattr(self._problem, "evaluate_test", None) is None else self._tested

    def _tested(self, params: Any, training_seed: int) -> Any:
        evaluation = self._problem.test_evaluation(params, training_seed)
        for _ in self._pool.evaluate(evaluation):
            pass
        return evaluation.outcome
