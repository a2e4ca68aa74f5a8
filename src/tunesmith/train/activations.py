"""Activation functions by name.

The output of a network is not among them: networks give logits, and a loss applies the (log-)softmax itself, because
``log(softmax(x))`` computed in two steps loses digits where a class is nearly certain. The "softmax output" of a
classifier is :func:`probabilities`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tunesmith.exceptions import InvalidTypeError, InvalidValueError


class Swish(nn.Module):
    """``x * sigmoid(beta * x)``, with a ``beta`` that is learned or stays as it is.

    Source: P. Ramachandran, B. Zoph, Q. Le, "Searching for activation functions", 2017, section 2. With ``beta = 1``
    it is the SiLU (S. Elfwing et al., 2018), with ``beta`` towards infinity the ReLU, with 0 a linear function.

    Args:
        beta: the initial value, finite. Default 1, as in the paper.
        learnable: whether ``beta`` is a parameter, one number of shape (1,) for the whole layer as in
            ``torch.nn.PReLU``. Default True; ``torch.nn.SiLU`` is faster where it stays 1.
    """

    def __init__(self, beta: float = 1.0, learnable: bool = True) -> None:
        super().__init__()
        if isinstance(beta, bool) or not isinstance(beta, (int, float)):
            raise InvalidTypeError(f"beta must be a number, not {beta!r}.")
        if not -float("inf") < beta < float("inf"):
            raise InvalidValueError(f"beta must be finite, but is {beta!r}.")
        self.initial, self.learnable = float(beta), bool(learnable)
        self.beta = nn.Parameter(torch.empty(1)) if learnable else self.initial
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """``beta`` as it was in the beginning; nothing is drawn."""
        if isinstance(self.beta, nn.Parameter):
            nn.init.constant_(self.beta, self.initial)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.beta * x)

    def extra_repr(self) -> str:
        return f"beta={self.initial}, learnable={self.learnable}"


#: Name -> a function that makes the layer. Slopes are the usual ones: 0.01 of leaky ReLU (A. Maas et al., 2013), an
#: initial 0.25 of PReLU (K. He et al., 2015; one for the layer), 1 of ELU (D. Clevert et al., 2016). GELU is the exact
#: one (D. Hendrycks, K. Gimpel, 2016). "silu" is Swish with ``beta`` fixed at 1, "swish" learns it.
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky-relu": nn.LeakyReLU,
    "prelu": nn.PReLU,
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "swish": Swish,
    "gelu": nn.GELU,
}

#: Those that pass large positive values and hold back negative ones. They halve the variance of what goes through, so
#: the weights before them start larger: see :func:`tunesmith.train.layers.initialised`.
RECTIFIED = frozenset({"relu", "leaky-relu", "prelu", "elu", "silu", "swish", "gelu"})


def check(name: object) -> str:
    """``name``, if it is the name of an activation function.

    Raises:
        InvalidValueError: it is not; the message lists the known ones.
    """
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise InvalidValueError(f"Unknown activation {name!r}; known: {', '.join(ACTIVATIONS)}.")
    return name


def make(name: str) -> nn.Module:
    """A new layer with the activation function ``name``.

    Raises:
        InvalidValueError: unknown; the message lists the known ones.
    """
    return ACTIVATIONS[check(name)]()


def is_rectified(name: str) -> bool:
    """Whether weights before it start as He et al. propose (else as Glorot and Bengio do).

    Raises:
        InvalidValueError: unknown; the message lists the known ones.
    """
    return check(name) in RECTIFIED


def probabilities(logits: Tensor) -> Tensor:
    """The softmax of a network's outputs: (..., classes) logits -> (..., classes), each row sums to 1."""
    return torch.softmax(logits, dim=-1)
