"""Networks of a user: what a function, a class, or an object with ``space`` and ``build`` must be, and building them.

A user's network may be initialised by torch itself, from the global random numbers. So it is made while these are set
to the trial's seed, and they are put back afterwards, so that the network depends on the seed alone
(:mod:`tunesmith.train.global_random`). What a factory draws elsewhere (``random``, ``numpy.random``) is its own affair.
"""

from __future__ import annotations

import hashlib
import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith._fingerprint import fingerprint
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.train import hyperparameters, layers
from tunesmith.train.errors import InvalidArchitectureError
from tunesmith.train.global_random import seeded

#: Arguments that a factory is handed if it has them; all its others are hyperparameters.
GIVEN = ("input_shape", "n_classes", "seed")


@dataclass(frozen=True)
class UserBuild:
    """``build`` of a family that a user wrote.

    Attributes:
        name: of the family, for messages.
        make: the factory, or the ``build`` of an object.
        defaults: of its hyperparameters.
        given: which of :data:`GIVEN` the factory takes; None for a ``build``, which is called as that of a family in
            ``tunesmith/train/families``.
    """

    name: str
    make: Callable[..., Any]
    defaults: dict[str, Any]
    given: tuple[str, ...] | None

    def __call__(
        self, configuration: Mapping[str, Any], input_shape: tuple[int, int, int], n_classes: int, seed: int
    ) -> nn.Module:
        """The network; ``torch.nn.Dropout`` in it becomes :class:`tunesmith.train.layers.Dropout`.

        Raises:
            InvalidArchitectureError: it cannot take such images, or does not give ``n_classes`` logits.
            InvalidTypeError: the factory returned no module.
            InvalidValueError: a hyperparameter that the family does not have.
        """
        options = layers.settings(self.name, self.defaults, configuration)
        values = {"input_shape": input_shape, "n_classes": n_classes, "seed": seed}
        with seeded(seed), torch.device("cpu"):
            if self.given is None:
                network = self.make(options, **values)
            else:
                network = self.make(**options, **{name: values[name] for name in self.given})
            if not isinstance(network, nn.Module):
                raise InvalidTypeError(f"The model {self.name!r} must return a torch.nn.Module, not {type(network)}.")
            network.eval()
            _try(self.name, network, input_shape, n_classes)  # here, because lazy layers draw their weights now
        network.train()
        layers.count_dropouts(network)
        layers.key_dropouts(network, seed)
        return network


def _try(name: str, network: nn.Module, input_shape: tuple[int, int, int], n_classes: int) -> None:
    """Whether a network gives logits for two images of zeros."""
    try:
        with torch.no_grad():
            output = network(torch.zeros(2, *input_shape))
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        if "allocate memory" in str(error):  # that is not the architecture's fault
            raise
        shape = "x".join(map(str, input_shape))
        raise InvalidArchitectureError(f"The model {name!r} cannot take a batch of 2x{shape}: {error}") from error
    found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    if found != (2, n_classes):
        raise InvalidArchitectureError(
            f"The model {name!r} must give logits of shape (images, classes), here (2, {n_classes}), not {found}."
        )


# -- looking at a factory ------------------------------------------------------------------------------------------


def of_factory(make: Callable[..., Any]) -> UserBuild:
    """What a factory takes.

    Args:
        make: a function or a class. It is handed ``input_shape``, ``n_classes`` and ``seed``, as far as it has such
            arguments, and the hyperparameters by name: its other arguments, each with a default.

    Raises:
        InvalidTypeError: it cannot be called that way; the message says what to change.
    """
    name = name_of(make)
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError) as error:
        raise InvalidTypeError(f"The arguments of the model {name!r} cannot be seen ({error}); wrap it.") from None
    defaults = {}
    for p in parameters:
        if p.name in GIVEN or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            continue
        if p.kind is p.POSITIONAL_ONLY:
            raise InvalidTypeError(f"The model {name!r} must take {p.name!r} by name, not only by position.")
        if p.default is p.empty:
            raise InvalidTypeError(
                f"The argument {p.name!r} of the model {name!r} has no default; give it one (a trial replaces it). "
                f"Only {', '.join(GIVEN)} need none."
            )
        defaults[p.name] = p.default
    check_defaults(name, defaults)
    names = {p.name for p in parameters}
    return UserBuild(name, make, defaults, tuple(g for g in GIVEN if g in names))


def check_defaults(name: str, defaults: Any) -> None:
    """Whether hyperparameters have plain values, and names that the training loop does not use.

    Raises:
        InvalidTypeError, InvalidValueError: they have not.
    """
    if not isinstance(defaults, Mapping):
        raise InvalidTypeError(f"DEFAULTS of the model {name!r} must be a mapping name -> value, not {defaults!r}.")
    for key, value in defaults.items():
        if not isinstance(key, str) or not isinstance(value, (bool, int, float, str, type(None))):
            raise InvalidTypeError(
                f"The default {value!r} of {key!r} of the model {name!r} must be a number, a text, a truth value or "
                "None: hyperparameters are. Give anything else to a function around it."
            )
    if taken := sorted(set(defaults) & {*hyperparameters.NAMES, "data", "model", "seed", "epochs"}):
        raise InvalidValueError(f"The model {name!r} calls {taken} like the training loop does; rename them.")


def name_of(model: Any) -> str:
    """What to call a user's model: the name of the function, class or module it is (or is an instance of)."""
    while hasattr(model, "func") and not hasattr(model, "__name__"):  # functools.partial
        model = model.func
    own = getattr(model, "name", None)
    if isinstance(own, str) and own and not inspect.isclass(model):
        return own
    name = str(getattr(model, "__name__", type(model).__name__))
    return name.rpartition(".")[2] if inspect.ismodule(model) else name.strip("<>")


def id_of(name: str, *parts: Any) -> str:
    """The name with a hash of the source of everything that makes a model; the same in every process.

    Args:
        name: of the model.
        parts: functions and classes (with those they inherit from, except torch's), and plain values.
    """
    texts = [_content(part) for part in parts]
    return f"{name}-{hashlib.sha256(chr(10).join(texts).encode(errors='surrogatepass')).hexdigest()[:16]}"


def _content(part: Any) -> str:
    if inspect.isclass(part):
        own = (c for c in part.__mro__ if c is not object and not c.__module__.startswith("torch."))
        return "".join(map(_class_source, own))
    return str(fingerprint(part)) if callable(part) else repr(part)


def _class_source(cls: type) -> str:
    try:
        return textwrap.dedent(inspect.getsource(cls))
    except (OSError, TypeError):  # typed in: its methods still have code
        return "".join(str(fingerprint(f)) for _, f in sorted(vars(cls).items()) if inspect.isfunction(f))


def check_space(name: str, found: Any, defaults: Mapping[str, Any]) -> None:
    """Whether a user's space has only parameters of his model.

    Raises:
        InvalidValueError: it has others.
    """
    if unknown := sorted(set(found) - set(defaults)):
        raise InvalidValueError(
            f"The space of the model {name!r} has parameters {unknown} that it does not take; it takes: "
            f"{sorted(defaults)}."
        )
