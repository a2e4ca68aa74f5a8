"""The kit finds the faults it is there for: each sampler below breaks one promise, and the named test fails."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tunesmith.exceptions import InvalidValueError
from tunesmith.history import History
from tunesmith.samplers import BaseSampler, Proposal
from tunesmith.space import Space
from tunesmith.storages import JournalStorage
from tunesmith.testing._hardship import FEW
from tunesmith.testing.samplers import SamplerKit

STARTED = time.perf_counter()


@dataclass(frozen=True)
class Sound(BaseSampler):
    """Random search with replacement, from which the faulty ones differ."""

    @property
    def with_replacement(self) -> bool:
        return True

    def propose(self, space: Space, history: History, rng: np.random.Generator, n: int) -> list[Proposal]:
        return [self.one(space, history, rng, k) for k in range(n)]

    def one(self, space: Space, history: History, rng: np.random.Generator, k: int) -> Proposal:
        return Proposal(space.to_params(space.decode(self.unit(space, history, rng, k))))

    def unit(self, space: Space, history: History, rng: np.random.Generator, k: int) -> Any:
        return rng.random(len(space))


@dataclass(frozen=True)
class OwnRandomness(Sound):
    def unit(self, space: Space, history: History, rng: np.random.Generator, k: int) -> Any:
        return np.random.default_rng().random(len(space))


@dataclass(frozen=True)
class Counts(Sound):
    calls: list[int] = field(default_factory=list, init=False, compare=False)

    def unit(self, space: Space, history: History, rng: np.random.Generator, k: int) -> Any:
        self.calls.append(1)
        return np.random.default_rng([history.seed, len(self.calls)]).random(len(space))


@dataclass(frozen=True)
class BlindToPending(Sound):
    def unit(self, space: Space, history: History, rng: np.random.Generator, k: int) -> Any:
        return np.random.default_rng([history.seed, history.n]).random(len(space))


@dataclass(frozen=True)
class IgnoresDirection(Sound):
    def unit(self, space: Space, history: History, rng: np.random.Generator, k: int) -> Any:
        fresh = rng.random(len(space))
        return fresh if history.n < 5 else (fresh + np.nanmax(history.Y)) % 1


@dataclass(frozen=True)
class LeavesTheSpace(Sound):
    def one(self, space: Space, history: History, rng: np.random.Generator, k: int) -> Proposal:
        params = super().one(space, history, rng, k).params
        return Proposal({n: v * 1.5 if isinstance(v, float) else v for n, v in params.items()})


@dataclass(frozen=True)
class FloatsForIntegers(Sound):
    def one(self, space: Space, history: History, rng: np.random.Generator, k: int) -> Proposal:
        params = super().one(space, history, rng, k).params
        return Proposal({n: float(v) if type(v) is int else v for n, v in params.items()})


@dataclass(frozen=True)
class NeedsAName(Sound):
    def unit(self, space: Space, history: History, rng: np.random.Generator, k: int) -> Any:
        return history.encode(space)[-1:].mean(axis=0) if history.n else rng.random(len(space))


@dataclass(frozen=True)
class NeedsResults(Sound):
    def unit(self, space: Space, history: History, rng: np.random.Generator, k: int) -> Any:
        if history.n and not history.is_complete.any():
            raise IndexError("no best trial")
        return rng.random(len(space))


@dataclass(frozen=True)
class Mutable(Sound):
    secret: int = 3

    def spec(self) -> dict[str, Any]:
        return {"name": "Mutable", "args": {}}

    def __post_init__(self) -> None:
        object.__setattr__(self, "secret", self.secret * 2)


@dataclass(frozen=True)
class WalksASet(Sound):
    """Draws in the order of a set, which is another one in another process."""

    def unit(self, space: Space, history: History, rng: np.random.Generator, k: int) -> Any:
        drawn = {name: rng.random() for name in set(space)}
        return np.array([drawn[name] for name in space])


@dataclass(frozen=True)
class KnowsItsProcess(Sound):
    def unit(self, space: Space, history: History, rng: np.random.Generator, k: int) -> Any:
        return (rng.random(len(space)) + STARTED) % 1


@dataclass(frozen=True)
class ReadsDurations(Sound):
    def unit(self, space: Space, history: History, rng: np.random.Generator, k: int) -> Any:
        fresh = rng.random(len(space))
        long = history.complete - history.start > 10**7
        return 1 - fresh if long.any() else fresh


@dataclass(frozen=True)
class ReadsTheClock(Sound):
    """Its favourites are the trials of the afternoon."""

    def unit(self, space: Space, history: History, rng: np.random.Generator, k: int) -> Any:
        fresh = rng.random(len(space))
        started = [row.start for row in history.open]
        return (fresh + max([0, *history.start.tolist(), *started]) / 1e18) % 1


@dataclass(frozen=True)
class LeavesNamesOut(Sound):
    """The study draws what is missing, so nobody notices."""

    def one(self, space: Space, history: History, rng: np.random.Generator, k: int) -> Proposal:
        params = super().one(space, history, rng, k).params
        return Proposal({name: params[name] for name in list(params)[:-1]})


@dataclass(frozen=True)
class SeedsNumPy(Sound):
    def unit(self, space: Space, history: History, rng: np.random.Generator, k: int) -> Any:
        np.random.seed(int(rng.integers(2**31)))
        return np.random.rand(len(space))


@dataclass(frozen=True)
class DrawsFromRandom(Sound):
    def unit(self, space: Space, history: History, rng: np.random.Generator, k: int) -> Any:
        random.random()
        return rng.random(len(space))


@dataclass(frozen=True)
class KnowsOneObjective(Sound):
    def unit(self, space: Space, history: History, rng: np.random.Generator, k: int) -> Any:
        (sign,) = history.directions
        return (rng.random(len(space)) * sign) % 1


@dataclass(frozen=True)
class RefusesLate(Sound):
    """Two objectives are noticed when there are results."""

    def unit(self, space: Space, history: History, rng: np.random.Generator, k: int) -> Any:
        if history.n > 3 and len(history.directions) > 1:
            raise InvalidValueError("one objective, please")
        return rng.random(len(space))


@dataclass(frozen=True)
class NeedsFeasible(Sound):
    def unit(self, space: Space, history: History, rng: np.random.Generator, k: int) -> Any:
        if history.is_complete.any() and history.best_row is None:
            raise IndexError("no best trial")
        return rng.random(len(space))


@dataclass(frozen=True)
class LosesAnArgument(Sound):
    width: float = 0.5
    seed: int | None = None

    def spec(self) -> dict[str, Any]:
        return {"name": "LosesAnArgument", "args": {"seed": self.seed}}


@dataclass(frozen=True)
class LosesItsSeed(Sound):
    seed: int | None = None

    def spec(self) -> dict[str, Any]:
        return {"name": "LosesItsSeed", "args": {}}


@dataclass(frozen=True)
class ChangesAType(Sound):
    width: float = 0.5
    exact: bool = False

    def spec(self) -> dict[str, Any]:
        return {"name": "ChangesAType", "args": {"width": self.width, "exact": int(self.exact)}}


@dataclass(frozen=True)
class SaysNothing(Sound):
    """It draws with replacement, and does not say so."""

    @property
    def with_replacement(self) -> bool:
        return False


@dataclass(frozen=True)
class DividesByTheSpread(Sound):
    def unit(self, space: Space, history: History, rng: np.random.Generator, k: int) -> Any:
        if history.n > 1:
            np.float64(1.0) / (history.loss.max() - history.loss.min())
        return rng.random(len(space))


@dataclass(frozen=True)
class SquaresLosses(Sound):
    def unit(self, space: Space, history: History, rng: np.random.Generator, k: int) -> Any:
        np.square(history.loss)
        return rng.random(len(space))


FAULTS: list[tuple[BaseSampler, str, dict[str, Any]]] = [
    (OwnRandomness(), "test_deterministic", {}),
    (OwnRandomness(), "test_pure", {}),
    (OwnRandomness(), "test_killed_anywhere", {"name": "conditional"}),
    (OwnRandomness(), "test_resumed", {"backend": JournalStorage, "stop": 6}),
    (OwnRandomness(), "test_interrupted", {}),
    (OwnRandomness(), "test_maximise_is_minimise_mirrored", {}),
    (OwnRandomness(), "test_enqueued", {}),
    (Counts(), "test_caches_may_be_dropped", {}),
    (Counts(), "test_killed_anywhere", {"name": "branches"}),
    (Counts(), "test_resumed", {"backend": JournalStorage, "stop": 6}),
    (BlindToPending(), "test_pending_trials", {}),
    (BlindToPending(), "test_several_at_once", {}),
    (IgnoresDirection(), "test_maximise_is_minimise_mirrored", {}),
    (LeavesTheSpace(), "test_in_domain", {"name": "floats", "declared": True}),
    (LeavesTheSpace(), "test_branches", {}),
    (FloatsForIntegers(), "test_in_domain", {"name": "integers", "declared": True}),
    (NeedsAName(), "test_never_repeats", {}),
    (NeedsResults(), "test_nothing_but_failures", {}),
    (Mutable(5), "test_is_a_value", {}),
    (WalksASet(), "test_another_process", {}),
    (KnowsItsProcess(), "test_another_process", {}),
    (ReadsDurations(), "test_reads_no_clock", {}),
    (ReadsTheClock(), "test_reads_no_clock", {}),
    (LeavesNamesOut(), "test_in_domain", {"name": "floats", "declared": True}),
    (LeavesNamesOut(), "test_in_domain", {"name": "conditional", "declared": False}),
    (SeedsNumPy(), "test_leaves_other_generators_alone", {}),
    (DrawsFromRandom(), "test_leaves_other_generators_alone", {}),
    (KnowsOneObjective(), "test_two_objectives", {}),
    (RefusesLate(), "test_two_objectives", {}),
    (NeedsFeasible(), "test_infeasible", {}),
    (LosesAnArgument(), "test_every_argument_is_kept", {}),
    (LosesItsSeed(), "test_every_argument_is_kept", {}),
    (LosesItsSeed(3), "test_is_a_value", {}),
    (ChangesAType(), "test_every_argument_is_kept", {}),
    (SaysNothing(), "test_no_replacement", {"space": FEW}),
    (SaysNothing(), "test_batches_without_replacement", {}),
    (DividesByTheSpread(), "test_hard_results", {"kind": "constant"}),
    (SquaresLosses(), "test_hard_results", {"kind": "enormous"}),
    (NeedsFeasible(), "test_one_feasible", {}),
]


@pytest.mark.parametrize(("sampler", "test", "arguments"), FAULTS, ids=lambda v: type(v).__name__ if v else "")
@pytest.mark.filterwarnings("ignore")
def test_a_fault_is_found(sampler: BaseSampler, test: str, arguments: dict[str, Any], tmp_path: Path) -> None:
    if "backend" in arguments:
        arguments = {**arguments, "tmp_path": tmp_path}
    with pytest.raises((AssertionError, IndexError, ValueError, RuntimeWarning)):
        getattr(SamplerKit(), test)(sampler, **arguments)


@dataclass(frozen=True)
class OneObjectiveOnly(Sound):
    """Not a fault: it says so."""

    def unit(self, space: Space, history: History, rng: np.random.Generator, k: int) -> Any:
        if len(history.directions) > 1:
            raise InvalidValueError("one objective, please")
        return rng.random(len(space))


def test_a_method_may_refuse_two_objectives() -> None:
    SamplerKit().test_two_objectives(OneObjectiveOnly())


class TestSound(SamplerKit):
    """The kit is for samplers of other packages, too: this one is known to no registry."""

    sampler_class = Sound
    cuts = 1
