"""The training loop: minibatch gradient descent on cross-entropy, one epoch at a time.

Everything that is drawn (the order of the images, dropout masks, initial weights) comes from generators seeded by the
training seed, so the same configuration, data, seed, device and number of threads give the same metrics, bit for bit.
torch's global random numbers are neither read nor advanced.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tunesmith.train.dataset import ImageArray, IndexArray
from tunesmith.train.device import working
from tunesmith.train.errors import TrainingDivergedError
from tunesmith.train.hyperparameters import Hyperparameters

#: What each epoch yields, in this order. The first is the objective.
METRICS = ("val_loss", "val_accuracy", "train_loss", "train_accuracy")
#: Images that are evaluated at a time; a constant, because it decides the order of summation.
_EVALUATION_BATCH = 500


@dataclass(frozen=True, eq=False)
class Part:
    """Images and labels on the device.

    Attributes:
        images: (n, c, h, w) as stored, uint8 or float32; they are scaled batch by batch, which costs little and keeps
            a quarter of the memory.
        labels: (n,) int64.
        shift, scale: (c, 1, 1) float32; the network sees ``(images - shift) * scale``.
    """

    images: Tensor
    labels: Tensor
    shift: Tensor
    scale: Tensor

    def scaled(self, images: Tensor) -> Tensor:
        """What the network sees of some of ``images``: (b, c, h, w) float32."""
        return (images.to(torch.float32) - self.shift).mul_(self.scale)


def channel_statistics(images: ImageArray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and reciprocal standard deviation of each channel, (c, 1, 1) float32; a constant channel has scale 1.

    They are computed from the training part alone, so that nothing of the other parts leaks into training.
    """
    mean = images.mean(axis=(0, 2, 3), dtype=np.float64)
    deviation = images.std(axis=(0, 2, 3), dtype=np.float64)
    scale = np.where(deviation > 0, 1.0 / np.where(deviation > 0, deviation, 1.0), 1.0)
    return mean.astype(np.float32)[:, None, None], scale.astype(np.float32)[:, None, None]


def to_part(
    images: ImageArray, labels: IndexArray, statistics: tuple[np.ndarray, np.ndarray], device: torch.device
) -> Part:
    """Copy arrays to the device."""
    arrays = (images, labels, *statistics)
    return Part(*(torch.tensor(np.ascontiguousarray(array), device=device) for array in arrays))


def seeds(training_seed: int) -> tuple[int, int]:
    """The seeds of the network (weights and dropout masks) and of the order of the images, below 2**62."""
    network, order = np.random.SeedSequence(training_seed).generate_state(2, np.uint64)
    return int(network >> 2), int(order >> 2)


def train(
    network: nn.Module,
    training: Part,
    validation: Part,
    hyperparameters: Hyperparameters,
    *,
    epochs: int,
    order_seed: int,
    threads: int | None = 1,
) -> Iterator[dict[str, float]]:
    """Train ``network`` in place.

    Args:
        network: images (b, c, h, w) -> logits (b, classes); it is moved to the device of ``training``.
        training: what to learn from; every image once an epoch, in a new order, the last batch may be smaller.
        validation: what to measure with after each epoch.
        hyperparameters: of the optimizer.
        epochs: how many.
        order_seed: of the order of the images; see :func:`seeds`.
        threads: how many threads torch may use on a CPU; None leaves its setting.

    Yields:
        After each epoch: ``val_loss`` (mean cross-entropy over the validation part), ``val_accuracy``, and the means
        over the epoch's batches ``train_loss`` and ``train_accuracy`` (each batch before its step, with dropout).

    Raises:
        TrainingDivergedError: a loss became NaN or infinite.
    """
    device = training.images.device
    network.to(device)
    if device.type == "cpu":
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # 10% faster convolutions
    optimizer = make_optimizer(network, hyperparameters)
    random = torch.Generator().manual_seed(order_seed)
    n, size = len(training.labels), hyperparameters.batch_size
    for epoch in range(1, epochs + 1):
        with working(device, threads):
            network.train()
            order = torch.randperm(n, generator=random).to(device)
            images, labels = training.images[order], training.labels[order]
            losses, hits = [], []
            for start in range(0, n, size):
                target = labels[start : start + size]
                logits = network(training.scaled(images[start : start + size]))
                loss = functional.cross_entropy(logits, target)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.detach() * len(target))
                hits.append((logits.detach().argmax(1) == target).sum())
            train_loss, train_accuracy = _mean(losses, n), _mean(hits, n)
            val_loss, val_accuracy = evaluate(network, validation)
        if not (math.isfinite(train_loss) and math.isfinite(val_loss)):
            raise TrainingDivergedError(
                f"Training diverged in epoch {epoch}: training loss {train_loss}, validation loss {val_loss}, "
                f"with {hyperparameters}. A smaller lr or momentum may help.",
                epoch,
            )
        yield dict(zip(METRICS, (val_loss, val_accuracy, train_loss, train_accuracy), strict=True))


def evaluate(network: nn.Module, part: Part) -> tuple[float, float]:
    """Mean cross-entropy and accuracy over a part, in evaluation mode."""
    network.eval()
    losses, hits = [], []
    with torch.inference_mode():
        for start in range(0, len(part.labels), _EVALUATION_BATCH):
            target = part.labels[start : start + _EVALUATION_BATCH]
            logits = network(part.scaled(part.images[start : start + _EVALUATION_BATCH]))
            losses.append(functional.cross_entropy(logits, target, reduction="sum"))
            hits.append((logits.argmax(1) == target).sum())
    return _mean(losses, len(part.labels)), _mean(hits, len(part.labels))


def _mean(sums: list[Tensor], n: int) -> float:
    """Sum of scalars that are still on the device, divided by ``n``; they are fetched in one go."""
    return math.fsum(torch.stack(sums).tolist()) / n


def make_optimizer(network: nn.Module, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
    """SGD with momentum, or Adam; one call for all parameters ("foreach") where the device has it."""
    h = hyperparameters
    if h.optimizer == "adam":
        return torch.optim.Adam(network.parameters(), lr=h.lr, weight_decay=h.weight_decay)
    return torch.optim.SGD(network.parameters(), lr=h.lr, momentum=h.momentum, weight_decay=h.weight_decay)
