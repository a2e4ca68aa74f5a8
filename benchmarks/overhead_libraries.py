"""What ``benchmarks/overhead.py`` times: ten parameters, a cheap objective, and each library's own study."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Axis:
    """A parameter: its range, whether it is an integer, whether its scale is logarithmic."""

    name: str
    low: float
    high: float
    integer: bool = False
    log: bool = False

    def suggest(self, trial: Any) -> float:
        if self.integer:
            return trial.suggest_int(self.name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, log=self.log)

    def draw(self, rng: random.Random) -> float:
        if self.integer:
            return rng.randint(int(self.low), int(self.high))
        if self.log:
            return min(max(math.exp(rng.uniform(math.log(self.low), math.log(self.high))), self.low), self.high)
        return rng.uniform(self.low, self.high)

    def unit(self, value: float) -> float:
        scale = math.log if self.log else float
        return (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))


MIXED = (
    *(Axis(f"float{i}", -5.0, 5.0) for i in range(4)),
    *(Axis(f"log{i}", 1e-5, 1.0, log=True) for i in range(3)),
    Axis("int0", 1, 100, integer=True),
    Axis("int1", 1, 8, integer=True),
    Axis("logint", 16, 1024, integer=True, log=True),
)
FLOATS = tuple(Axis(f"float{i}", -5.0, 5.0) for i in range(10))
COUNTABLE = tuple(Axis(f"int{i}", 0, 3, integer=True) for i in range(10))


def loss(space: tuple[Axis, ...], values: list[float]) -> float:
    """A bowl with unequal axes and shallow ripples."""
    shifted = [axis.unit(value) - 0.3 - 0.04 * i for i, (axis, value) in enumerate(zip(space, values, strict=True))]
    return sum(2.0**-i * x * x - 0.01 * math.cos(9 * x) for i, x in enumerate(shifted))


class Library(Protocol):
    """What is timed, and what prepares it."""

    name: str

    def sampler(self, name: str) -> Any:
        """A new one by its class's name; ``None`` if there is none, or it needs arguments."""

    def study(self, sampler: Any, space: tuple[Axis, ...]) -> Any:
        """A new study in memory."""

    def add(self, study: Any, space: tuple[Axis, ...], rows: list[list[float]]) -> None:
        """Add finished trials."""

    def tell(self, study: Any, trial: Any, value: float) -> None:
        """End a trial."""


def _make(room: Any, name: str, **arguments: Any) -> Any:
    cls = getattr(room, name, None)
    try:
        return None if cls is None else cls(**arguments)
    except TypeError:
        return None


class Ours:
    """tunesmith; the space is declared."""

    name = "tunesmith"

    def __init__(self) -> None:
        import tunesmith

        self.library = tunesmith
        tunesmith.logging.set_verbosity(tunesmith.logging.ERROR)

    def space(self, space: tuple[Axis, ...]) -> Any:
        ts = self.library
        return ts.Space({
            a.name: ts.Int(int(a.low), int(a.high), log=a.log) if a.integer else ts.Float(a.low, a.high, log=a.log)
            for a in space
        })  # fmt: skip

    def sampler(self, name: str) -> Any:
        return _make(self.library.samplers, name)

    def study(self, sampler: Any, space: tuple[Axis, ...]) -> Any:
        return self.library.create_study(sampler=sampler, space=self.space(space), seed=1)

    def add(self, study: Any, space: tuple[Axis, ...], rows: list[list[float]]) -> None:
        kinds = dict(self.space(space))
        study.add_trials(
            self.library.create_trial(
                params=dict(zip(kinds, row, strict=True)), distributions=kinds, value=loss(space, row)
            )
            for row in rows
        )

    def tell(self, study: Any, trial: Any, value: float) -> None:
        study.tell(trial, value)


class Optuna:
    """Optuna; names are suggested one by one."""

    name = "optuna"

    def __init__(self) -> None:
        import optuna

        self.library = optuna
        optuna.logging.set_verbosity(optuna.logging.ERROR)

    def sampler(self, name: str) -> Any:
        return _make(self.library.samplers, name, seed=1)

    def study(self, sampler: Any, space: tuple[Axis, ...]) -> Any:
        return self.library.create_study(sampler=sampler)

    def add(self, study: Any, space: tuple[Axis, ...], rows: list[list[float]]) -> None:
        made = self.library.distributions
        kinds = {
            a.name: made.IntDistribution(int(a.low), int(a.high), log=a.log)
            if a.integer
            else made.FloatDistribution(a.low, a.high, log=a.log)
            for a in space
        }
        for row in rows:
            study.add_trial(
                self.library.create_trial(
                    params=dict(zip(kinds, row, strict=True)), distributions=kinds, value=loss(space, row)
                )
            )

    def tell(self, study: Any, trial: Any, value: float) -> None:
        study.tell(trial, value)


class Rustuna(Optuna):
    """rustuna, whose interface is Optuna's nearly everywhere."""

    name = "rustuna"

    def __init__(self) -> None:
        import rustuna
        import rustuna.distributions
        import rustuna.samplers

        self.library = rustuna

    def tell(self, study: Any, trial: Any, value: float) -> None:
        study.tell(trial.number, value)


PEERS: dict[str, type[Optuna]] = {"optuna": Optuna, "rustuna": Rustuna}
SPACES = {"mixed": MIXED, "floats": FLOATS}
