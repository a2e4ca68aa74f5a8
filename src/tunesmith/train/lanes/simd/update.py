"""The update of lanes that lie side by side: SGD, Adam and AdamW in one pass over the memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tunesmith.exceptions import InvalidValueError
from tunesmith.train.lanes.simd.buffers import aligned, is_aligned
from tunesmith.train.lanes.update_rules import RULES
from tunesmith.train.lanes.updates import TorchUpdate, _Group


class SimdUpdate(TorchUpdate):
    """As :class:`TorchUpdate`, with compiled kernels for SGD, Adam and AdamW, for l1 penalties, and for clipping.

    The formulas are torch's, rounded in the same places, so the optimizers give TorchUpdate's bits (norms are summed in
    another order). How a lane is computed depends on its own settings alone, not on the neighbours'.

    Args:
        lanes: 8 or 16.
        axis: 1.
        parameters: (p, lanes) float32 of a :class:`~tunesmith.train.lanes.simd.engine.SimdEngine`.

    Raises:
        InvalidValueError: parameters of another form.
    """

    def __init__(self, lanes: int, axis: int, parameters: Tensor) -> None:
        super().__init__(lanes, axis, parameters)
        if axis != 1 or lanes not in (8, 16):
            raise InvalidValueError(f"SIMD lanes are 8 or 16 along axis 1, not {lanes} along axis {axis}.")
        self._fused: list[_Group] = []
        self._rows = aligned(9, lanes)

    @torch.no_grad()
    def step(self, parameters: Tensor, gradients: Tensor, lr: Sequence[float]) -> None:
        if not (is_aligned(parameters) and is_aligned(gradients)):
            raise InvalidValueError("Parameters and gradients must be those of a SimdEngine, or aligned like them.")
        super().step(parameters, gradients, lr)  # the penalties, and the optimizers that have no kernel
        for group in self._fused:
            self._steps[group.lanes] += 1
            self._set_rows(group, np.asarray(lr, np.float64)[group.lanes])
            arrays = [array.data_ptr() for array in (parameters, gradients, *self._kept[: group.slots])]
            if group.rule is RULES["sgd"] and group.slots == 0:
                arrays.append(0)
            name = "sgd" if group.rule is RULES["sgd"] else "adam"
            self._call(name, *arrays, len(parameters), self._rows.data_ptr())

    def _grouped(self) -> list[_Group]:
        """The groups that torch updates; the others are kept for the kernels."""
        groups = super()._grouped()
        fused = RULES["sgd"], RULES["adam"]
        self._fused = [group for group in groups if group.rule in fused]
        return [group for group in groups if group.rule not in fused]

    def _set_rows(self, group: _Group, lr: np.ndarray) -> None:
        """What the kernel of a group reads, a line each: see :mod:`update_kernels`."""
        s = {name: values[group.lanes] for name, values in self._settings.items()}
        rows = [s["coupled"], 1.0 - lr * s["decoupled"]]
        if group.rule is RULES["sgd"]:
            nesterov = s["nesterov"] > 0
            rows += [s["momentum"], lr, np.where(nesterov, 1.0, 0.0), np.where(nesterov, s["momentum"], 1.0)]
        else:
            steps = self._steps[group.lanes]
            correction_1, correction_2 = (1.0 - _power(s[name], steps) for name in ("beta_1", "beta_2"))
            rows += [1.0 - s["beta_1"], s["beta_2"], 1.0 - s["beta_2"]]
            rows += [np.sqrt(correction_2), s["epsilon"], lr / correction_1]
        target = self._rows.numpy()
        target[:] = 0.0
        target[0, group.lanes] = -1.0  # the kernels look at the sign
        for row, values in zip(target[1:], rows, strict=False):
            row[group.lanes] = values

    def _lasso(self, parameters: Tensor, gradients: Tensor) -> None:
        l1 = self._settings["l1"]
        if l1.any():
            self._rows[0] = torch.from_numpy(l1.astype(np.float32))
            self._call("lasso", parameters.data_ptr(), gradients.data_ptr(), len(gradients), self._rows.data_ptr())

    def _clip(self, gradients: Tensor) -> None:
        bounds = self._settings["clip_norm"]
        if bounds.any():
            self._call("sum_of_squares", gradients.data_ptr(), len(gradients), self._rows.data_ptr())
            bound = torch.from_numpy(bounds.astype(np.float32))
            share = (bound / (self._rows[0].sqrt() + 1e-6)).clamp_(max=1.0)
            self._rows[0] = torch.where(bound > 0, share, 1.0)
            self._call("shrink", gradients.data_ptr(), len(gradients), self._rows.data_ptr())

    def _call(self, name: str, *args: Any) -> None:
        """Run a kernel; numba is imported here, not before."""
        from tunesmith.train.lanes.simd import compiling, update_kernels

        compiling.function(getattr(update_kernels, name), self.lanes)(*args, 0)


def _power(base: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    """One by one: NumPy's own power may round differently in a vector and in the rest of an array."""
    return np.array([b**e for b, e in zip(base.tolist(), exponent.tolist(), strict=True)])
