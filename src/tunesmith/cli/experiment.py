"""What to compare: from a YAML file and flags to the arguments of :func:`tunesmith.compare.compare`.

The file, everything in it optional::

    problem:            # arguments of tunesmith.train.Problem, except those that stand below
      data: fashion-mnist-small
      model: lenet5
      n_train: 500
      fixed: {batch_size: 64}
    space: small        # or small, medium, all, or a mapping
      # lr: {type: float, low: 1e-4, high: 1e-1, log: true}
    methods: [grid, random, sobol, "pso(topology=ring)", tpe+asha]
    trials: 9           # of each method in each repeat; with a stopping rule (+asha) the training that they take
    repeats: 8
    epochs: 3           # of each trial
    # steps: 3          # epochs of a whole training, only if rules are compared and the space has the epochs
    seed: 0             # of the methods, the trainings and (unless the problem says otherwise) the split
    out: comparison     # folder
    jobs: 2             # studies at a time; with lanes: threads that compute
    lanes: auto         # trials that are trained side by side as one program, a number or auto
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from tunesmith.cli import yamls
from tunesmith.cli.inputs import parse_space, read_mapping_or_file, unknown_names
from tunesmith.cli.options import count_text, is_count
from tunesmith.exceptions import CLIUsageError, TunesmithError

#: Used when neither the file nor a flag says otherwise; budgets have the defaults of ``compare`` and ``Problem``.
DEFAULT_METHODS = ("grid", "random", "sobol", "pso")
DEFAULT_OUT = "comparison"

_ELSEWHERE = ("space", "epochs", "repeat")  # arguments of Problem that are not keys of `problem`


def _count(low: int, also: int | str | None = None) -> tuple[Callable[[Any], bool], str]:
    return lambda value: is_count(value, low, also), count_text(low, also)


_TYPES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "problem": (lambda v: isinstance(v, Mapping), "a mapping such as {data: fashion-mnist-small, model: lenet5}"),
    "space": (lambda v: isinstance(v, (str, Mapping)), "small, medium, all, or a mapping parameter -> {type, ...}"),
    "methods": (lambda v: isinstance(v, (str, list, Mapping)), "a list such as [random, sobol]"),
    "trials": _count(1),
    "repeats": _count(1),
    "epochs": _count(1),
    "steps": _count(1),
    "seed": _count(0),
    "out": (lambda v: isinstance(v, str) and bool(v), "the path of a folder"),
    "jobs": _count(1, -1),
    "lanes": _count(1, "auto"),
}


def load(path: str) -> dict[str, Any]:
    """Read an experiment file.

    Returns:
        Its entries; ``space`` is a text or a :class:`~tunesmith.space.Space`.

    Raises:
        CLIUsageError: unknown keys, wrong types, or a file that cannot be read; the message has the key's path.
    """
    content = yamls.read(path)
    try:
        return _checked(content)
    except CLIUsageError as error:
        raise CLIUsageError(f"{path}: {error}") from None


def _checked(content: Any) -> dict[str, Any]:
    if content is None:
        raise CLIUsageError(f"it is empty; known keys: {', '.join(_TYPES)}.")
    if not isinstance(content, Mapping):
        raise CLIUsageError(f"an experiment is a mapping with the keys {', '.join(_TYPES)}, not {_short(content)}.")
    unknown_names(content, _TYPES, "Unknown key")
    entries = {key: value for key, value in content.items() if value is not None}
    for key, value in entries.items():
        fits, what = _TYPES[key]
        if not fits(value):
            raise CLIUsageError(f"{key!r} must be {what}, but is {_short(value)}.")
    if "problem" in entries:
        unknown_names(entries["problem"], problem_options(), "Unknown key", "problem")
    if isinstance(entries.get("space"), Mapping):
        entries["space"] = parse_space(entries["space"])
    return entries


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def problem_options() -> list[str]:
    """What may stand under ``problem``: the arguments of :class:`tunesmith.train.Problem`."""
    from tunesmith.train import Problem

    return [name for name in inspect.signature(Problem).parameters if name not in _ELSEWHERE]


def merged(entries: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    """The file's entries with the flags over them; flags that are None were not given.

    Args:
        entries: from :func:`load`.
        flags: as typed; ``data`` and ``model`` belong to the problem, ``space`` is a name, JSON or a file.
    """
    given = {key: value for key, value in flags.items() if value is not None}
    problem = {**entries.get("problem", {}), **{k: given.pop(k) for k in ("data", "model") if k in given}}
    if "space" in given:
        given["space"] = _space_flag(given["space"])
    return {**entries, **given, "problem": problem}


def _space_flag(text: str) -> Any:
    if text.replace("-", "").replace("_", "").isalnum():
        return text  # the name of a ready space; the problem knows which there are
    return parse_space(read_mapping_or_file(text, "--space"))


def make_problem(entries: Mapping[str, Any]) -> Any:
    """The :class:`tunesmith.train.Problem` of an experiment.

    Raises:
        TunesmithError: as the problem itself.
    """
    from tunesmith.train import Problem

    options = dict(entries["problem"])
    if "seed" in entries:
        options = {"seed": entries["seed"], "split_seed": entries["seed"], **options}
    options |= {key: entries[key] for key in ("space", "epochs") if key in entries}
    return Problem(**options)


def budget(entries: Mapping[str, Any]) -> dict[str, Any]:
    """The other arguments of ``compare``."""
    names = {
        "trials": "trials",
        "repeats": "repeats",
        "steps": "steps",
        "seed": "seed",
        "jobs": "n_jobs",
        "lanes": "lanes",
    }
    return {argument: entries[key] for key, argument in names.items() if key in entries}


def methods_of(entries: Mapping[str, Any]) -> Any:
    """The methods, as ``compare`` takes them."""
    from tunesmith.compare.methods import parse_methods

    methods = entries.get("methods", list(DEFAULT_METHODS))
    try:
        parse_methods(methods)
    except TunesmithError as error:
        raise CLIUsageError(f"methods: {error}") from None
    return methods
