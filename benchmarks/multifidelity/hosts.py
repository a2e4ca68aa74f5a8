"""Methods that are no part of tunesmith on the simulator: a host that asks a method and tells it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.multifidelity.tables import AXES, EPOCHS, Draw
from tunesmith.executors import Work
from tunesmith.pruners import Verdict


@dataclass(eq=False)
class Piece:
    """Some epochs of a configuration, which are evaluated in one go.

    Attributes:
        number: of the piece, or of the trial where a method has such.
        row: the configuration.
        handle: the method's own.
        after: epochs that it has been trained for before.
        until: the last epoch.
        loss: as last reported.
    """

    number: int
    row: int
    handle: Any = None
    after: int = 0
    until: int = EPOCHS
    loss: float = math.nan


class AskHost(ABC):
    """What the simulator needs of a study (:class:`~tunesmith.executors.Host`), from three questions to a method."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.stopping = False

    @abstractmethod
    def ask(self) -> Piece | Work | None:
        """What a free worker does next: something new, or something that was paused; None if there is nothing now."""

    def judge(self, piece: Piece, epoch: int, loss: float) -> Verdict:
        """After each epoch."""
        return Verdict.GO

    @abstractmethod
    def tell(self, piece: Piece, stopped: bool) -> None:
        """The piece has come to its end (``piece.loss`` is NaN if it diverged), or the method has stopped it."""

    def keep(self, piece: Piece, kept: Any) -> None:
        """The method has paused it."""
        raise NotImplementedError(f"{type(self).__name__} pauses nothing.")

    # -- the simulator's side --------------------------------------------------------------------------------------

    def stop(self) -> None:
        self.stopping = True

    @contextmanager
    def worker(self) -> Iterator[None]:
        yield

    def objective(self, piece: Piece) -> Iterator[tuple[int, float]]:
        return self.draw.curve(piece.row, piece.after, piece.until)

    def take(self, n: int = 1, *, wait: bool = True) -> list[Work]:
        found = self.ask()
        if found is None:
            return []
        return [found if isinstance(found, Work) else Work(found)]

    def reported(self, piece: Piece, item: tuple[int, float]) -> Verdict:
        epoch, piece.loss = item
        if math.isnan(piece.loss):
            return Verdict.GO  # it ends by itself
        return self.judge(piece, epoch, piece.loss)

    def ended(self, piece: Piece, result: Any = None, error: Exception | None = None) -> None:
        if error is not None:
            raise error
        self.tell(piece, stopped=False)

    def pruned(self, piece: Piece) -> None:
        self.tell(piece, stopped=True)

    def paused(self, piece: Piece, kept: Any) -> None:
        self.keep(piece, kept)

    def released(self, piece: Piece, cause: BaseException | None = None) -> None:
        """The budget is used up, so nothing more is learned from it."""
        piece.handle = None


def uniform(rng: np.random.Generator) -> dict[str, float]:
    """A configuration, uniform in the unit cube."""
    return {axis.name: axis.low * (axis.high / axis.low) ** float(rng.random()) for axis in AXES}


@dataclass(frozen=True)
class Screen:
    """How the baseline spends a budget.

    Attributes:
        first: epochs that each configuration gets.
        n: configurations that get them.
    """

    first: int
    n: int


class TopKHost(AskHost):
    """Random configurations are trained for a few epochs, then the best of them one after the other to their end.

    How many come to their end follows from the budget. A worker that becomes free while the last of the first epochs
    are still running goes on with the best configuration known by then.
    """

    def __init__(self, draw: Draw, screen: Screen, seed: int) -> None:
        super().__init__(draw)
        self.screen = screen
        self._rng = np.random.default_rng(seed)
        self._started = 0
        self._paused: list[tuple[float, int, Work]] = []

    def ask(self) -> Piece | Work | None:
        if self._started < self.screen.n:
            number, self._started = self._started, self._started + 1
            return Piece(number, self.draw.take(number, uniform(self._rng)))
        if not self._paused:
            return None
        return self._paused.pop(min(range(len(self._paused)), key=lambda i: self._paused[i][:2]))[2]

    def judge(self, piece: Piece, epoch: int, loss: float) -> Verdict:
        return Verdict.PAUSE if epoch == self.screen.first else Verdict.GO

    def keep(self, piece: Piece, kept: Any) -> None:
        self._paused.append((piece.loss, piece.number, Work(piece, kept)))

    def tell(self, piece: Piece, stopped: bool) -> None:
        """Nothing is learned from it."""


def known(params: Mapping[str, Any]) -> dict[str, float]:
    """The axes' values as plain numbers."""
    return {axis.name: float(params[axis.name]) for axis in AXES}
