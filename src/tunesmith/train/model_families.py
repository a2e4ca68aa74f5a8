"""Model families: those that have a file in ``tunesmith/train/families``, and those that a user hands in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.space import Space
from tunesmith.train import _discovery, families, user_models
from tunesmith.train.spaces import SIZES

#: ``(configuration, input_shape, n_classes, seed) -> network``
Build = Callable[[Mapping[str, Any], tuple[int, int, int], int, int], nn.Module]


@dataclass(frozen=True, eq=False)
class Family:
    """A kind of network with its hyperparameters. The names are those of a file in ``tunesmith/train/families``.

    Attributes:
        name: e.g. "cnn"; of a user's model the name of its function or class.
        id: tells it from others, in every process: the name, for a user's model with a hash of its source.
        DEFAULTS: architecture hyperparameter -> value it has when nothing else is said.
        MEANINGS: architecture hyperparameter -> what it is; may leave some out.
        space: size ("small", "medium", "all") -> the search space over them.
        build: (configuration, input_shape, n_classes, seed) -> the network.
        source: what a user handed in; None for a family with a file.
    """

    name: str
    id: str
    DEFAULTS: Mapping[str, Any]
    MEANINGS: Mapping[str, str]
    space: Callable[[str], Space]
    build: Build
    source: Any = None

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Family) and self.id == other.id)

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"Family({self.id!r})"


def models() -> list[str]:
    """The names of the model families: one per file in ``tunesmith/train/families``."""
    return _discovery.names(families)


def find_model(name: str) -> Family:
    """The family of this name.

    Raises:
        InvalidValueError: unknown; the message lists the known ones.
    """
    module = _discovery.find(families, name, "model", ("DEFAULTS", "space", "build"))
    own = module.__name__.rpartition(".")[2].replace("_", "-")
    return Family(own, own, module.DEFAULTS, getattr(module, "MEANINGS", {}), module.space, module.build)


def family_of(model: str | Family | Callable[..., nn.Module] | Any) -> Family:
    """The family that a user means.

    Args:
        model: one of

            - a name, see :func:`models`;
            - a :class:`Family`;
            - a function or a class that makes a network. It is called with ``input_shape`` (channels, height, width),
              ``n_classes`` and ``seed``, as far as it has arguments of these names; its other arguments need defaults
              and are its hyperparameters. It may draw its weights from torch's global random numbers;
            - an object (a module, an instance) with ``DEFAULTS``, ``space`` and ``build`` like a file in
              ``tunesmith/train/families``; ``space`` may be a :class:`~tunesmith.space.Space` too.

    Raises:
        InvalidTypeError: none of these.
        InvalidValueError: an unknown name; the message lists the known ones.
    """
    if isinstance(model, Family):
        return model
    if isinstance(model, nn.Module) and not hasattr(model, "build"):
        raise InvalidTypeError(
            f"A model is a class or a function that makes a network, so that each trial has a new one, not a network "
            f"that is made already ({type(model).__name__})."
        )
    if hasattr(model, "build") and hasattr(model, "space"):
        return _of_object(model)
    if callable(model):
        return family(model)
    if isinstance(model, str):
        return find_model(model)
    raise InvalidTypeError(
        f"A model is chosen by its name ({', '.join(models())}), or is a function or a class that makes a network, but "
        f"got {model!r}; see tunesmith.train.model_families.family_of."
    )


def family(
    make: Callable[..., nn.Module],
    *,
    space: Space | Mapping[str, Any] | Callable[[str], Space] | None = None,
    name: str | None = None,
    meanings: Mapping[str, str] | None = None,
) -> Family:
    """A family from a function or a class that makes a network, with what else is known about it.

    Args:
        make: see :func:`family_of`.
        space: what a ready space of the training loop is joined with: a space for all sizes, or a function of the size.
            None for nothing.
        name: what to call it. None takes the function's.
        meanings: hyperparameter -> what it is, for printed descriptions.

    Raises:
        InvalidTypeError, InvalidValueError: arguments without a default, or a space over other hyperparameters.
    """
    if not callable(make):
        raise InvalidTypeError(f"A model is a function or a class that makes a network, not {make!r}.")
    build = user_models.of_factory(make)
    if name is not None:
        build = user_models.UserBuild(name, build.make, build.defaults, build.given)
    spaces = _Spaces(build.name, _as_space(space), build.defaults)
    known = user_models.id_of(build.name, make, *spaces.parts())
    return Family(build.name, known, build.defaults, dict(meanings or {}), spaces, build, make)


def _of_object(model: Any) -> Family:
    name = user_models.name_of(model)
    if not hasattr(model, "DEFAULTS"):
        raise InvalidTypeError(f"The model {name!r} has space and build, but no DEFAULTS (hyperparameter -> value).")
    if not callable(model.build):
        raise InvalidTypeError(f"build of the model {name!r} must be a function, not {model.build!r}.")
    user_models.check_defaults(name, model.DEFAULTS)
    defaults = dict(model.DEFAULTS)
    spaces = _Spaces(name, _as_space(model.space), defaults)
    known = user_models.id_of(name, model.build, sorted(defaults.items()), *spaces.parts())
    build = user_models.UserBuild(name, model.build, defaults, None)
    return Family(name, known, defaults, dict(getattr(model, "MEANINGS", {})), spaces, build, model)


def _as_space(space: Any) -> Space | Callable[[str], Space]:
    if space is None or isinstance(space, Mapping):
        return space if isinstance(space, Space) else Space.from_dict(space or {})
    if callable(space):
        return space
    raise InvalidTypeError(f"space must be a Space, a mapping, or a function of the size, not {space!r}.")


@dataclass(frozen=True)
class _Spaces:
    """``space`` of a user's family, with checks."""

    name: str
    given: Space | Callable[[str], Space]
    defaults: dict[str, Any]

    def parts(self) -> list[Any]:
        """What :func:`user_models.id_of` should see."""
        return [self.given.id] if isinstance(self.given, Space) else [self.given]

    def __call__(self, size: str) -> Space:
        if size not in SIZES:
            raise InvalidValueError(f"Unknown size of a space {size!r}; known: {', '.join(SIZES)}.")
        found = self.given if isinstance(self.given, Space) else self.given(size)
        if not isinstance(found, Space):
            raise InvalidTypeError(f"space({size!r}) of the model {self.name!r} must return a Space, not {found!r}.")
        user_models.check_space(self.name, found, self.defaults)
        return found


def build_model(
    model: str | Family | Callable[..., nn.Module] | Any,
    configuration: Mapping[str, Any],
    input_shape: tuple[int, int, int],
    n_classes: int,
    seed: int,
) -> nn.Module:
    """Build a network; see :func:`family_of` and :class:`Family`.

    Raises:
        InvalidValueError: unknown family or hyperparameter, or an input that does not fit.
    """
    found = family_of(model)
    network = found.build(configuration, input_shape, n_classes, seed)
    if not isinstance(network, nn.Module):
        raise InvalidTypeError(
            f"build() of the model {found.name!r} must return a torch.nn.Module, not {type(network)}."
        )
    return network
