"""Bringing along what other tools made: ``import-optuna``."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from tunesmith.cli import inputs, options, output
from tunesmith.exceptions import CLIUsageError


class Running(enum.StrEnum):
    """What becomes of RUNNING trials."""

    wait = "wait"
    fail = "fail"


def import_optuna(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="Optuna's journal or SQLite file, or the URL of its database.")
    ],
    storage: options.Storage = None,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", "-n", metavar="NAME", help="Only this study; give it again for more."),
    ] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option("--rename", metavar="OLD=NEW", help="Call a study otherwise here; give it again for more."),
    ] = None,
    running: Annotated[
        Running, options.choice(Running, "--running", help="Attempt RUNNING trials again, or make them FAIL.")
    ] = Running.wait,
) -> None:
    """Import studies of Optuna 3 to 5, without Optuna.

    The source is only read, and nothing in it is executed. --storage is made if there is none.
    """
    from tunesmith.integrations import import_optuna as bring

    names = dict(_pair(word) for word in rename or ())
    target = inputs.check_storage(storage, create=True)
    studies = bring(source, target, study_names=name, rename=names, running=running.value)
    with studies[0].storage:
        for study in studies:
            output.line(f"Imported {study.study_name!r} ({len(study.trials)} trials).")


def _pair(word: str) -> tuple[str, str]:
    old, equals, new = word.partition("=")
    if not (old and equals and new):
        raise CLIUsageError(f"--rename takes OLD=NEW, such as --rename mnist=mnist-optuna, not {word!r}.")
    return old, new
