"""``tunesmith names``: what can be chosen by name."""

from __future__ import annotations

import inspect
import pkgutil
import re
from collections.abc import Mapping
from typing import Any

from tunesmith.cli import options, output
from tunesmith.exceptions import MissingDependencyError


def names(
    format: options.AsTable = options.TableFormat.table,
) -> None:
    """List the methods, data sets, models, ... by name."""
    found = {"methods": _methods(), "stopping rules": _pruners(), **_training()}
    if format is options.TableFormat.json:
        output.print_json(found)
        return
    for index, (title, entries) in enumerate(found.items()):
        if index:
            output.line()
        output.line(title)
        output.pairs(entries.items(), indent=2)


def first_sentence(thing: object) -> str:
    """Of its docstring."""
    paragraph = " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split()).replace("``", "")
    sentence = re.match(r".*?\.(?= [A-Z]|$)", paragraph)
    return sentence[0] if sentence else paragraph


def _described(names: Mapping[str, tuple[type, Mapping[str, Any]]], suffix: str) -> dict[str, str]:
    """Name -> what it is: a sentence, or for a preset the name and the arguments that it stands for."""
    found = {}
    for name, (cls, args) in sorted(names.items()):
        own = cls.__name__.removesuffix(suffix).lower()
        given = ", ".join(f"{k}={v if isinstance(v, str) and v.isidentifier() else repr(v)}" for k, v in args.items())
        found[name] = first_sentence(cls) if name == own else f"short for {own}{f'({given})' if given else ''}"
    return found


def _methods() -> dict[str, str]:
    from tunesmith import integrations, samplers

    found = _described(samplers.known_names(), "Sampler")
    for module in pkgutil.iter_modules(integrations.__path__):
        if not module.name.startswith("_"):
            found[f"{module.name}:..."] = f"Methods of {module.name}, through an adapter."
    return found


def _pruners() -> dict[str, str]:
    from tunesmith import pruners

    return _described(pruners.known_names(), "Pruner")


def _training() -> dict[str, dict[str, str]]:
    try:
        from tunesmith.train import datasets, models
        from tunesmith.train.spaces import SIZES
    except MissingDependencyError as error:
        return {"data sets, models": {"none": str(error)}}
    return {
        "data sets": dict.fromkeys(datasets(), ""),
        "models": dict.fromkeys(models(), ""),
        "spaces": dict.fromkeys(SIZES, ""),
    }
