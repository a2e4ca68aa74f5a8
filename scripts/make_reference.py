"""Write docs/reference.md from the docstrings of the package.

    python scripts/make_reference.py           write the file
    python scripts/make_reference.py --check   exit with 1 if the file is not what would be written

Every public module is found by walking the package, so a new file needs no entry here. A public name without a
docstring is an error: the names are listed on standard error and the exit code is 1.
"""

from __future__ import annotations

import enum
import fnmatch
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

TARGET = Path(__file__).parents[1] / "docs" / "reference.md"

#: What users call, in reading order (a star: the modules of that room). The others follow in alphabetical order.
FIRST = (
    "tunesmith", "tunesmith.study", "tunesmith.trial", "tunesmith.distributions", "tunesmith.space",
    "tunesmith.samplers", "tunesmith.samplers.*", "tunesmith.pruners", "tunesmith.pruners.*", "tunesmith.storages",
    "tunesmith.compare", "tunesmith.train", "tunesmith.exceptions", "tunesmith.logging",
)  # fmt: skip

#: Rooms that are no part of the programming interface, and what describes them instead.
ELSEWHERE = {"tunesmith.cli": "the command line; `tunesmith --help` and `tunesmith COMMAND --help` describe it"}

_INTRODUCTION = """\
# API reference

<!-- Written by scripts/make_reference.py from the docstrings. Do not edit: change the docstring and run the script. -->

Everything here is made from the docstrings in `src/tunesmith`. The first part is what users call; the second is for
those who write plug-ins or want to look inside. Names that begin with an underscore are left out, and so is
"""
_SECTIONS = {"Args", "Attributes", "Returns", "Raises", "Yields", "Example", "Examples"}
_SECTION = re.compile(rf"({'|'.join(sorted(_SECTIONS))}):$")
_ITEM = re.compile(r"(\*{0,2}[\w.]+(?:, \*{0,2}[\w.]+)*): (.*)$")
_NEXT_ERROR = re.compile(r"\. (\w+Error): ")
_ROLE = re.compile(r":(?:class|func|meth|mod|attr|data|exc):`(?:[^`<]*<)?~?([^`>]+)>?`")


# -- finding -------------------------------------------------------------------------------------------------------


@dataclass
class Entry:
    """One documented name of a module."""

    name: str
    thing: Any


@dataclass
class Section:
    """One module."""

    name: str
    module: ModuleType
    first: bool
    entries: list[Entry] = field(default_factory=list)


def module_names() -> tuple[list[str], list[str]]:
    """The public modules: those of ``FIRST``, and the others."""
    root = importlib.import_module("tunesmith")
    found = ["tunesmith"]
    for info in pkgutil.walk_packages(root.__path__, "tunesmith."):
        hidden = any(part.startswith("_") for part in info.name.split("."))
        if not hidden and not any(info.name == room or info.name.startswith(room + ".") for room in ELSEWHERE):
            found.append(info.name)
    first = [name for pattern in FIRST for name in sorted(found) if fnmatch.fnmatchcase(name, pattern)]
    return first, sorted(set(found) - set(first))


def sections() -> list[Section]:
    """The modules with what they document. A name stands in the first module that exports it."""
    first, others = module_names()
    made = [Section(name, importlib.import_module(name), name in first) for name in [*first, *others]]
    seen: set[int] = set()
    for section in made[1:]:  # the top level only points to the others
        for name, thing in _public(section.module):
            alias = thing.__name__ != name
            if alias or id(thing) not in seen:
                section.entries.append(Entry(name, thing))
            if not alias:
                seen.add(id(thing))
    return made


def _public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Classes and functions that a module exports, or, without ``__all__``, defines itself."""
    exported = getattr(module, "__all__", None)
    names = list(exported) if exported is not None else [n for n in vars(module) if not n.startswith("_")]
    for name in names:
        thing = getattr(module, name)
        if not (inspect.isclass(thing) or inspect.isroutine(thing)):
            continue
        home = getattr(thing, "__module__", "") or ""
        if home == module.__name__ or (exported is not None and home.startswith(module.__name__ + ".")):
            yield name, thing


# -- members -------------------------------------------------------------------------------------------------------


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties that a class defines itself and that are more than an inherited contract."""
    parts = [cls, *(base for base in cls.__mro__[1:] if _is_part(base))]
    annotated = vars(cls).get("__annotations__", {})
    found = {name: member for part in reversed(parts) for name, member in vars(part).items()}
    for name, member in found.items():
        if name.startswith("_") or name in annotated:
            continue
        function = getattr(member, "func", member)  # cached_property
        function = getattr(function, "__func__", function)  # classmethod, staticmethod
        function = getattr(function, "fget", None) or function  # property
        if inspect.isroutine(function):
            yield name, member


def _is_part(base: type) -> bool:
    """Whether a base class is but a part of the public class that it was taken out of: nobody else exports it, and it
    stands on no contract."""
    home, _, private = base.__module__.partition("._")
    if (
        not private
        or not home.startswith("tunesmith")
        or any(b is not object and not _is_part(b) for b in base.__bases__)
    ):
        return False
    return getattr(importlib.import_module(home), base.__name__, None) is not base


def own_doc(thing: Any) -> str:
    """The docstring without what Python makes up by itself."""
    text = inspect.cleandoc(getattr(thing, "__doc__", None) or "")
    made_up = inspect.isclass(thing) and is_dataclass(thing) and text.startswith(f"{thing.__name__}(")
    return "" if made_up else text


def inherits_doc(cls: type, name: str) -> bool:
    """Whether a base class documents this member, so that it need not be said again."""
    return any(own_doc(vars(base)[name]) for base in cls.__mro__[1:] if name in vars(base))


def undocumented(made: list[Section]) -> list[str]:
    """Public names without a docstring."""
    missing = [s.name for s in made if not own_doc(s.module)]
    for section in made:
        for entry in section.entries:
            if entry.thing.__name__ != entry.name:
                continue  # an alias
            path = f"{section.name}.{entry.name}"
            if not own_doc(entry.thing):
                missing.append(path)
            if inspect.isclass(entry.thing) and not getattr(entry.thing, "_is_protocol", False):
                missing += [  # the members of a protocol may be described by its docstring alone
                    f"{path}.{name}"
                    for name, member in members(entry.thing)
                    if not own_doc(member) and not inherits_doc(entry.thing, name)
                ]
    return missing


# -- signatures ----------------------------------------------------------------------------------------------------


def _annotation(value: Any) -> str:
    if isinstance(value, str):
        return value.strip("'\"") if value[:1] in "'\"" else value
    return "None" if value is None else getattr(value, "__name__", None) or repr(value)


def _default(value: Any) -> str:
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    text = repr(value)
    if " at 0x" in text or text.startswith("<"):
        return "..."
    return text


def _parameters(signature: inspect.Signature) -> list[str]:
    texts, star = [], False
    for p in signature.parameters.values():
        if p.kind is p.KEYWORD_ONLY and not star:
            texts.append("*")
            star = True
        star = star or p.kind is p.VAR_POSITIONAL
        stars = "*" if p.kind is p.VAR_POSITIONAL else "**" if p.kind is p.VAR_KEYWORD else ""
        text = stars + p.name
        if p.annotation is not p.empty:
            text += f": {_annotation(p.annotation)}"
        if p.default is not p.empty:
            text += f" = {_default(p.default)}" if p.annotation is not p.empty else f"={_default(p.default)}"
        texts.append(text)
    return texts


def signature(name: str, thing: Any, *, method: bool = False) -> str:
    """``name(arguments) -> result``, one argument a line when it is long; "" where there is none to show."""
    try:
        found = inspect.signature(thing)
    except (TypeError, ValueError):
        return ""
    texts = _parameters(found)
    if method and texts and texts[0] in ("self", "cls"):
        texts = texts[1:]
    result = ""
    if found.return_annotation is not found.empty and not inspect.isclass(thing):
        result = f" -> {_annotation(found.return_annotation)}"
    line = f"{name}({', '.join(texts)}){result}"
    if len(line) <= 110:
        return line
    return f"{name}(\n" + "".join(f"    {text},\n" for text in texts) + f"){result}"


# -- docstrings to Markdown ----------------------------------------------------------------------------------------


def _inline(text: str) -> str:
    """Roles and double backticks as Markdown code."""
    text = _ROLE.sub(lambda m: f"`{m[1].removeprefix('tunesmith.')}`", text)
    return re.sub(r"``(.+?)``", lambda m: f"`{m[1]}`", text)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def markdown(doc: str) -> str:
    """A docstring as Markdown: sections as lists, literal blocks and examples as code."""
    lines = doc.splitlines()
    out: list[str] = []
    i = 0
    while i < len(lines):
        heading = _SECTION.match(lines[i])
        if heading:
            end = _block_end(lines, i + 1, 0)
            body = inspect.cleandoc("\n".join(["", *lines[i + 1 : end]])).splitlines()
            if heading[1].startswith("Example"):
                out += ["", "*Example*", "", "```pycon", *body, "```", ""]
            else:
                if heading[1] == "Raises":
                    body = [part for line in body for part in _NEXT_ERROR.sub(r".\n\1: ", line).splitlines()]
                out += ["", f"*{heading[1]}*", "", *_items(body), ""]
            i = end
        else:
            i = _paragraph(lines, i, out)
    text = "\n".join(out).strip()
    return re.sub(r"\n{3,}", "\n\n", text)


def _block_end(lines: list[str], start: int, indent: int) -> int:
    """The first line from ``start`` that is not empty and not indented by more than ``indent``."""
    for k in range(start, len(lines)):
        if lines[k].strip() and _indent(lines[k]) <= indent:
            return k
    return len(lines)


def _paragraph(lines: list[str], i: int, out: list[str]) -> int:
    """One line of running text, with the literal block that a ``::`` at its end announces."""
    line = lines[i]
    if not line.rstrip().endswith("::"):
        out.append(_inline(line))
        return i + 1
    end = _block_end(lines, i + 1, _indent(line))
    block = inspect.cleandoc("\n".join(["", *lines[i + 1 : end]])).splitlines()
    out += [_inline(line.rstrip()[:-1]), "", "```text", *block, "```", ""]
    return end


def _items(body: list[str]) -> list[str]:
    """``name: text`` entries as a list; text that names nothing as a paragraph."""
    out: list[str] = []
    for line in body:
        item = _ITEM.match(line)
        if item:
            names = ", ".join(f"`{n}`" for n in item[1].split(", "))
            out.append(f"- {names}: {_inline(item[2])}")
        elif out and line.strip() and (_indent(line) or not out[-1].startswith("- ")):
            out.append(("  " if out[0].startswith("- ") else "") + _inline(line.strip()))
        else:
            out.append(_inline(line.strip()))
    return out


# -- the page ------------------------------------------------------------------------------------------------------


def _anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _render_entry(entry: Entry, out: list[str]) -> None:
    thing = entry.thing
    if thing.__name__ != entry.name:
        out += ["", f"### {entry.name}", "", f"The same as `{thing.__name__}`."]
        return
    out += ["", f"### {entry.name}", ""]
    if not inspect.isclass(thing):
        out += ["```python", signature(entry.name, thing), "```", "", markdown(own_doc(thing))]
        return
    bases = [b.__name__ for b in thing.__bases__ if b.__name__ not in ("object", "ABC", "Generic", "Protocol")]
    head = "" if issubclass(thing, (enum.Enum, BaseException)) else signature(entry.name, thing)
    lines = [f"class {head or entry.name}"]
    out += ["```python", *lines, "```", ""]
    if bases:
        out += [f"Bases: {', '.join(f'`{b}`' for b in bases)}", ""]
    out.append(markdown(own_doc(thing)))
    if issubclass(thing, enum.Enum):
        out += ["", "Members: " + ", ".join(f"`{m.name}` = `{m.value!r}`" for m in thing) + "."]
    documented = [(name, member) for name, member in members(thing) if own_doc(member)]
    short = [(name, member) for name, member in documented if "\n" not in _shown(name, member) + own_doc(member)]
    if short:
        out += ["", *(f"- `{_shown(name, member)}`: {_inline(own_doc(member))}" for name, member in short)]
    for name, member in documented:
        if (name, member) not in short:
            shown = _shown(f"{entry.name}.{name}", member)
            out += ["", f"#### {entry.name}.{name}", "", "```python", shown, "```", "", markdown(own_doc(member))]


def _shown(name: str, member: Any) -> str:
    """A property with its type, a method with its signature."""
    getter = getattr(member, "fget", None) or getattr(member, "func", None)
    if getter is not None:
        returns = inspect.signature(getter).return_annotation
        return name + ("" if returns is inspect.Signature.empty else f": {_annotation(returns)}")
    return signature(name, getattr(member, "__func__", member), method=not isinstance(member, staticmethod))


def render(made: list[Section]) -> str:
    """The whole page."""
    out = [_INTRODUCTION + "; ".join(f"`{room}` ({why})" for room, why in ELSEWHERE.items()) + ".", ""]
    for title, first in (("What users call", True), ("For authors of plug-ins, and inside", False)):
        group = [s for s in made if s.first == first]
        out += [f"**{title}:** " + ", ".join(f"[{s.name}](#{_anchor(s.name)})" for s in group) + ".", ""]
    for section in made:
        out += ["", f"## {section.name}", "", markdown(own_doc(section.module))]
        if section.name == "tunesmith":
            out += ["", _exports(made)]
        for entry in section.entries:
            _render_entry(entry, out)
    text = "\n".join(line.rstrip() for line in "\n".join(out).splitlines())
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _exports(made: list[Section]) -> str:
    """Where the names of the top level are described."""
    top = made[0].module
    home = {id(e.thing): s.name for s in made for e in s.entries}
    names = [n for n in top.__all__ if not n.startswith("_")]
    found = [f"[{n}](#{_anchor(n)}) (`{home[id(getattr(top, n))]}`)" for n in names if id(getattr(top, n)) in home]
    return "Names at the top level: " + ", ".join(found) + "."


def main(arguments: list[str]) -> int:
    """Write or check the file."""
    made = sections()
    if missing := undocumented(made):
        print("No docstring: " + ", ".join(missing), file=sys.stderr)
        return 1
    text = render(made)
    if "--check" in arguments:
        if not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text:
            print(f"{TARGET} is not current; run: python scripts/make_reference.py", file=sys.stderr)
            return 1
        return 0
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
