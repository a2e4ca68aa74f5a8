"""From words on the command line to values: parameters, spaces, methods, storages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.exceptions import CLIUsageError, TunesmithError

if TYPE_CHECKING:
    from tunesmith.pruners import BasePruner
    from tunesmith.samplers import BaseSampler
    from tunesmith.space import Space
    from tunesmith.storages import BaseStorage
    from tunesmith.study import Study

_FILE_ENDINGS = (".yaml", ".yml", ".json")
_PARAMETER_KEYS = {
    "float": ("type", "low", "high", "log", "step"),
    "int": ("type", "low", "high", "log", "step"),
    "categorical": ("type", "choices"),
}


# -- storages ------------------------------------------------------------------------------------------------------


def storage_path(storage: str) -> Path | None:
    """The file behind a storage string, or None when it names none (another kind of storage, or a mistake)."""
    if storage.startswith(("sqlite:", "sqlite+")):
        database = storage.partition("://")[2].partition("?")[0]
        return Path(database[1:]) if database.startswith("/") and database != "/" else None
    return Path(storage) if "://" not in storage else None


def open_storage(storage: str | None, *, create: bool = False) -> BaseStorage:
    """Open the storage a user named.

    Args:
        storage: ``sqlite:///study.db``, or a path that ends in ``.jsonl``.
        create: whether it may be made; a typing error must not leave an empty file behind.

    Raises:
        CLIUsageError: none is named, or there is no such file. Others as ``tunesmith.storages.get_storage``.
    """
    from tunesmith.storages import get_storage

    return get_storage(check_storage(storage, create=create))


def check_storage(storage: str | None, *, create: bool = False) -> str:
    """The storage a user named, to be opened later; see :func:`open_storage`."""
    if not storage:
        raise CLIUsageError(
            "No storage is named: add --storage sqlite:///study.db (or a path ending in .jsonl), or set the "
            "environment variable TUNESMITH_STORAGE."
        )
    path = storage_path(storage)
    if storage.startswith("sqlite") and path is None:
        raise CLIUsageError(
            f"{storage!r} is a database in memory, which ends with this command; name a file: sqlite:///study.db."
        )
    if path is not None and "://" not in storage and not storage.endswith(".jsonl"):
        raise CLIUsageError(
            f"The storage {storage!r} is not understood. A database is written sqlite:///{storage}, a log file is a "
            "path ending in .jsonl."
        )
    if not create and path is not None and not path.exists():
        raise CLIUsageError(
            f"There is no file {str(path)!r}, so the storage {storage!r} does not exist. Check the path "
            "(`tunesmith create` makes a new one)."
        )
    return storage


def shown(storage: str | None) -> str:
    """A storage as it may be printed: without the password."""
    from tunesmith.storages import without_password

    return without_password(storage or "")


def load_study(name: str | None, store: BaseStorage) -> Study:
    """The study of that name; without a name the only one there is.

    Raises:
        CLIUsageError: no name, and not exactly one study. StudyNotFoundError: no such study.
    """
    from tunesmith import study

    if name is None:
        names = study.get_all_study_names(store)
        if len(names) != 1:
            shown = ", ".join(repr(n) for n in names[:10]) + (", ..." if len(names) > 10 else "")
            what = f"holds {len(names)} studies ({shown}); name one of them" if names else "holds no study"
            raise CLIUsageError(f"The storage {what}.")
        name = names[0]
    return study.load_study(study_name=name, storage=store)


# -- parameters ----------------------------------------------------------------------------------------------------


def parse_assignments(words: Iterable[str], known: Mapping[str, Any]) -> dict[str, Any]:
    """``["lr=0.01", "opt=adam"]`` -> ``{"lr": 0.01, "opt": "adam"}``.

    A value is read as JSON would read it (numbers, true, false, null, "texts", [lists]), anything else is a text. Where
    the study knows the parameter, the reading that fits it is taken: ``bits=8`` is the text "8" when the choices are.

    Args:
        words: as typed.
        known: parameter -> distribution, as far as known.

    Raises:
        CLIUsageError: a word without ``=``, or a name that comes twice.
    """
    params: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        name = name.strip()
        if not equals or not name:
            raise CLIUsageError(f"{word!r} is no assignment; write --param NAME=VALUE, such as --param lr=0.01.")
        if name in params:
            raise CLIUsageError(f"The parameter {name!r} is given twice.")
        params[name] = _reading(text, known.get(name))
    return params


def _reading(text: str, distribution: Any) -> Any:
    from tunesmith.cli import yamls

    try:
        readings = [yamls.parse(text, "a value")]
        if isinstance(readings[0], dict):
            readings = [text]
    except CLIUsageError:
        readings = []
    readings.append(text)
    if text == "None":
        readings.append(None)
    if distribution is not None:
        for value in readings:
            if distribution.contains(value):
                return value
    return readings[0]


def read_params(text: str) -> list[dict[str, Any]]:
    """Configurations from JSON (or YAML) or a file with it: one mapping, or a list of mappings.

    Raises:
        CLIUsageError: it is something else.
    """
    value = read_mapping_or_file(text, "--params")
    configurations = value if isinstance(value, list) else [value]
    for entry in configurations:
        if not isinstance(entry, dict) or not all(isinstance(name, str) and name for name in entry):
            raise CLIUsageError(
                f"--params takes a mapping such as '{{\"lr\": 0.01}}' (or a list of these), not {entry!r}."
            )
    if not configurations:
        raise CLIUsageError("--params is an empty list; there is nothing to enqueue.")
    return configurations


def read_mapping_or_file(text: str, option: str) -> Any:
    """What an option that takes "FILE or JSON" means."""
    from tunesmith.cli import yamls

    stripped = text.strip()
    if stripped.startswith(("{", "[")):
        return yamls.parse(stripped, option)
    if stripped.lower().endswith(_FILE_ENDINGS) or Path(stripped).is_file():
        return yamls.read(stripped)
    raise CLIUsageError(f"{option} takes JSON such as '{{\"lr\": ...}}' or a .yaml or .json file, not {text!r}.")


def check_known(params: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Refuse names and values that the study has never seen: most are typing errors.

    Raises:
        CLIUsageError: with the known names, or the range.
    """
    if not known:
        return
    unknown_names(params, known, "This study has no parameter", hint="Add --force if the objective will ask for it.")
    for name, value in params.items():
        if not known[name].contains(value):
            raise CLIUsageError(
                f"{value!r} is no value of {name!r}: {known[name]!r}. Add --force to enqueue it all the same."
            )


# -- unknown names -------------------------------------------------------------------------------------------------


def unknown_names(given: Iterable[Any], known: Iterable[str], what: str, path: str = "", hint: str = "") -> None:
    """Refuse names that are not known.

    Args:
        given: what was written.
        known: what is understood.
        what: how the message begins, e.g. ``"Unknown key"``.
        path: where the names stand, e.g. ``"space.lr"``.
        hint: how the message ends.

    Raises:
        CLIUsageError: one for all of them, with the known names and the nearest one.
    """
    names = list(known)
    unknown = [str(name) for name in given if name not in names]
    if not unknown:
        return
    prefix = f"{path}." if path else ""
    shown = ", ".join(repr(prefix + name) for name in unknown)
    close = {m for name in unknown if (m := _nearest(name, names))}
    meant = f" Did you mean {' and '.join(repr(prefix + name) for name in sorted(close))}?" if close else ""
    plural = "s" if len(unknown) > 1 else ""
    text = f"{what}{plural} {shown}; known{f' in {path!r}' if path else ''}: {', '.join(names)}.{meant}"
    raise CLIUsageError(f"{text} {hint}".strip())


def _nearest(name: str, names: Sequence[str]) -> str | None:
    """The known name that was probably meant: one with the same letters first (lgo: log), else the most similar."""
    same = [known for known in names if sorted(known) == sorted(name.lower())]
    return next(iter(same or difflib.get_close_matches(name, names, n=1)), None)


# -- spaces --------------------------------------------------------------------------------------------------------


def read_space(text: str) -> Space:
    """A space from JSON, or from a YAML or JSON file.

    Raises:
        CLIUsageError: with the path of what is wrong, such as ``space.lr.hgih``.
    """
    return parse_space(read_mapping_or_file(text, "--space"))


def parse_space(value: Any, path: str = "space") -> Space:
    """A space from a mapping parameter -> ``{type: float, low: ..., high: ...}``.

    Args:
        value: that mapping, or ``{"parameters": {...}, "conditions": {...}}``.
        path: where it stands in its file.

    Raises:
        CLIUsageError: every message names the path.
    """
    from tunesmith.space import Space

    if not isinstance(value, Mapping):
        raise CLIUsageError(
            f"{path!r} must be a mapping parameter -> {{type: float, low: 0.1, high: 1}}, not {value!r}."
        )
    conditions: Any = None
    if "parameters" in value and not (isinstance(value["parameters"], Mapping) and "type" in value["parameters"]):
        unknown_names(value, ("parameters", "conditions"), "Unknown key", path)
        conditions, value, path = value.get("conditions"), value["parameters"], f"{path}.parameters"
        if not isinstance(value, Mapping):
            raise CLIUsageError(f"{path!r} must be a mapping, not {value!r}.")
    parameters = {name: _parameter(fields, f"{path}.{name}") for name, fields in value.items()}
    if not isinstance(conditions, (Mapping, type(None))):
        raise CLIUsageError(f"'conditions' must be a mapping parameter -> expression, not {conditions!r}.")
    try:
        return Space(parameters, conditions)
    except TunesmithError as error:
        raise CLIUsageError(f"{path}: {error}") from None


#: Keys by which other tools' users look for a condition, and where it stands here.
_CONDITIONAL = {"condition", "conditions", "if", "only_if", "when", "depends_on"}
_CONDITIONS = "Conditions stand beside the parameters: {parameters: {a: ..., b: ...}, conditions: {b: a >= 2}}."


def _parameter(fields: Any, path: str) -> Any:
    from tunesmith.distributions import distribution_from_dict

    if not isinstance(fields, Mapping):
        raise CLIUsageError(f"{path!r} must be a mapping such as {{type: float, low: 0.1, high: 1}}, not {fields!r}.")
    kind = fields.get("type", "categorical" if "choices" in fields else None)
    if kind not in _PARAMETER_KEYS:
        raise CLIUsageError(f"'{path}.type' must be one of {', '.join(_PARAMETER_KEYS)}, not {kind!r}.")
    unknown_names(fields, _PARAMETER_KEYS[kind], "Unknown key", path, _CONDITIONS if _CONDITIONAL & set(fields) else "")
    try:
        return distribution_from_dict(fields)
    except TunesmithError as error:
        raise CLIUsageError(f"{path}: {error}") from None


# -- methods -------------------------------------------------------------------------------------------------------


def read_sampler(text: str, space: Space | None, budget: int | None) -> BaseSampler:
    """A search method as ``compare`` writes it: ``random``, ``pso(topology=ring)``, ``grid``.

    A grid is laid out for its budget, so it needs a space and a budget.
    """
    from tunesmith.compare.methods import method_sampler, parse_methods
    from tunesmith.samplers import get_sampler

    specs: Sequence[Any] = parse_methods(text)
    if len(specs) != 1:
        raise CLIUsageError(f"--sampler takes one method, such as random or pso(topology=ring), not {text!r}.")
    if space is not None and budget is not None:
        return method_sampler(specs[0], space, budget).sampler
    if specs[0].name.lower() == "grid" and "search_space" not in specs[0].options:
        raise CLIUsageError("A grid is laid out for its space and budget: add --space and --budget.")
    if ":" in specs[0].name:
        raise CLIUsageError(
            f"The sampler {text!r} belongs to another package and cannot be kept in a log; use it from Python, or in "
            "`tunesmith compare`."
        )
    return get_sampler(specs[0].name, **specs[0].options)


def read_pruner(text: str) -> BasePruner:
    """A stopping rule, written like a method: ``median``, ``percentile(percentile=10)``."""
    from tunesmith.compare.methods import parse_methods
    from tunesmith.pruners import get_pruner

    specs: Sequence[Any] = parse_methods(text)
    if len(specs) != 1:
        raise CLIUsageError(f"--pruner takes one rule, such as median or percentile(percentile=10), not {text!r}.")
    return get_pruner(specs[0].name, **specs[0].options)
