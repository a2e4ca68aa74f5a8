"""What a network is apart from the values of its parameters, where it is no plain sequence of known layers."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tunesmith import logging
from tunesmith.train import user_models
from tunesmith.train.layers import Dropout

_logger = logging.get_logger("tunesmith.train")
_said: set[str] = set()

#: Attributes of a module that torch keeps, or that belong to the lane.
_OWN = {"training", "_is_full_backward_hook"}
_LANE = {"p", "key", "_step", "_calls"}
#: The fields that every module has, which hold its parameters, children and hooks.
_TORCHS = frozenset(vars(nn.Module()))


@dataclass(frozen=True, eq=False)
class Unknown:
    """Stands for what cannot be compared; equal to nothing else.

    Attributes:
        reason: what it is.
    """

    reason: str


class Code:
    """A class or a function: equal to itself alone, with a text that is the same in every process.

    A function that holds nothing is its code, so that a lambda in an ``__init__`` is the same in all networks.
    """

    def __init__(self, what: Any) -> None:
        holds = not inspect.isfunction(what) or what.__closure__ or what.__defaults__ or what.__kwdefaults__
        self._what, self._is = what, what if holds or vars(what) else what.__code__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Code) and other._is is self._is

    def __hash__(self) -> int:
        return hash(self._is)

    def __repr__(self) -> str:
        return _named(self._what)


def structure(network: nn.Module) -> Hashable:
    """The classes, settings and shapes of a network's modules.

    Networks with equal structures compute the same function of their parameters. Settings are numbers, texts, types of
    torch, functions and classes, and tuples, lists and dictionaries of these. Where a module holds
    anything else, it is not known what it computes: the answer is then an :class:`Unknown`, and the log says why, once
    for each such attribute.

    Returns:
        A tuple whose ``repr`` is the same in every process.
    """
    parts: list[Hashable] = []
    for name, module in network.named_modules():
        settings: list[Hashable] = []
        for key, value in sorted(vars(module).items()):
            if key in _OWN or (isinstance(module, Dropout) and key in _LANE) or key in _TORCHS:
                continue
            found = _setting(value)
            if found is None:
                return _unknown(f"{type(module).__qualname__}.{key}", value)
            settings.append((key, found))
        shapes = [(key, tuple(value.shape)) for key, value in module.named_parameters(recurse=False)]
        buffers = [(key, tuple(value.shape)) for key, value in module.named_buffers(recurse=False)]
        parts.append((name, Code(type(module)), tuple(settings), tuple(shapes), tuple(buffers)))
    return tuple(parts)


def _setting(value: object) -> Hashable | None:
    """A value as something that can be compared; None if it cannot."""
    if isinstance(value, (tuple, list)):
        return _all(type(value).__name__, value)
    if isinstance(value, dict):
        return _all("dict", [part for pair in value.items() for part in pair])
    if isinstance(value, functools.partial):
        return _all("partial", [value.func, value.args, value.keywords])
    if isinstance(value, (types.FunctionType, types.BuiltinFunctionType, type)):
        return Code(value)
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, torch.dtype, torch.device)):
        return repr(value)
    return None


def _all(kind: str, values: list[Any] | tuple[Any, ...]) -> Hashable | None:
    found = [_setting(value) for value in values]
    return None if None in found else (kind, *found)


def _unknown(where: str, value: object) -> Unknown:
    if where not in _said:
        _said.add(where)
        _logger.info(
            "Networks with the attribute %s, a %s, are trained one at a time: lanes can only compare numbers, texts, "
            "functions, and lists and dictionaries of them.",
            where, type(value).__qualname__,
        )  # fmt: skip
    return Unknown(where)


@functools.lru_cache(maxsize=1024)
def _named(what: Any) -> str:
    """Module and name, and for what is not torch's a hash of its source."""
    module = str(getattr(what, "__module__", None))
    name = f"{module}.{getattr(what, '__qualname__', type(what).__qualname__)}"
    own = inspect.isclass(what) or inspect.isfunction(what)
    return user_models.id_of(name, what) if own and module.partition(".")[0] != "torch" else name
