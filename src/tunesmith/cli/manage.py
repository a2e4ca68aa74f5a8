"""Moving studies about: ``delete``, ``copy``, ``export``, ``import``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli import inputs, options, output, records
from tunesmith.cli.guard import say
from tunesmith.cli.studies import parse_states
from tunesmith.exceptions import CLIUsageError, DuplicatedStudyError, StudyNotFoundError

if TYPE_CHECKING:
    from tunesmith.storages import BaseStorage


def delete(
    name: options.Name,
    storage: options.Storage = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a study with all its trials; asks first."""
    from tunesmith.study import delete_study

    with inputs.open_storage(storage) as store:
        n = len(_trials(name, store))
        if not yes:
            if not sys.stdin.isatty():
                raise CLIUsageError(f"Nothing was deleted: nobody can be asked here. Add --yes to delete {name!r}.")
            if not typer.confirm(f"Delete the study {name!r} with its {n} trials?", err=True):
                say("Nothing was deleted.")
                raise typer.Exit(1)
        delete_study(study_name=name, storage=store)
    output.line(f"Deleted the study {name!r} ({n} trials).")


def _trials(name: str, store: Any) -> list[Any]:
    """The trials of a study; none of one whose creator died before it had any content."""
    from tunesmith.study import get_all_study_names

    try:
        return inputs.load_study(name, store).trials
    except StudyNotFoundError:
        if name in get_all_study_names(store):
            return []
        raise


def copy(
    name: options.Name,
    storage: options.Storage = None,
    to_storage: Annotated[
        str | None,
        typer.Option("--to-storage", metavar="STORAGE", help="Where to; made if there is none. Default: the same."),
    ] = None,
    to_name: Annotated[str | None, typer.Option("--to-name", metavar="NAME", help="Default: the same name.")] = None,
    compact: Annotated[
        bool, typer.Option("--compact", help="Leave out claims that came too late, and were void.")
    ] = False,
) -> None:
    """Copy a study to another storage or name.

    Everything is copied, so the copy goes on exactly as the original would.
    """
    if to_storage is None and to_name is None:
        raise CLIUsageError("Say where to: --to-storage sqlite:///other.db, or --to-name COPY within the same storage.")
    with inputs.open_storage(storage) as source:
        n = len(inputs.load_study(name, source).trials)  # before the target is made: the name may be a typing error
        try:
            if to_storage is None or to_storage == storage:
                _copy(name, source, source, to_name, compact)
            else:
                with inputs.open_storage(to_storage, create=True) as target:
                    _copy(name, source, target, to_name, compact)
        except DuplicatedStudyError:
            raise CLIUsageError(
                f"A study named {(to_name or name)!r} is already in {inputs.shown(to_storage or storage)}: name "
                "the copy with --to-name."
            ) from None
    output.line(f"Copied {name!r} ({n} trials) to {(to_name or name)!r} in {inputs.shown(to_storage or storage)}.")


def _copy(name: str, source: BaseStorage, target: BaseStorage, to_name: str | None, compact: bool) -> None:
    from tunesmith.study import copy_study

    copy_study(
        from_study_name=name, from_storage=source, to_storage=target, to_study_name=to_name, compact=compact
    )  # fmt: skip


def export(
    name: options.OptionalName = None,
    storage: options.Storage = None,
    out: Annotated[str, typer.Option("--out", "-o", metavar="FILE", help="Where to; - is the standard output.")] = ...,  # type: ignore[assignment]
    format: Annotated[
        options.FileFormat | None,
        options.choice(options.FileFormat, "--format", "-f", help="By default what FILE ends in."),
    ] = None,
    states: options.States = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE if it exists.")] = False,
    hosts: Annotated[
        bool, typer.Option("--hosts", help="Keep names of machines and process ids in a .study file.")
    ] = False,
) -> None:
    """Write a study, or its trials, to a file.

    Trials alone: .csv, .json (one list), .jsonl (a record a line) or .md (a table). The whole study with its history,
    for `tunesmith import`: .study.
    """
    kind = _kind(out, format)
    wanted = parse_states(states)
    if out != "-":
        _check_target(Path(out), storage, overwrite)
    if kind == "study":
        _export_study(name, storage, out, states, hosts)
        return
    if hosts:
        raise CLIUsageError(f"--hosts is for a .study file; {out!r} holds no names of machines.")
    with inputs.open_storage(storage) as store:
        study = inputs.load_study(name, store)
        found = [t for t in study.trials if wanted is None or t.state.name in wanted]
        text = records.as_text(study, found, kind)
    if out == "-":
        output.raw(text)
        return
    _write(Path(out), text)
    output.line(f"Wrote {len(found)} trials of {study.study_name!r} to {out}.")


def _export_study(name: str | None, storage: str | None, out: str, states: str | None, hosts: bool) -> None:
    from tunesmith.study import export_study

    if out == "-":
        raise CLIUsageError("A whole study is written to a file: -o NAME.study.")
    if states is not None:
        raise CLIUsageError("A .study file holds the whole study; leave --states out, or export to .jsonl.")
    with inputs.open_storage(storage) as store:
        found = inputs.load_study(name, store).study_name
        n = export_study(study_name=found, storage=store, path=out, hosts=hosts, overwrite=True)
    output.line(f"Wrote the study {found!r} ({n} records) to {out}.")


def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="As `tunesmith export NAME -o FILE.study` wrote it.")],
    storage: options.Storage = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Default: the name it had.")] = None,
) -> None:
    """Make a study from an exported file (.study).

    Its whole history comes with it, so it goes on exactly as the original would. A damaged file is refused, and nothing
    is made.
    """
    from tunesmith.study import import_study

    if not Path(file).is_file():
        raise CLIUsageError(f"There is no file {file!r}.")
    with inputs.open_storage(storage, create=True) as store:
        try:
            study = import_study(path=file, storage=store, study_name=name)
        except DuplicatedStudyError as error:
            raise CLIUsageError(f"{error} Name it with --name.") from None
        output.line(
            f"Imported the study {study.study_name!r} ({len(study.trials)} trials) into {inputs.shown(storage)}."
        )


def _kind(out: str, format: options.FileFormat | None) -> str:
    if format is not None:
        return format.value
    ending = Path(out).suffix.lower().removeprefix(".")
    if ending not in options.FileFormat.__members__:
        known = ", ".join(options.FileFormat.__members__)
        raise CLIUsageError(f"The format of {out!r} is not clear; let it end in one of {known}, or add --format.")
    return ending


def _check_target(target: Path, storage: str | None, overwrite: bool) -> None:
    """Refuse to write over anything unasked, and over the storage at all."""
    source = inputs.storage_path(storage) if storage else None
    if source is not None and target.exists() and source.exists() and target.samefile(source):
        raise CLIUsageError(f"{str(target)!r} is the storage itself; export to another file.")
    if target.is_dir():
        raise CLIUsageError(f"{str(target)!r} is a folder; name a file in it.")
    if not target.parent.is_dir():
        raise CLIUsageError(
            f"Cannot write {str(target)!r}: there is no folder {str(target.parent)!r}. Create it (mkdir -p) or name "
            "another file."
        )
    if target.exists() and not overwrite:
        raise CLIUsageError(f"{str(target)!r} exists; add --overwrite to replace it.")


def _write(target: Path, text: str) -> None:
    """All or nothing."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            file.write(text)
        os.replace(temporary, target)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from error
    finally:
        temporary.unlink(missing_ok=True)
