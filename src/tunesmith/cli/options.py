"""Arguments and options that several commands share."""

from __future__ import annotations

import difflib
import enum
from typing import Annotated, Any, TypeVar

import typer

from tunesmith.exceptions import CLIUsageError

E = TypeVar("E", bound=enum.StrEnum)


class TableFormat(enum.StrEnum):
    """How a command prints what it found."""

    table = "table"
    json = "json"


class BestFormat(enum.StrEnum):
    """How ``best`` prints."""

    table = "table"
    json = "json"
    yaml = "yaml"


class TrialsFormat(enum.StrEnum):
    """How ``trials`` prints."""

    table = "table"
    csv = "csv"
    json = "json"


class FileFormat(enum.StrEnum):
    """What ``export`` writes."""

    csv = "csv"
    json = "json"
    jsonl = "jsonl"
    md = "md"
    study = "study"


class EndState(enum.StrEnum):
    """How a trial may be told to have ended."""

    complete = "complete"
    pruned = "pruned"
    fail = "fail"


class DirectionName(enum.StrEnum):
    """Whether smaller or larger values are better."""

    minimize = "minimize"
    maximize = "maximize"


# -- options that say in one line what they take when they are given something else --------------------------------


def is_count(value: Any, low: int, also: int | str | None = None) -> bool:
    """Whether it is an integer of at least ``low``, or just ``also``; true and false are none."""
    if isinstance(value, str):
        return value == also
    return isinstance(value, int) and not isinstance(value, bool) and (value >= low or value == also)


def count_text(low: int, also: int | str | None = None) -> str:
    """What :func:`is_count` asks for, in words."""
    return f"an integer of at least {low}" + ("" if also is None else f" (or {also})")


def count(option: str, *more: str, low: int, also: int | str | None = None, help: str) -> Any:
    """An option that takes integers of at least ``low``, and perhaps one other integer or word."""

    def read(text: Any) -> Any:
        value: Any
        try:
            value = int(text)
        except ValueError:
            value = text if text == also else None
        if not is_count(value, low, also):
            raise CLIUsageError(f"{option} takes {count_text(low, also)}, not {text!r}.")
        return value

    return typer.Option(option, *more, metavar="N", parser=read, help=help)


def number(option: str, *more: str, help: str) -> Any:
    """An option that takes numbers."""

    def read(text: Any) -> float:
        try:
            return float(text)
        except ValueError:
            raise CLIUsageError(f"{option} takes a number such as 0.12, not {text!r}.") from None

    return typer.Option(option, *more, metavar="V", parser=read, help=help)


def choice(kind: type[E], option: str, *more: str, help: str) -> Any:
    """An option that takes the words of ``kind``."""
    known = [member.value for member in kind]

    def read(text: Any) -> E:
        if text in known:
            return kind(text)
        close = difflib.get_close_matches(str(text), known, n=1, cutoff=0.5)
        meant = f" Did you mean {close[0]}?" if close else ""
        raise CLIUsageError(f"{option} takes {', '.join(known[:-1])} or {known[-1]}, not {text!r}.{meant}")

    return typer.Option(option, *more, metavar="|".join(known), parser=read, help=help)


# -- what commands share -------------------------------------------------------------------------------------------

STORAGE_VARIABLE = "TUNESMITH_STORAGE"
_STORAGE_HELP = "sqlite:///study.db, or a path ending in .jsonl."

Storage = Annotated[
    str | None, typer.Option("--storage", "-s", metavar="STORAGE", envvar=STORAGE_VARIABLE, help=_STORAGE_HELP)
]
StorageArgument = Annotated[str | None, typer.Argument(metavar="STORAGE", envvar=STORAGE_VARIABLE, help=_STORAGE_HELP)]
StorageOption = Annotated[
    str | None, typer.Option("--storage", "-s", metavar="STORAGE", help="The same, as an option.")
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the study.")]
OptionalName = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="Name of the study; may be left out when the storage holds just one."),
]
States = Annotated[
    str | None,
    typer.Option("--states", metavar="STATE,...", help="Only complete, pruned, fail, running, waiting or paused ones."),
]
SkipIfExists = Annotated[bool, typer.Option("--skip-if-exists", help="Change nothing if there is one already.")]
AsTable = Annotated[TableFormat, choice(TableFormat, "--format", "-f", help="How to print.")]
AsTrials = Annotated[TrialsFormat, choice(TrialsFormat, "--format", "-f", help="How to print.")]
AsBest = Annotated[BestFormat, choice(BestFormat, "--format", "-f", help="json and yaml print the parameters alone.")]
SpaceText = Annotated[
    str | None,
    typer.Option("--space", metavar="JSON|FILE", help="Parameters: {name: {type: float, low: 0, high: 1}, ...}."),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--param", "-p", metavar="NAME=VALUE", help="One hyperparameter; give it again for more."),
]
