"""The population of differential evolution, rebuilt from a history."""

from __future__ import annotations

from typing import NamedTuple

from tunesmith.history import History
from tunesmith.samplers._population import chromosomes, usable
from tunesmith.space import FloatArray, Space

#: Tags: the vector of a trial, the slot it competes for, and the space it belongs to.
X, SLOT, SPACE = "de.x", "de.i", "de.s"


class Vector(NamedTuple):
    """A finished trial; the smaller, the better (no two have the same row)."""

    violation: float
    loss: float
    row: int
    genes: FloatArray

    def no_worse_than(self, other: Vector) -> bool:
        """Whether it may take the other one's place: equals may, so that a population can cross a plateau."""
        return (self.violation, self.loss) <= (other.violation, other.loss)


class Slots:
    """Memo: who holds which place in the population after the first ``n`` trials.

    A trial that was made for a slot takes it if it is no worse than its holder, at once. Any other trial (enqueued,
    added, or of another space) takes an empty slot, or the one of the worst if it is no worse.

    Attributes:
        steps: how many trials were made for a slot.
        holders: of the slots; None where no trial with a result was made yet.
    """

    def __init__(self, space: Space, size: int) -> None:
        self.space, self.n, self.steps = space, 0, 0
        self.holders: list[Vector | None] = [None] * size

    def extend(self, history: History) -> None:
        first, d = self.n, len(self.space)
        genes = history.encode(self.space)[first:]
        own = history.tag(SPACE)[first:] == chromosomes(self.space).id
        if own.any():
            slots, latent = history.tag(SLOT)[first:], history.tag(X)[first:]
        loss, violation = history.Y[first:, 0] * history.directions[0], history.violation[first:]
        for row in usable(history, first).tolist():
            k = row - first
            vector = Vector(float(violation[k]), float(loss[k]), row, latent[k, :d] if own[k] else genes[k])
            self._compete(vector, int(slots[k]) if own[k] else None)
        self.steps += int(own.sum())
        self.n = history.n

    def _compete(self, vector: Vector, slot: int | None) -> None:
        if slot is None:
            empty = [i for i, holder in enumerate(self.holders) if holder is None]
            slot = empty[0] if empty else max(range(len(self.holders)), key=self._held)
        holder = self.holders[slot]
        if holder is None or vector.no_worse_than(holder):
            self.holders[slot] = vector

    def _held(self, slot: int) -> Vector:
        holder = self.holders[slot]
        assert holder is not None
        return holder
