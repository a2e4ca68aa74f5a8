"""Finding a model family by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast

from torch import nn

from tunesmith.exceptions import InvalidTypeError
from tunesmith.space import Space
from tunesmith.train import _discovery, families


class Family(Protocol):
    """What a file in ``tunesmith/train/families`` defines; see that package."""

    DEFAULTS: Mapping[str, Any]

    def space(self, size: str) -> Space: ...

    def build(
        self, configuration: Mapping[str, Any], input_shape: tuple[int, int, int], n_classes: int, seed: int
    ) -> nn.Module: ...


def models() -> list[str]:
    """The names of the model families: one per file in ``tunesmith/train/families``."""
    return _discovery.names(families)


def find_model(name: str) -> Family:
    """The family of this name.

    Raises:
        InvalidValueError: unknown; the message lists the known ones.
    """
    module = _discovery.find(families, name, "model", ("DEFAULTS", "space", "build"))
    return cast(Family, module)


def build_model(
    name: str,
    configuration: Mapping[str, Any],
    input_shape: tuple[int, int, int],
    n_classes: int,
    seed: int,
) -> nn.Module:
    """Build a network of the family ``name``; see :class:`Family`.

    Raises:
        InvalidValueError: unknown family or hyperparameter, or an input that does not fit.
    """
    network = find_model(name).build(configuration, input_shape, n_classes, seed)
    if not isinstance(network, nn.Module):
        raise InvalidTypeError(f"build() of the model {name!r} must return a torch.nn.Module, not {type(network)}.")
    return network
