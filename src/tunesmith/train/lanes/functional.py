"""Stacks of arbitrary modules: one network called with the parameters of all lanes, by ``torch.func``.

``functional_call`` makes a function of parameters and buffers out of a module, ``vmap`` makes one of stacked parameters
out of that. Not every module allows it; whether one does is found out by trying.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from tunesmith.train import counter
from tunesmith.train.global_random import seeded
from tunesmith.train.job import Pool
from tunesmith.train.lanes.engine import Images, Step
from tunesmith.train.lanes.lane_dropout import Mask, with_lane_dropout
from tunesmith.train.lanes.stack_autograd import AutogradEngine, Bundle
from tunesmith.train.layers import dropouts

#: Images and lanes that a network is tried with. Batch normalisation needs more than one image.
_TRIED = 3
#: How far a lane may be from the network alone, in shares of the largest number: other sums, no other formulas.
_TOLERANCE = 1e-3


class FunctionalEngine(AutogradEngine):
    """A stack of any networks of the same structure.

    What neighbours hold, and how many lanes there are, does not change a lane's numbers: on a CPU with one thread not
    by a bit. Its place within a bundle changes them by rounding (of the families' losses, gradients and logits by less
    than 5e-6 of the largest entry), for where torch's loops end is not in our hands here. Against a network alone the
    difference is rounding too.

    Args:
        network: one of the networks; only its structure counts.
        lanes: how many.
        device: where to compute; the pool's.
        bundle: lanes computed together, see :class:`AutogradEngine`.
    """

    name = "functional"

    def __init__(self, network: nn.Module, lanes: int, device: torch.device, bundle: int | None = None) -> None:
        parameters, buffers = dict(network.named_parameters()), dict(network.named_buffers())
        super().__init__(lanes, device, [tuple(p.shape) for p in parameters.values()], list(buffers.values()), bundle)
        self._parameters, self._buffer_names = tuple(parameters), tuple(buffers)
        self._network = copy.deepcopy(network)
        self._dropouts = with_lane_dropout(self._network)
        self._network.to(device)

    def forward(self, bundle: Bundle, images: Images, masks: Sequence[Mask], training: bool) -> Tensor:
        """See :meth:`AutogradEngine.forward`."""
        self._network.train(training)
        parameters = dict(zip(self._parameters, bundle.leaves, strict=True))
        buffers = dict(zip(self._buffer_names, bundle.buffers, strict=True))
        keys: dict[str, Tensor] = {}
        for name, mask in zip(self._dropouts, masks, strict=False):  # no masks in evaluation
            keys |= {f"{name}.{field}": words for field, words in vars(mask).items()}

        def alone(own: dict[str, Tensor], kept: dict[str, Tensor], drawn: dict[str, Tensor], x: Tensor) -> Tensor:
            y: Tensor = functional_call(self._network, {**own, **kept, **drawn}, (x,))
            return y

        logits: Tensor = vmap(alone)(parameters, buffers, keys, images.dense())
        return logits

    @classmethod
    def supports(cls, network: nn.Module, input_shape: Sequence[int], n_classes: int, device: torch.device) -> str:
        """Why networks like this one cannot be stacked; "" if they can.

        Two copies with different weights are trained for a step on a few random images, in a stack and alone.

        Args:
            network: it is not changed.
            input_shape: of one image, (c, h, w).
            n_classes: size of the output.
            device: where they would be computed.
        """
        if not all(p.requires_grad and p.dtype == torch.float32 for p in network.parameters()):
            return "it has parameters that are not trained, or not float32"
        if not any(True for _ in network.parameters()):
            return "it has no parameters"
        try:
            with seeded(0, device) as state:
                reason = _tried(cls, network, tuple(input_shape), n_classes, device)
                return "it draws from torch's global random numbers" if state.drawn else reason
        except Exception as error:
            return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"[:300]


# -- trying ------------------------------------------------------------------------------------------------------


def _tried(
    kind: type[FunctionalEngine], network: nn.Module, shape: tuple[int, ...], n_classes: int, device: torch.device
) -> str:
    random = torch.Generator().manual_seed(0)
    networks = [copy.deepcopy(network).to(device).train() for _ in range(2)]
    with torch.no_grad():
        for p in networks[1].parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=random).to(device) * p.abs().mean().clamp(min=0.1))
    engine = kind(networks[0], 2, device, bundle=2)
    for lane, each in enumerate(networks):
        engine.load(lane, each)
    pixels = torch.randn(2, _TRIED, *shape, generator=random).to(device)
    step = _step(networks, pixels, n_classes)
    shape_found = tuple(engine.logits(step.images).shape[1:])
    if shape_found != (_TRIED, n_classes):
        return f"it gives {shape_found} for {_TRIED} images instead of {(_TRIED, n_classes)}"
    before = _plain_state(engine._network)
    engine.step(step)
    evaluated = engine.logits(step.images)
    if _plain_state(engine._network) != before:
        return "its modules remember things in plain attributes, which all lanes would share"
    for lane, each in enumerate(networks):
        if not _same(engine, lane, each, step, evaluated[lane]):
            return "its stacked form computes something else than the network alone"
    return ""


def _step(networks: list[nn.Module], pixels: Tensor, n_classes: int) -> Step:
    device = pixels.device
    targets = torch.eye(n_classes, device=device)[torch.arange(_TRIED, device=device) % n_classes]
    found = dropouts(networks[0])
    keys = [torch.tensor([counter.at_step(counter.key(lane, k), 0) for lane in range(2)]) for k in range(len(found))]
    for lane, network in enumerate(networks):
        for k, layer in enumerate(dropouts(network)):
            layer.key, layer.step = counter.key(lane, k), 0
    pool = Pool("", pixels[0], torch.zeros(_TRIED, dtype=torch.int64, device=device), n_classes)
    p = [torch.full((2,), layer.p, dtype=torch.float64) for layer in found]
    gamma = torch.zeros(2, device=device)
    return Step(Images(pool, pixels=pixels), targets.expand(2, -1, -1), "cross-entropy", gamma, keys, p)


def _same(engine: FunctionalEngine, lane: int, network: nn.Module, step: Step, evaluated: Tensor) -> bool:
    """Whether a lane's gradients, buffers and logits are those of the network alone."""
    assert step.images.pixels is not None
    pixels = step.images.pixels[lane]
    loss = nn.functional.cross_entropy(network(pixels), step.targets[lane])
    gradients = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
    whole = [torch.zeros_like(p) if g is None else g for p, g in zip(network.parameters(), gradients, strict=True)]
    with torch.no_grad():
        alone = network.eval()(pixels)
    stored = copy.deepcopy(network)
    engine.store(lane, stored)
    pairs = [(engine.gradients[lane], torch.cat([g.flatten() for g in whole])), (evaluated, alone)]
    pairs += [(a.float(), b.float()) for a, b in zip(stored.buffers(), network.buffers(), strict=True)]
    return all(bool((a - b).abs().max() <= _TOLERANCE * b.abs().max().clamp(min=1e-6)) for a, b in pairs if a.numel())


def _plain_state(network: nn.Module) -> list[dict[str, Any]]:
    plain = (bool, int, float, str, type(None))
    return [
        {name: value for name, value in vars(layer).items() if isinstance(value, plain) and name != "training"}
        for layer in network.modules()
    ]
