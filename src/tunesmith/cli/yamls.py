"""Reading YAML (and JSON) that a person wrote: strictly, and without trusting it.

The scalars are those of YAML 1.2, so that ``1e-4`` is a number and ``no`` a word (PyYAML alone follows YAML 1.1, where
``1e-4`` is a text and ``no`` is false). A key that stands twice is an error, and so is a document that would grow
beyond :data:`MAX_NODES` when its aliases are followed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import yaml

from tunesmith.exceptions import CLIUsageError

#: Largest file that is read, in bytes. An experiment is a page of text; more is a mistake.
MAX_BYTES = 256 * 1024
#: Most values a document may hold when its aliases are written out.
MAX_NODES = 20_000
#: Deepest nesting.
MAX_DEPTH = 50

_SCALARS = (
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", "~nN\0"),
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("tag:yaml.org,2002:int", r"[-+]?[0-9]+", "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2 and a guard before anything is built."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}

    def get_single_node(self) -> Any:
        node = super().get_single_node()
        if node is not None:
            _weigh(node, {}, 0)
        return node


for _tag, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), ["" if c == "\0" else c for c in _first])


def _integer(loader: Any, node: Any) -> int:
    text = loader.construct_scalar(node)
    try:
        return int(text)
    except ValueError:
        raise yaml.constructor.ConstructorError(None, None, f"{text[:40]!r} is no integer", node.start_mark) from None


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)


def _weigh(node: Any, known: dict[int, int], depth: int) -> int:
    """Number of values below a node with its aliases written out; refuses circles, repeated keys and bombs."""
    if depth > MAX_DEPTH:
        raise CLIUsageError(f"it is nested deeper than {MAX_DEPTH} levels; flatten it.")
    if isinstance(node, yaml.ScalarNode):
        return 1
    weight = known.get(id(node))
    if weight is None:
        known[id(node)] = MAX_NODES + 1  # met again below itself: a circle
        if isinstance(node, yaml.MappingNode):
            _refuse_repeated(node)
            children = [child for pair in node.value for child in pair]
        else:
            children = node.value
        weight = known[id(node)] = 1 + sum(_weigh(child, known, depth + 1) for child in children)
    if weight > MAX_NODES:
        raise CLIUsageError(f"it holds more than {MAX_NODES} values when its aliases (*name) are written out.")
    return weight


def _refuse_repeated(node: Any) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise CLIUsageError(f"line {key.start_mark.line + 1}: a key must be a word, not a list or a mapping.")
        if key.value in seen:
            raise CLIUsageError(f"line {key.start_mark.line + 1}: the key {key.value!r} stands twice in one mapping.")
        seen.add(key.value)


def parse(text: str, where: str) -> Any:
    """The value of a YAML or JSON text.

    Args:
        text: what to read.
        where: what to call it in messages.

    Raises:
        CLIUsageError: it is not valid, too large or too deep, or a key stands twice.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # a subclass of the safe loader: it makes plain values only
    except CLIUsageError as error:
        raise CLIUsageError(f"{where}: {error}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        raise CLIUsageError(f"{where}{place}: this is no valid YAML: {error.problem}.") from None
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        # the last ones: what PyYAML raises for a wrong value under an explicit tag, such as `!!bool 3`
        reason = "it is nested too deep" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise CLIUsageError(f"{where}: this is no valid YAML: {reason}.") from None


def read(path: str | Path) -> Any:
    """The value of a YAML or JSON file.

    Raises:
        CLIUsageError: no such file, too large, not UTF-8, or as :func:`parse`.
    """
    file = Path(path)
    try:
        with file.open("rb") as handle:
            data = handle.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise CLIUsageError(f"There is no file {str(file)!r}.") from None
    except OSError as error:
        raise CLIUsageError(f"The file {str(file)!r} cannot be read: {error.strerror}.") from None
    if len(data) > MAX_BYTES:
        raise CLIUsageError(f"The file {str(file)!r} is larger than {MAX_BYTES // 1024} KiB; this is no configuration.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CLIUsageError(f"The file {str(file)!r} is not UTF-8 text (byte {error.start}).") from None
    return parse(text, str(file))
