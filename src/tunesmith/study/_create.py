"""Making, loading, copying, deleting and listing studies."""

from __future__ import annotations

import contextlib
import datetime
import inspect
import os
import platform
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tunesmith import events as ev
from tunesmith import logging
from tunesmith._version import __version__
from tunesmith.artifacts import states_of
from tunesmith.distributions import BaseDistribution
from tunesmith.exceptions import (
    DuplicatedStudyError,
    InvalidTypeError,
    InvalidValueError,
    LogDamagedError,
    StudyNotFoundError,
)
from tunesmith.pruners import BasePruner, get_pruner
from tunesmith.records import local_time
from tunesmith.samplers import BaseSampler, get_sampler
from tunesmith.space import Space
from tunesmith.storages import BaseStorage, get_storage
from tunesmith.study._direction import StudyDirection, parse_directions
from tunesmith.study._log import StudyLog
from tunesmith.study._settings import Objective
from tunesmith.study._snapshots import Snapshots
from tunesmith.study._states import folder_of
from tunesmith.study._study import Study
from tunesmith.trial import FrozenTrial, TrialState

_logger = logging.get_logger("tunesmith.study")


def create_study(
    *,
    storage: str | BaseStorage | None = None,
    sampler: str | BaseSampler | None = None,
    pruner: str | BasePruner | None = None,
    study_name: str | None = None,
    direction: str | StudyDirection | None = None,
    load_if_exists: bool = False,
    directions: Sequence[str | StudyDirection] | None = None,
    seed: int | None = None,
    space: Space | Mapping[str, BaseDistribution] | None = None,
    budget: int | None = None,
    artifacts: str | os.PathLike[str] | None = None,
) -> Study:
    """Make a study.

    Args:
        storage: ``None`` (memory), ``"sqlite:///study.db"``, a path ending in ``.jsonl``, or a storage object.
        sampler: a search method or its short name; TPE by default, as in Optuna.
        pruner: a stopping rule or its short name; the median rule by default, as in Optuna.
        study_name: unique in the storage; made up if left out.
        direction: ``"minimize"`` (default) or ``"maximize"``.
        load_if_exists: load the study if there is one of that name.
        directions: one direction an objective, instead of ``direction``.
        seed: of everything random in the study; goes before the sampler's ``seed``, which is the default. If neither
            is given, a fresh one. The log keeps it.
        space: declare the parameters (and their conditions) at once; otherwise they are learnt from the objective.
        budget: number of trials you plan; some methods divide their work by it.
        artifacts: a folder for what ``trial.save`` writes, that all workers of the study share; it is not in the log.
            Default: beside the file of the storage, ``study.db.states``; of a study in memory, in memory.

    Raises:
        DuplicatedStudyError: the name is taken and ``load_if_exists`` is false.
        InvalidValueError: an impossible argument; the message shows it.
    """
    signs = [d.sign for d in parse_directions(direction, directions)]
    chosen, rule = get_sampler(sampler), get_pruner(pruner)
    declared = space if isinstance(space, Space) or space is None else Space(space)
    folder = folder_of(artifacts)
    event: ev.Event = {
        "e": "study", "v": ev.FIRST_VERSION, "directions": signs, "seed": _seed(seed, chosen),
        "versions": {"tunesmith": __version__, "numpy": np.__version__, "python": platform.python_version()},
        "t": ev.now(),
    }  # fmt: skip
    if declared is not None:
        event["space"] = declared.to_dict()
    if budget is not None:
        event["budget"] = _count(budget, "budget")
    config = {"e": "config", "sampler": chosen.spec(), "pruner": rule.spec()}
    store = get_storage(storage)
    name = study_name if study_name is not None else f"no-name-{uuid.uuid4()}"
    try:
        study_id = store.create(checked_name(name))
        _logger.info("A new study created in %s with name: %s", type(store).__name__, name)
    except DuplicatedStudyError:
        if not load_if_exists:
            raise
        _logger.info("Using an existing study with name %r instead of creating a new one.", name)
        study_id = find_study(store, name)
    log = StudyLog(store, study_id)
    log.sync()
    if not log.fold.meta:  # new, or its creator died in between; the first such event counts
        log.append([event, config])
    _check_whole(name, log)
    if log.fold.directions != tuple(signs) and (direction is not None or directions is not None):
        known_ones = ", ".join("maximize" if sign < 0 else "minimize" for sign in log.fold.directions)
        _logger.warning("The study %r has its directions already (%s); the given ones are ignored.", name, known_ones)
    if seed is None and sampler is not None:
        _check_seed(name, log, chosen)
    elif seed is not None and seed != log.fold.meta["seed"]:
        _other_seed(name, log, seed)
    for what, given, known in (
        ("space", declared.to_dict() if declared is not None else None, log.fold.meta.get("space")),
        ("budget", budget, log.fold.meta.get("budget")),
    ):
        if given is not None and given != known:
            _logger.warning("The study %r has another %s (%s); the given one is ignored.", name, what, known)
    existing = len(log.fold.where) > 0 or log.fold.meta is not event
    return Study(name, log, chosen if sampler is not None or not existing else None,
                 rule if pruner is not None or not existing else None, artifacts=folder)  # fmt: skip


def checked_name(name: Any) -> str:
    """The name of a study.

    Raises:
        InvalidTypeError: it cannot be one.
    """
    if not isinstance(name, str) or not name:
        raise InvalidTypeError(f"`study_name` must be a non-empty string, but is {name!r}.")
    return name


def _count(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise InvalidValueError(f"`{what}` must be a non-negative integer, but is {value!r}.")
    return int(value)


def _seed(seed: int | None, sampler: BaseSampler) -> int:
    if seed is None:
        seed = sampler.study_seed
    return (
        _count(seed, "seed") if seed is not None else int(np.random.SeedSequence().generate_state(1, np.uint64)[0] >> 1)
    )


def _check_seed(name: str, log: StudyLog, sampler: BaseSampler) -> None:
    """Say so when a sampler brings a seed to a study that has another one; the study's own sampler may."""
    seed = sampler.study_seed
    if seed is not None and seed != log.fold.meta["seed"] and sampler.spec() != log.fold.config.get("sampler"):
        _other_seed(name, log, seed)


def _other_seed(name: str, log: StudyLog, seed: int) -> None:
    _logger.warning(
        "The study %r has another seed (%s), which it keeps; the given one (%s) is ignored. Use another study_name for "
        "another seed.",
        name,
        log.fold.meta["seed"],
        seed,
    )  # fmt: skip


def find_study(store: BaseStorage, name: str) -> str:
    """The id of a study.

    Raises:
        StudyNotFoundError: there is none of that name.
    """
    known = store.studies()
    for record in known:
        if record.name == name:
            return record.id
    names = ", ".join(repr(r.name) for r in known[:10]) or "none"
    raise StudyNotFoundError(f"There is no study {name!r} in this storage; it holds: {names}.")


def whole_log(store: BaseStorage, name: str) -> StudyLog:
    """The log of a study that is there.

    Raises:
        StudyNotFoundError: there is none of that name, or not all of it. LogDamagedError: it does not say by what
            method it is searched.
    """
    log = StudyLog(store, find_study(store, name))
    log.sync()
    if not log.fold.meta:
        raise StudyNotFoundError(
            f"The study {name!r} has a name but no content: its creator died. Call "
            "create_study(..., load_if_exists=True) to complete it, or delete_study."
        )
    _check_whole(name, log)
    if missing := {"sampler", "pruner"} - log.fold.config.keys():
        raise LogDamagedError(f"The log of the study {name!r} names no {' and no '.join(sorted(missing))}.")
    return log


def _check_whole(name: str, log: StudyLog) -> None:
    if log.position < log.fold.due:
        raise StudyNotFoundError(
            f"The study {name!r} is being copied: {log.position} of {log.fold.due} records are there. If nobody does "
            "that any more, delete_study it, and copy or import it again."
        )


def load_study(
    *,
    study_name: str | None,
    storage: str | BaseStorage,
    sampler: str | BaseSampler | None = None,
    pruner: str | BasePruner | None = None,
    artifacts: str | os.PathLike[str] | None = None,
) -> Study:
    """Load a study.

    Args:
        study_name: its name; ``None`` if the storage holds exactly one.
        storage: as for :func:`create_study`.
        sampler: by default the one the study was made with, with its arguments. The study keeps its seed: another
            one is ignored with a warning.
        pruner: likewise.
        artifacts: the folder given to :func:`create_study`, if there was one.

    Raises:
        StudyNotFoundError: (a ``KeyError``) no such study. InvalidValueError: ``None`` and several studies.
    """
    store, folder = get_storage(storage), folder_of(artifacts)
    if study_name is None:
        names = [r.name for r in store.studies()]
        if len(names) != 1:
            raise InvalidValueError(
                f"`study_name` may be None only if the storage holds one study; it holds {names[:10]}."
            )
        study_name = names[0]
    log = whole_log(store, study_name)
    chosen = None if sampler is None else get_sampler(sampler)
    if chosen is not None:
        _check_seed(study_name, log, chosen)
    return Study(study_name, log, chosen, None if pruner is None else get_pruner(pruner), artifacts=folder)


def delete_study(
    *, study_name: str, storage: str | BaseStorage, artifacts: str | os.PathLike[str] | None = None
) -> None:
    """Delete a study with its trials and their saved states.

    Args:
        study_name: its name.
        storage: as for :func:`create_study`.
        artifacts: the folder given to :func:`create_study`, if there was one.

    Raises:
        StudyNotFoundError: there is none of that name.
    """
    store, folder = get_storage(storage), folder_of(artifacts)
    study_id = find_study(store, study_name)
    store.delete(study_id)
    Snapshots(store, study_id).remove()
    with contextlib.suppress(InvalidValueError):  # no place of its own: states are in a folder that is not given here
        states_of(store, folder).remove(study_id)


def get_all_study_names(storage: str | BaseStorage) -> list[str]:
    """The names of all studies, in the order they were made."""
    return [record.name for record in get_storage(storage).studies()]


@dataclass
class StudySummary:
    """What one study holds, in short."""

    study_name: str
    directions: list[StudyDirection]
    best_trial: FrozenTrial | None
    user_attrs: dict[str, Any]
    system_attrs: dict[str, Any]
    n_trials: int
    datetime_start: datetime.datetime | None
    datetime_last: datetime.datetime | None
    states: dict[str, int]
    sampler: str

    @property
    def direction(self) -> StudyDirection:
        """The direction of a single-objective study."""
        if len(self.directions) != 1:
            raise RuntimeError("This study has several objectives; use `directions`.")
        return self.directions[0]


def get_all_study_summaries(storage: str | BaseStorage, include_best_trial: bool = True) -> list[StudySummary]:
    """A summary of each study, in the order they were made."""
    store = get_storage(storage)
    summaries = []
    for record in store.studies():
        log = StudyLog(store, record.id)
        log.sync()
        if not log.fold.meta or log.position < log.fold.due:
            continue
        study = Study(record.name, log)
        history = study.history
        best = None
        if include_best_trial and len(study.directions) == 1 and history.best_row is not None:
            best = study.best_trial
        counts = np.bincount(history.state, minlength=len(TrialState))
        for trial in history.open:
            counts[trial.state] += 1
        starts = [t.start for t in history.open if t.start] + history.start[history.start > 0].tolist()
        summaries.append(
            StudySummary(
                record.name,
                study.directions,
                best,
                study.user_attrs,
                study.system_attrs,
                int(counts.sum()),
                local_time(min(starts, default=0)),
                local_time(int(history.complete.max(initial=0))),
                {state.name: int(counts[state]) for state in TrialState if counts[state]},
                log.fold.config.get("sampler", {}).get("name", "?"),
            )
        )
    return summaries


def minimize(
    func: Any,
    space: Space | Mapping[str, BaseDistribution],
    n_trials: int,
    *,
    direction: str = "minimize",
    **options: Any,
) -> Study:
    """Search with a plain function of the parameters: ``minimize(lambda x, y: ..., {"x": Float(0, 1), ...}, 50)``.

    Args:
        func: called with the active parameters as keywords; returns the value.
        space: name -> distribution.
        n_trials: how many configurations.
        direction: ``"maximize"`` to do that instead.
        options: arguments of :func:`create_study` (``sampler``, ``seed``, ``storage`` ...) and of ``Study.optimize``
            (``n_jobs``, ``timeout``, ``catch`` ...).
    """
    if not callable(func):
        raise InvalidTypeError(f"The function to minimize must be callable, but is {func!r}.")
    declared = space if isinstance(space, Space) else Space(space)
    of_optimize = set(inspect.signature(Study.optimize).parameters) - {"self", "func", "n_trials"}
    run = {name: options.pop(name) for name in of_optimize & options.keys()}
    study = create_study(direction=direction, space=declared, **options)
    study.optimize(on_space(func, declared), n_trials, **run)
    return study


def on_space(func: Any, space: Space) -> Objective:
    """An objective that suggests every active parameter of ``space`` and calls ``func`` with them as keywords."""

    def objective(trial: Any) -> Any:
        return func(**suggest_all(trial, space))

    return objective


def suggest_all(trial: Any, space: Space) -> dict[str, Any]:
    """Suggest the parameters of a space in order, leaving out those whose condition is false."""
    params: dict[str, Any] = {}
    for name in space.ordered:
        if space.holds(name, params):
            params[name] = trial._suggest(name, space[name])
    return {name: params[name] for name in space if name in params}
