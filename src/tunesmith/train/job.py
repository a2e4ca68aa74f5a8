"""One training, described: what the loop runs alone, and what lanes run beside others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn

from tunesmith.train import counter
from tunesmith.train.hyperparameters import Hyperparameters


@dataclass(frozen=True, eq=False)
class Pool:
    """All images of a data set on the device, shared by every split and every training of a process.

    Attributes:
        name: of the data set.
        images: (n, c, h, w) as stored, uint8 or float32; they are scaled batch by batch, which costs little and keeps
            a quarter of the memory.
        labels: (n,) int64.
        n_classes: how many.
    """

    name: str
    images: Tensor
    labels: Tensor
    n_classes: int


@dataclass(frozen=True, eq=False)
class Part:
    """Some images of a pool, and how a network sees them.

    Attributes:
        pool: where they lie.
        rows: (n,) int64 on the pool's device, which of them.
        shift, scale: (c, 1, 1) float32; the network sees ``(images - shift) * scale``.
    """

    pool: Pool
    rows: Tensor
    shift: Tensor
    scale: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def labels(self) -> Tensor:
        """(n,) int64."""
        return self.pool.labels[self.rows]


@dataclass(frozen=True)
class Seeds:
    """Keys of what a training draws after its network was made; see :mod:`tunesmith.train.counter`.

    Attributes:
        order: of the order of the images: epoch e (from 1) has ``permutation(at_step(order, e), n)``.
        augmentation: of what is done to the images.
        dropout: seed of the masks. The k-th :class:`~tunesmith.train.layers.Dropout` of a network (from 0, in the
            order of ``network.modules()``) has the key ``counter.key(dropout, k)``.
    """

    order: counter.Key
    augmentation: counter.Key
    dropout: int

    @classmethod
    def of(cls, training_seed: int) -> Seeds:
        """Those of a training seed. (The network's weights have a seed of their own, see ``loop.network_seed``.)"""
        low, high = counter.key(training_seed, 3)
        return cls(counter.key(training_seed, 1), counter.key(training_seed, 2), low + ((high >> 1) << 32))


@dataclass(frozen=True, eq=False)
class Job:
    """A training that has not begun.

    Attributes:
        network: (b, c, h, w) -> (b, classes) logits, with its initial weights; trained in place.
        hyperparameters: how to train.
        training: what to learn from.
        validation: what to measure with after each epoch.
        epochs: at most so many.
        seeds: of everything that is drawn.
        metrics: names of what is measured on the validation part, the objective first.
        precision: "float32", or "bfloat16" / "float16" for mixed precision.
        threads: of torch on a CPU.
    """

    network: nn.Module
    hyperparameters: Hyperparameters
    training: Part
    validation: Part
    epochs: int
    seeds: Seeds
    metrics: tuple[str, ...] = ("val_loss", "val_accuracy")
    precision: str = "float32"
    threads: int | None = 1
