"""``tunesmith names``: what can be chosen by name."""

from __future__ import annotations

import inspect
import pkgutil

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


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0].replace("``", "")


def _methods() -> dict[str, str]:
    from tunesmith import integrations, samplers

    found = {name: _first_line(cls) for name, (cls, _) in sorted(samplers.known_names().items())}
    for module in pkgutil.iter_modules(integrations.__path__):
        if not module.name.startswith("_"):
            found[f"{module.name}:..."] = f"Methods of {module.name}, through an adapter."
    return found


def _pruners() -> dict[str, str]:
    from tunesmith import pruners

    return {name.removesuffix("Pruner").lower(): _first_line(cls) for name, cls in sorted(pruners.available().items())}


def _training() -> dict[str, dict[str, str]]:
    try:
        from tunesmith.train import datasets, models
        from tunesmith.train.hyperparameters import SIZES
    except MissingDependencyError as error:
        return {"data sets, models": {"none": str(error)}}
    return {
        "data sets": dict.fromkeys(datasets(), ""),
        "models": dict.fromkeys(models(), ""),
        "spaces": dict.fromkeys(SIZES, ""),
    }
