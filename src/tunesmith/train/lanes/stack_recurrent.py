"""Recurrent layers of a stack: the steps of a sequence one after the other, each for all lanes at once.

The inputs of all steps are multiplied with their weights in one product. The states cannot be, but the gradient of
their weights can: backward keeps what each step gives, and multiplies once at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tunesmith.train.lanes.stack_autograd import aligned, realigned
from tunesmith.train.lanes.stack_layers import FORWARD, Layer, Linear, Pass, evenly

#: What each step of backward gives: (state, gradient of its product with the weights).
_Kept = list[tuple[Tensor, Tensor]]


class _Begin(torch.autograd.Function):
    """The state before the first step, zeros. Its backward comes last, so it has what all steps have kept."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, b: int, slots: list[Tensor], kept: _Kept) -> Tensor:
        ctx.slots, ctx.kept = slots, kept
        return torch.zeros(len(weight), b, weight.shape[2], device=weight.device)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[None, None, None, None]:
        states, gradients = (realigned(torch.cat(parts, dim=1)) for parts in zip(*ctx.kept, strict=True))
        ctx.kept.clear()
        torch.bmm(gradients.transpose(1, 2), states, out=ctx.slots[0])
        torch.sum(gradients, 1, out=ctx.slots[1])
        return None, None, None, None


class _OfState(torch.autograd.Function):
    """The state times the weights, plus the bias: (lanes, b, width) -> (lanes, b, gates * width)."""

    @staticmethod
    def forward(ctx: Any, state: Tensor, weight: Tensor, bias: Tensor, kept: _Kept) -> Tensor:
        ctx.save_for_backward(state, weight)
        ctx.kept = kept
        state = realigned(state)
        y = aligned((*state.shape[:2], weight.shape[1]), state)
        return torch.baddbmm(bias.unsqueeze(1), state, weight.transpose(1, 2), out=y)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        state, weight = ctx.saved_tensors
        g = realigned(gradients[0])
        ctx.kept.append((state, g))
        return torch.bmm(g, weight, out=aligned(state.shape, state)), None, None, None


#: (gates of the input, gates of the state, state, cell's memory) -> (state, memory)
_Cell = Callable[[Tensor, Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor | None]]


def _sigmoid(x: Tensor) -> Tensor:
    return evenly(torch.sigmoid, x, len(x))


def _tanh(x: Tensor) -> Tensor:
    return evenly(torch.tanh, x, len(x))


def _lstm(of_input: Tensor, of_state: Tensor, state: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Gates in torch's order: input, forget, cell, output."""
    taken, kept, new, shown = (of_input + of_state).chunk(4, dim=2)
    written = _sigmoid(taken) * _tanh(new)
    memory = written if memory is None else _sigmoid(kept) * memory + written
    return _sigmoid(shown) * _tanh(memory), memory


def _gru(of_input: Tensor, of_state: Tensor, state: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Gates in torch's order: reset, update, new."""
    width = state.shape[2]
    reset, update = _sigmoid(of_input[..., : 2 * width] + of_state[..., : 2 * width]).chunk(2, dim=2)
    new = _tanh(of_input[..., 2 * width :] + reset * of_state[..., 2 * width :])
    return (1.0 - update) * new + update * state, None


def _plain(of_input: Tensor, of_state: Tensor, state: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor | None]:
    return _tanh(of_input + of_state), None


_CELLS: dict[str, _Cell] = {"lstm": _lstm, "gru": _gru, "rnn": _plain}


def _scan(cell: _Cell, x: Tensor, parameters: list[Tensor], slots: list[Tensor], *, backwards: bool) -> Tensor:
    """(lanes, length, b, features) -> (lanes, length, b, width), all states of one direction."""
    length, b = x.shape[1:3]
    of_inputs, of_states, bias_inputs, bias_states = parameters
    gates = Linear.apply(x.flatten(1, 2), of_inputs, bias_inputs, [slots[0], slots[2]]).unflatten(1, (length, b))
    kept: _Kept = []
    state = _Begin.apply(of_states, b, [slots[1], slots[3]], kept)
    memory: Tensor | None = None
    states: list[Tensor] = []
    weight, bias = of_states.detach(), bias_states.detach()
    for t in reversed(range(length)) if backwards else range(length):
        state, memory = cell(gates[:, t], _OfState.apply(state, weight, bias, kept), state, memory)
        states.append(state)
    return torch.stack(states[::-1] if backwards else states, dim=1)


def _recurrent(layer: Layer, x: Tensor, run: Pass) -> Tensor:
    """(lanes, b, length, features) -> (lanes, b, length, width), or twice the width if bidirectional."""
    cell, by_step = _CELLS[layer.operation["cell"]], x.transpose(1, 2)
    found = [
        _scan(cell, by_step, layer.parameters[i : i + 4], layer.slots[i : i + 4], backwards=i > 0)
        for i in range(0, len(layer.parameters), 4)
    ]
    return (found[0] if len(found) == 1 else torch.cat(found, dim=3)).transpose(1, 2)


STACKED = {**FORWARD, "recurrent": _recurrent}
