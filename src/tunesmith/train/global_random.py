"""torch's global random numbers, for networks that draw from them: seeded where they are used, put back afterwards.

Nothing of this package draws from them, but what a user writes may: initial weights, ``functional.dropout``, attention
dropout, noise. There is one such generator a device for the whole process, so whoever uses it holds a lock meanwhile:
work that draws runs one piece at a time, also in threads. What other libraries draw (``random``, ``numpy.random``) is
not looked at, and a thread that is not of this package and draws at the same time disturbs both.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tunesmith import logging
from tunesmith._forks import watch_forks
from tunesmith.train import counter
from tunesmith.train.signature import signature

_logger = logging.get_logger("tunesmith.train")
_said: set[str] = set()


class _Turns:
    """The lock of this process; a forked child has its own, whoever held it at that moment."""

    def __init__(self) -> None:
        self._after_fork()
        watch_forks(self)

    def _after_fork(self) -> None:
        self._lock = threading.RLock()

    def taken(self) -> threading.RLock:
        """A context; a thread that is inside may enter again."""
        return self._lock


_TURNS = _Turns()


class Seeded:
    """The global generators while they are seeded; see :func:`seeded`."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self._generators = _generators(device)
        self._before = [generator.get_state() for generator in self._generators]
        for generator in self._generators:
            generator.manual_seed(seed)
        self._begin = [generator.get_state() for generator in self._generators]

    @property
    def drawn(self) -> bool:
        """Whether anything has been drawn since."""
        return not all(torch.equal(g.get_state(), b) for g, b in zip(self._generators, self._begin, strict=True))

    def put_back(self) -> None:
        """As before."""
        for generator, state in zip(self._generators, self._before, strict=True):
            generator.set_state(state)


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[Seeded]:
    """torch's global random numbers of the CPU and of a device start from ``seed``; at the end they are as before."""
    with _TURNS.taken():
        state = Seeded(seed, torch.device(device))
        try:
            yield state
        finally:
            state.put_back()


class Watch:
    """Makes a network's draws from the global random numbers a function of a key and the number of the step.

    Its first piece of work is seeded, and whether it has drawn is seen from the generators. If so, all others are
    seeded too; if not, they run without the lock and cost nothing. So a network must draw in the first piece if it
    draws in any. One that is a plain sequence of known layers does not draw, and is not watched.

    Args:
        network: whose work it is; a message names its class, once.
        key: of what is drawn.
        images: (n, c, h, w) as many as there are, on the device.
    """

    def __init__(self, network: nn.Module, key: counter.Key, images: Tensor) -> None:
        self._name, self._key, self._device = type(network).__qualname__, key, images.device
        self._draws = None if signature(network, tuple(images.shape[1:])) is None else False

    @contextmanager
    def piece(self, step: int) -> Iterator[None]:
        """Around the work of one step."""
        if self._draws is False:
            yield
            return
        first, second = counter.at_step(self._key, step)
        with seeded((first << 32) + second, self._device) as state:
            yield
            if self._draws is None:
                self._draws = state.drawn
                self._say()

    def _say(self) -> None:
        if self._draws and self._name not in _said:
            _said.add(self._name)
            _logger.info(
                "The network %s draws from torch's global random numbers. They are seeded for each of its steps, so "
                "its results can be repeated, but such steps run one at a time; tunesmith.train.layers.Dropout and "
                "torch.nn.Dropout do without.",
                self._name,
            )


def _generators(device: torch.device) -> list[torch.Generator]:
    found = [torch.default_generator]
    if device.type == "cuda":
        torch.cuda.init()
        index = torch.cuda.current_device() if device.index is None else device.index
        found.append(torch.cuda.default_generators[index])
    elif device.type == "mps":
        found.append(torch.mps._get_default_mps_generator())
    return found
