"""The contract between a study and what evaluates its trials.

A study hands out trials (``take``) and hears what becomes of them (``reported``, then one of ``ended``, ``pruned``,
``paused``, ``released``). In between a trial belongs to the executor, which may hold one at a time or hundreds.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from tunesmith.pruners import Verdict
from tunesmith.trial import Trial


@dataclass(frozen=True)
class Work:
    """A trial to evaluate.

    Attributes:
        trial: its live handle.
        kept: what was handed to ``paused`` when it was paused in this process (a generator, a lane's state); None for
            a trial that begins.
    """

    trial: Trial
    kept: Any = None


class Host(Protocol):
    """What a study offers to an executor. All methods may be called from several threads."""

    @property
    def objective(self) -> Callable[[Trial], Any]:
        """What the user wants evaluated."""

    @property
    def stopping(self) -> bool:
        """Whether trials should end now, unfinished: something failed, or the user pressed Ctrl-C."""

    def stop(self) -> None:
        """Let ``stopping`` be true; called when a worker fails."""

    def worker(self) -> AbstractContextManager[None]:
        """To be entered by each thread that evaluates."""

    def take(self, n: int = 1, *, wait: bool = True, reach: Callable[[Any], bool] | None = None) -> list[Work]:
        """Up to ``n`` trials, proposed together.

        Args:
            n: how many there is room for.
            wait: stay until there is something to do. An empty list then means that there will be no more; without
                waiting, that there is nothing at the moment.
            reach: asked, with what is kept of a paused trial that is to go on, whether that can be used now; if not,
                the stopping rule's next wish is looked at. The trial may not be handed out although it was asked for.
        """

    def reported(self, trial: Trial, item: Any) -> Verdict:
        """Record what the objective yielded and ask the stopping rule."""

    def ended(self, trial: Trial, result: Any = None, error: Exception | None = None) -> None:
        """The objective returned or raised; None as the result stands for the last report.

        Raises:
            Exception: ``error``, when it is not one that the user wants to be caught.
        """

    def pruned(self, trial: Trial) -> None:
        """The stopping rule's STOP was obeyed."""

    def paused(self, trial: Trial, kept: Any) -> None:
        """The stopping rule's PAUSE was obeyed; ``kept`` comes back when the trial goes on (it has ``close()``)."""

    def released(self, trial: Trial, cause: BaseException | None = None) -> None:
        """The evaluation was cut off; the trial waits for another attempt.

        Args:
            trial: which.
            cause: what hit this very trial. Without one, or with KeyboardInterrupt, the attempt is not counted.
        """


class BaseExecutor(ABC):
    """Evaluates the trials of a study."""

    def resumes(self, kept: Any) -> bool:
        """Whether this executor can go on with what was kept of a paused trial; by default with a generator."""
        return inspect.isgenerator(kept)

    def stops(self, trial: Trial) -> bool:
        """Whether the evaluation of a trial comes to points where it sees ``host.stopping``; by default generators."""
        return trial._yields

    @abstractmethod
    def run(self, host: Host) -> None:
        """Take trials and evaluate them until there are none left.

        An exception ends the run, after all that was taken has been given back. Of several, the first is raised.
        """
