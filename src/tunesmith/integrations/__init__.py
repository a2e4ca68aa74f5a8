"""Other ecosystems, one a file; found by name.

A module of this room that brings search methods defines ``sampler(name, **options) -> BaseSampler``; its methods are
then called ``"<module>:<name>"``, for instance ``"optuna:tpe"``. ``import_optuna`` brings studies of Optuna along.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tunesmith._plugins import plugin_modules
from tunesmith.exceptions import InvalidTypeError, InvalidValueError, MissingDependencyError
from tunesmith.samplers import BaseSampler
from tunesmith.samplers import get_sampler as get_own_sampler

if TYPE_CHECKING:
    from tunesmith.integrations.optuna_import import import_optuna

__all__ = ["get_sampler", "import_optuna"]


def get_sampler(sampler: str | BaseSampler | None, **options: Any) -> BaseSampler:
    """A sampler from a name with a prefix (``"optuna:tpe"``), or whatever :func:`tunesmith.samplers.get_sampler` takes.

    Args:
        sampler: what the user gave.
        options: arguments of the method.

    Raises:
        InvalidValueError: unknown prefix or method, or impossible options. InvalidTypeError: no name at all.
        MissingDependencyError: the package behind the prefix is not installed.
    """
    if not isinstance(sampler, str) or ":" not in sampler:
        return get_own_sampler(sampler, **options)
    prefix, _, name = (part.strip() for part in sampler.partition(":"))
    if prefix not in plugin_modules(__name__):
        rooms = {name: importlib.import_module(f"{__name__}.{name}") for name in plugin_modules(__name__)}
        known = ", ".join(f"{name}:..." for name, module in rooms.items() if hasattr(module, "sampler")) or "none"
        raise InvalidValueError(f"Unknown prefix {prefix!r} in the sampler {sampler!r}; known: {known}.")
    try:
        module = importlib.import_module(f"{__name__}.{prefix}")
        make = getattr(module, "sampler", None)
        if make is None:
            raise InvalidValueError(
                f"tunesmith.integrations.{prefix} brings no search methods, so {sampler!r} is none."
            )
        made = make(name, **options)
    except MissingDependencyError:
        raise
    except ImportError as error:
        missing = getattr(error, "name", None) or prefix
        raise MissingDependencyError(f"{error}. `pip install {missing}` brings it.") from error
    if not isinstance(made, BaseSampler):
        raise InvalidTypeError(f"{module.__name__}.sampler({name!r}) returned {made!r}, which is no BaseSampler.")
    return made


def __getattr__(name: str) -> Any:
    """``import_optuna``, imported when it is asked for: it needs SQLAlchemy, and the adapters do not."""
    if name == "import_optuna":
        from tunesmith.integrations.optuna_import import import_optuna

        return import_optuna
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
