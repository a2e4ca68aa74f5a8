"""Studies of Optuna, read from its database or journal file without Optuna."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa

from tunesmith import logging
from tunesmith.exceptions import (
    DuplicatedStudyError,
    InvalidTypeError,
    InvalidValueError,
    StorageInternalError,
    StudyNotFoundError,
)
from tunesmith.integrations._optuna_events import Translation
from tunesmith.integrations._optuna_journal import read_journal
from tunesmith.integrations._optuna_records import TheirStudy, understanding
from tunesmith.integrations._optuna_tables import read_database
from tunesmith.storages import BaseStorage, get_storage
from tunesmith.storages._urls import without_password
from tunesmith.study import Study, create_study, delete_study

__all__ = ["import_optuna"]

_logger = logging.get_logger("tunesmith.integrations")


def import_optuna(
    storage: str | os.PathLike[str],
    to_storage: str | BaseStorage | None = None,
    *,
    study_names: str | Sequence[str] | None = None,
    rename: Mapping[str, str] | None = None,
    running: Literal["wait", "fail"] = "wait",
    seed: int | None = None,
) -> list[Study]:
    """Bring studies of Optuna along: ``import_optuna("sqlite:///optuna.db", "sqlite:///studies.db")``.

    Kept are names, directions, metric names, attributes, and of every trial its number, state, times, values,
    parameters with their distributions, reports, constraints, attributes, and the order in which trials finished.
    Trials that wait go on waiting with their fixed parameters. What is different afterwards:

    - RUNNING trials: whoever runs them tells Optuna, not this study; see ``running``.
    - The sampler and the pruner: Optuna keeps none; give them to ``load_study``, else they are the defaults.
    - What CMA-ES of Optuna left in attributes is a pickle; it is dropped, unread. Other notes of samplers stay.
    - Constraints and metric names are no system attributes any more; they have places of their own.
    - Trials that follow a gap (somebody has removed rows by hand) move up; ``optuna:number`` is their old number.
    - COMPLETE trials without values, which older versions could leave behind, are FAIL.

    Optuna's file is only read (in one transaction, if it is a database), and nothing in it is executed. Several studies
    are imported all or none, unless this process is killed.

    Args:
        storage: a path of a journal or of an SQLite file, or a URL ``sqlite:///...``, ``postgresql://...``,
            ``mysql://...``; of Optuna 3 to 5 (databases from 2.4 on, without an upgrade). Databases written by Optuna
            before version 5 hold local times, which are taken for those of this machine's time zone.
        to_storage: as for :func:`~tunesmith.create_study`; memory by default.
        study_names: one name or several; all by default.
        rename: Optuna's name -> name here.
        running: ``"wait"`` attempts RUNNING trials again with the parameters they have; ``"fail"`` makes them FAIL.
        seed: of what the studies draw from now on, as for :func:`~tunesmith.create_study`.

    Returns:
        The studies, in Optuna's order.

    Raises:
        StudyNotFoundError: no such study there. DuplicatedStudyError: a name is taken here; ``rename`` helps.
        InvalidValueError, InvalidTypeError: an impossible argument, or there is no such file.
        NotALogError: the file or database is not Optuna's. LogDamagedError: it contradicts itself.
        NewerFormatError: it was written by a later version. StorageInternalError: it cannot be read.
    """
    if running not in ("wait", "fail"):
        raise InvalidValueError(f"`running` must be 'wait' or 'fail', but is {running!r}.")
    wanted = _names(study_names)
    place, found = _read(storage, wanted)
    _check_found(place, found, wanted, rename or {})
    target = get_storage(to_storage)
    names = [(rename or {}).get(study.name, study.name) for study in found]
    _check_free(target, names)
    translated = []
    for study in found:
        with understanding(place, f"the study {study.name!r}"):
            translated.append(Translation(study, running))
    made: list[Study] = []
    try:
        for name, theirs, translation in zip(names, found, translated, strict=True):
            directions = ["minimize" if sign > 0 else "maximize" for sign in theirs.directions]
            made.append(create_study(storage=target, study_name=name, directions=directions, seed=seed))
            if translation.events:
                made[-1]._log.append(translation.events)
    except BaseException:
        for half in made:
            with contextlib.suppress(StorageInternalError, StudyNotFoundError):
                delete_study(study_name=half.study_name, storage=target)
        raise
    for name, theirs, translation in zip(names, found, translated, strict=True):
        _say(name, theirs, translation)
    return made


def _names(study_names: Any) -> list[str] | None:
    if study_names is None:
        return None
    names = [study_names] if isinstance(study_names, str) else list(study_names)
    if not names:
        raise InvalidValueError("`study_names` is empty; leave it out to import all studies.")
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise InvalidTypeError(f"`study_names` must be names, but {wrong[0]!r} is none.")
    return names


def _read(storage: Any, wanted: list[str] | None) -> tuple[str, list[TheirStudy]]:
    """What an error calls the source, and the studies that are wanted."""
    if not isinstance(storage, (str, os.PathLike)):
        raise InvalidTypeError(
            f"The storage of Optuna must be a path or a URL, but is {storage!r}. (Of an Optuna storage object, give "
            "the URL or path that it was made with.)"
        )
    text = os.fspath(storage)
    if "://" in text:
        return f"The database {without_password(text)!r}", read_database(text, wanted)
    path = Path(text)
    if not path.is_file():
        raise InvalidValueError(f"There is no file {text!r}. Give Optuna's journal or SQLite file, or a URL.")
    with path.open("rb") as file:
        is_sqlite = file.read(16) == b"SQLite format 3\0"
    if is_sqlite:
        url = sa.URL.create("sqlite", database=str(path.absolute()))  # in a text `?` and `%` would mean something
        return f"The database {text!r}", read_database(url, wanted)
    return f"The journal {text!r}", [s for s in read_journal(path) if wanted is None or s.name in wanted]


def _check_found(place: str, found: list[TheirStudy], wanted: list[str] | None, rename: Mapping[str, str]) -> None:
    names = [study.name for study in found]
    shown = ", ".join(map(repr, names[:10])) or "none"
    if missing := [name for name in wanted or () if name not in names]:
        raise StudyNotFoundError(
            f"There is no study {missing[0]!r} in Optuna's storage" + (f"; found: {shown}." if names else ".")
        )
    if not names:
        raise StudyNotFoundError(f"{place} of Optuna holds no study, so there is nothing to import.")
    if unknown := sorted(set(rename) - set(names)):
        raise InvalidValueError(f"`rename` names {unknown[0]!r}, but the studies to import are: {shown}.")


def _check_free(target: BaseStorage, names: list[str]) -> None:
    """Before anything is written."""
    taken = {record.name for record in target.studies()}
    for i, name in enumerate(names):
        if name in taken or name in names[:i]:
            raise DuplicatedStudyError(
                f"A study named {name!r} is already in the storage to import to; nothing was imported. Give it another "
                f"name, rename={{{name!r}: ...}}, or leave it out with study_names."
            )


def _say(name: str, study: TheirStudy, translation: Translation) -> None:
    _logger.info("Imported the study %r of Optuna with %d trials as %r.", study.name, len(study.trials), name)
    for note, n in translation.notes.items():
        _logger.warning("Of the trials of %r, %d %s.", name, n, note)
