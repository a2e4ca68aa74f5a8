"""The update of the weights: torch.optim's optimizers, and what happens to the gradient before them.

The order of one update: the gradient of the mean loss; plus ``l1 * sign(w)``; scaled down so that its norm, over all
parameters together, is at most ``clip_norm`` (R. Pascanu et al., "On the difficulty of training recurrent neural
networks", ICML 2013, algorithm 1; the formula is torch's ``clip_grad_norm_``); then the optimizer. Weight decay is
added to the gradient inside of the optimizer, as torch does, or, decoupled, ``w *= 1 - lr * weight_decay`` comes first
(I. Loshchilov, F. Hutter, ICLR 2019, algorithms 1 and 2; so with "adam" it is AdamW).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.exceptions import InvalidValueError
from tunesmith.train.hyperparameters import Hyperparameters

#: torch's epsilon, where it is not 1e-8.
_EPSILON = {"adadelta": 1e-6, "adagrad": 1e-10}
#: States of torch's optimizers that are single numbers, kept on the CPU.
_NUMBERS = ("step", "mu_product")


def epsilon(h: Hyperparameters) -> float:
    """The epsilon that the optimizer has."""
    return _EPSILON.get(h.optimizer, 1e-8) if h.epsilon is None else h.epsilon


def is_decoupled(h: Hyperparameters) -> bool:
    """Whether weight decay is apart from the gradient."""
    return h.decoupled or h.optimizer == "adamw"


class Optimizer:
    """Updates parameters in place.

    Args:
        parameters: of the network; those without a gradient are left alone.
        h: the optimizer, its settings, and what is done to the gradient.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], h: Hyperparameters) -> None:
        self.parameters, self.h = [p for p in parameters if p.requires_grad], h
        self.torch = _made(self.parameters, h)
        if is_decoupled(h) and h.weight_decay:
            # A hook, because a scaler of float16 decides whether there is a step at all.
            self.torch.register_step_pre_hook(lambda *_: self._decay())

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.torch.zero_grad()

    def step(self, lr: float, scaler: torch.cuda.amp.GradScaler | None = None) -> None:
        """One update from the gradients that the parameters have.

        Args:
            lr: the learning rate of this step.
            scaler: of the loss, with float16; gradients are unscaled first, and a step whose gradients overflowed is
                left out.
        """
        for group in self.torch.param_groups:
            group["lr"] = lr
        if scaler is not None:
            scaler.unscale_(self.torch)
        if self.h.l1:
            for p in self._moving():
                p.grad.add_(p.detach().sign(), alpha=self.h.l1)  # type: ignore[union-attr]
        if self.h.clip_norm:
            nn.utils.clip_grad_norm_(self.parameters, self.h.clip_norm)
        if scaler is None:
            self.torch.step()
        else:
            scaler.step(self.torch)
            scaler.update()

    def _moving(self) -> list[nn.Parameter]:
        return [p for p in self.parameters if p.grad is not None]

    @torch.no_grad()
    def _decay(self) -> None:
        kept = 1.0 - self.torch.param_groups[0]["lr"] * self.h.weight_decay
        for p in self._moving():
            p.mul_(kept)

    def state(self) -> dict[str, dict[str, Any]]:
        """Position of the parameter, as a text -> name -> tensor or number (torch's names; a copy)."""
        found = {}
        for i, p in enumerate(self.parameters):
            values = {name: value for name, value in self.torch.state[p].items() if value is not None}
            if values:
                found[str(i)] = {n: v.detach().clone() if isinstance(v, Tensor) else v for n, v in values.items()}
        return found

    def restore(self, state: dict[str, dict[str, Any]]) -> None:
        """Go on from a :meth:`state`, with the same bits: tensors get the memory layout that they had.

        Settings may be others than those that the state was made with, the optimizer not.

        Raises:
            InvalidValueError: it is the state of other parameters.
        """
        for index, values in state.items():
            if not index.isdigit() or int(index) >= len(self.parameters):
                raise InvalidValueError(f"The optimizer's state has a parameter {index!r}; there are {self._shapes()}.")
            p = self.parameters[int(index)]
            found = {name: _placed(name, value, p) for name, value in values.items()}
            if self.h.optimizer == "rmsprop" and self.h.momentum:  # torch makes it in the first step or never
                found.setdefault("momentum_buffer", torch.zeros_like(p, requires_grad=False))
            self.torch.state[p] = found

    def _shapes(self) -> list[tuple[int, ...]]:
        return [tuple(p.shape) for p in self.parameters]


def _placed(name: str, value: Any, parameter: nn.Parameter) -> Any:
    """A copy of a state's value where torch's optimizer would have made it."""
    if not isinstance(value, Tensor):
        return value
    if name in _NUMBERS:
        return value.detach().to("cpu", copy=True)
    if value.shape != parameter.shape:
        raise InvalidValueError(
            f"The optimizer's state {name!r} has the shape {tuple(value.shape)}; its parameter has the shape "
            f"{tuple(parameter.shape)}."
        )
    return torch.empty_like(parameter, requires_grad=False).copy_(value)


def _made(parameters: list[nn.Parameter], h: Hyperparameters) -> torch.optim.Optimizer:
    common: dict[str, Any] = {"lr": h.lr, "weight_decay": 0.0 if is_decoupled(h) else h.weight_decay}
    if h.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=h.momentum, nesterov=h.nesterov and h.momentum > 0, **common)
    common["eps"] = epsilon(h)
    if h.optimizer == "rmsprop":
        return torch.optim.RMSprop(parameters, alpha=h.alpha, momentum=h.momentum, **common)
    if h.optimizer == "adadelta":
        return torch.optim.Adadelta(parameters, rho=h.rho, **common)
    if h.optimizer == "adagrad":
        return torch.optim.Adagrad(parameters, **common)
    kinds: dict[str, type[torch.optim.Optimizer]] = {
        "adam": torch.optim.Adam, "adamw": torch.optim.Adam, "radam": torch.optim.RAdam, "nadam": torch.optim.NAdam,
        "adamax": torch.optim.Adamax,
    }  # fmt: skip
    return kinds[h.optimizer](parameters, betas=(h.beta_1, h.beta_2), **common)  # type: ignore[call-arg]
