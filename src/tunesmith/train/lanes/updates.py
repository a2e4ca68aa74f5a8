"""One step of the optimizers of all lanes: what happens to the parameters once the gradients are there.

The order is that of a training alone: the gradient of the mean loss; plus ``l1 * sign(w)``; clipped by its norm; then
the optimizer with its weight decay, which is added to the gradient ("coupled") or shrinks the weights first
("decoupled").
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tunesmith.exceptions import InvalidValueError
from tunesmith.train.hyperparameters import Hyperparameters
from tunesmith.train.lanes.update_rules import RULES, Rule, settings, slots

#: Elements that a rule's operations go over before the next ones do, on a CPU: few enough for its caches.
_BLOCK = 2**19


class Update(ABC):
    """The optimizers of a stack of networks.

    Args:
        lanes: how many networks there are.
        axis: of the parameters along which the lanes lie, 0 or 1.
        parameters: (lanes, p) or (p, lanes) float32. Only shape and device are read.
    """

    @abstractmethod
    def __init__(self, lanes: int, axis: int, parameters: Tensor) -> None: ...

    @abstractmethod
    def put(self, lane: int, hyperparameters: Hyperparameters) -> None:
        """A new training in this lane: its optimizer starts from nothing."""

    @abstractmethod
    def remove(self, lane: int) -> None:
        """No training in this lane any more: steps leave its parameters alone."""

    @abstractmethod
    def step(self, parameters: Tensor, gradients: Tensor, lr: Sequence[float]) -> None:
        """Update the parameters of all lanes in place.

        Args:
            parameters: as given to the constructor.
            gradients: of the same shape, of each lane's mean loss. They are overwritten.
            lr: the learning rate of each lane in this step; those of empty lanes are not read.
        """

    @abstractmethod
    def state(self, lane: int) -> dict[str, Tensor]:
        """A copy of what this lane's optimizer remembers, on the device."""

    @abstractmethod
    def restore(self, lane: int, state: Mapping[str, Tensor]) -> None:
        """Go on from :meth:`state` of any lane of any stack; :meth:`put` comes first."""


@dataclass(frozen=True)
class _Group:
    """Lanes with the same optimizer.

    Attributes:
        rule: of the optimizer.
        lanes: which lanes, ascending.
        index: the same as a tensor on the device.
        slots: how many arrays they need.
    """

    rule: Rule
    lanes: np.ndarray
    index: Tensor
    slots: int

    @property
    def adjacent(self) -> bool:
        return bool(self.lanes[-1] - self.lanes[0] == len(self.lanes) - 1)


class TorchUpdate(Update):
    """Every optimizer, on every device, lanes with different ones side by side.

    Lanes with the same optimizer are updated by the same operations, with a number of each setting per lane; see
    :mod:`tunesmith.train.lanes.update_rules`. A lane's numbers are bitwise the same in every lane, beside any
    neighbours, and whatever the number of lanes, as long as they are finite; values that are not stay in their lane.

    Against torch.optim the difference is rounding: after 100 steps the parameters agree to 2e-6.
    """

    def __init__(self, lanes: int, axis: int, parameters: Tensor) -> None:
        if axis not in (0, 1) or parameters.ndim != 2 or parameters.shape[axis] != lanes:
            raise InvalidValueError(
                f"{lanes} lanes along axis {axis!r} do not fit parameters of shape {tuple(parameters.shape)}."
            )
        self.lanes, self.axis = lanes, axis
        self._shape, self._device = parameters.shape, parameters.device
        self._hyperparameters: list[Hyperparameters | None] = [None] * lanes
        self._settings: dict[str, np.ndarray] = {name: np.zeros(lanes) for name in settings(Hyperparameters())}
        self._steps, self._products = np.zeros(lanes), np.ones(lanes)
        self._kept: list[Tensor] = []  # at most two arrays like the parameters: what the rules call slots
        self._scratch: Tensor | None = None
        self._groups: list[_Group] | None = None

    # -- lanes come and go ---------------------------------------------------------------------------------------

    def put(self, lane: int, hyperparameters: Hyperparameters) -> None:
        """As the contract says.

        Raises:
            InvalidValueError: an unknown optimizer.
        """
        if hyperparameters.optimizer not in RULES:
            known = ", ".join(RULES)
            raise InvalidValueError(f"Unknown optimizer {hyperparameters.optimizer!r}; known: {known}.")
        self.remove(lane)
        self._hyperparameters[lane] = hyperparameters
        for name, value in settings(hyperparameters).items():
            self._settings[name][lane] = value
        while len(self._kept) < len(slots(hyperparameters)):
            self._kept.append(torch.zeros(self._shape, device=self._device))

    def remove(self, lane: int) -> None:
        self._hyperparameters[lane] = None
        for numbers in self._settings.values():
            numbers[lane] = 0.0
        self._steps[lane], self._products[lane] = 0.0, 1.0
        for kept in self._kept:
            kept.select(self.axis, lane).zero_()
        self._groups = None

    def state(self, lane: int) -> dict[str, Tensor]:
        h = self._occupied(lane)
        numbers = {"step": torch.tensor(self._steps[lane]), "product": torch.tensor(self._products[lane])}
        arrays = {name: kept.select(self.axis, lane).clone() for name, kept in zip(slots(h), self._kept, strict=False)}
        return {**numbers, **arrays}

    def restore(self, lane: int, state: Mapping[str, Tensor]) -> None:
        """As the contract says.

        Raises:
            InvalidValueError: the state is that of another optimizer.
        """
        h = self._occupied(lane)
        expected = ("step", "product", *slots(h))
        if set(state) != set(expected):
            raise InvalidValueError(
                f"The state of {h.optimizer} has {', '.join(expected)}; this one has {', '.join(state) or 'nothing'}."
            )
        self._steps[lane], self._products[lane] = state["step"].item(), state["product"].item()
        for name, kept in zip(slots(h), self._kept, strict=False):
            kept.select(self.axis, lane).copy_(state[name])

    def _occupied(self, lane: int) -> Hyperparameters:
        h = self._hyperparameters[lane]
        if h is None:
            raise InvalidValueError(f"There is no training in lane {lane}; call put() first.")
        return h

    # -- a step --------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def step(self, parameters: Tensor, gradients: Tensor, lr: Sequence[float]) -> None:
        if parameters.shape != self._shape or gradients.shape != self._shape or len(lr) != self.lanes:
            raise InvalidValueError(
                f"Parameters {tuple(parameters.shape)}, gradients {tuple(gradients.shape)}, {len(lr)} learning rates "
                f"do not fit {self.lanes} lanes with parameters {tuple(self._shape)}."
            )
        if self._groups is None:
            self._groups = self._grouped()
        self._lasso(parameters, gradients)
        self._clip(gradients)
        for group in self._groups:
            self._steps[group.lanes] += 1
            columns, arrays = self._prepared(group, np.asarray(lr, np.float64), parameters, gradients)
            for block in self._blocks(arrays):
                self._apply(group, block, columns)
            if not group.adjacent:
                for whole, part in zip([parameters, *self._kept], [arrays[0], *arrays[2:]], strict=False):
                    whole.index_copy_(self.axis, group.index, part)

    def _grouped(self) -> list[_Group]:
        by_rule: dict[str, list[int]] = {}
        for lane, h in enumerate(self._hyperparameters):
            if h is not None:  # adamw is adam with another decay, which is a setting
                by_rule.setdefault("adam" if h.optimizer == "adamw" else h.optimizer, []).append(lane)
        return [
            _Group(
                RULES[name],
                np.array(lanes),
                torch.tensor(lanes, device=self._device),
                max(len(slots(h)) for h in (self._hyperparameters[lane] for lane in lanes) if h is not None),
            )
            for name, lanes in by_rule.items()
        ]

    def _lasso(self, parameters: Tensor, gradients: Tensor) -> None:
        if self._settings["l1"].any():
            gradients.add_(parameters.sign().mul_(self._column(self._settings["l1"])))

    def _clip(self, gradients: Tensor) -> None:
        """torch's ``clip_grad_norm_``: times ``min(1, bound / (norm + 1e-6))``."""
        bounds = self._settings["clip_norm"]
        if bounds.any():
            bound = self._column(bounds)
            share = (bound / (lane_norms(gradients, self.axis).add_(1e-6))).clamp_(max=1.0)
            gradients.mul_(torch.where(bound > 0, share, 1.0))

    def _prepared(
        self, group: _Group, lr: np.ndarray, parameters: Tensor, gradients: Tensor
    ) -> tuple[list[Tensor | None], list[Tensor]]:
        """The group's coefficients, those of the decay first, and its part of all arrays."""
        numbers = {name: values[group.lanes] for name, values in self._settings.items()}
        numbers |= {"lr": lr[group.lanes], "step": self._steps[group.lanes], "product": self._products[group.lanes]}
        rows = [numbers["coupled"], 1.0 - numbers["lr"] * numbers["decoupled"], *group.rule.coefficients(numbers)]
        self._products[group.lanes] = numbers["product"]
        columns: list[Tensor | None] = list(self._column(np.stack(rows)))
        if not numbers["coupled"].any():
            columns[0] = None
        if not numbers["decoupled"].any():
            columns[1] = None
        whole = [parameters, gradients, *self._kept[: group.slots]]
        if group.adjacent:
            return columns, [array.narrow(self.axis, int(group.lanes[0]), len(group.lanes)) for array in whole]
        return columns, [array.index_select(self.axis, group.index) for array in whole]

    def _column(self, numbers: np.ndarray) -> Tensor:
        """(..., n) numbers as float32 that broadcast over the parameters of n lanes: (..., n, 1) or (..., 1, n)."""
        column = torch.from_numpy(numbers.astype(np.float32)).to(self._device, non_blocking=True)
        return column.unsqueeze(-1 if self.axis == 0 else -2)

    def _blocks(self, arrays: list[Tensor]) -> Iterator[list[Tensor]]:
        """Pieces along the other axis, with scratch memory of the same shape at the end."""
        along = 1 - self.axis
        lanes, p = arrays[0].shape[self.axis], arrays[0].shape[along]
        size = p if self._device.type != "cpu" else min(p, max(1, _BLOCK // lanes))
        needed = (lanes, size) if self.axis == 0 else (size, lanes)
        if self._scratch is None or self._scratch.numel() < lanes * size:
            self._scratch = torch.empty(lanes * size, device=self._device)
        scratch = self._scratch[: lanes * size].view(needed)
        for start in range(0, p, size):
            length = min(size, p - start)
            yield [*(array.narrow(along, start, length) for array in arrays), scratch.narrow(along, 0, length)]

    @staticmethod
    def _apply(group: _Group, block: list[Tensor], columns: list[Tensor | None]) -> None:
        p, g, *kept, scratch = block
        coupled, shrink, *coefficients = columns
        if coupled is not None:
            g.add_(torch.mul(p, coupled, out=scratch))
        if shrink is not None:
            p.mul_(shrink)
        group.rule.apply(p, g, kept, [c for c in coefficients if c is not None], scratch)


def lane_norms(x: Tensor, axis: int) -> Tensor:
    """The Euclidean norm of each lane, kept as a dimension of size 1.

    The squares are summed by halves, element by element: torch's own sums take another order for another layout, and
    a lane's norm must not depend on that.

    Args:
        x: (lanes, p) or (p, lanes).
        axis: the lanes' axis.
    """
    along = 1 - axis
    squares = x.square()
    n = squares.shape[along]
    while n > 1:
        half = n // 2
        squares.narrow(along, 0, half).add_(squares.narrow(along, n - half, half))
        n -= half
    return squares.narrow(along, 0, 1).sqrt()
