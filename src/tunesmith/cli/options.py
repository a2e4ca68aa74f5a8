"""Arguments and options that several commands share."""

from __future__ import annotations

import enum
from typing import Annotated

import typer


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


class EndState(enum.StrEnum):
    """How a trial may be told to have ended."""

    complete = "complete"
    pruned = "pruned"
    fail = "fail"


class DirectionName(enum.StrEnum):
    """Whether smaller or larger values are better."""

    minimize = "minimize"
    maximize = "maximize"


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
AsTable = Annotated[TableFormat, typer.Option("--format", "-f", help="How to print.")]
AsTrials = Annotated[TrialsFormat, typer.Option("--format", "-f", help="How to print.")]
AsBest = Annotated[BestFormat, typer.Option("--format", "-f", help="json and yaml print the parameters alone.")]
SpaceText = Annotated[
    str | None,
    typer.Option("--space", metavar="JSON|FILE", help="Parameters: {name: {type: float, low: 0, high: 1}, ...}."),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--param", "-p", metavar="NAME=VALUE", help="One hyperparameter; give it again for more."),
]
