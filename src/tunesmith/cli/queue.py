"""Searching from the shell: ``enqueue``, ``ask``, ``tell``, ``create``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli import inputs, options, output
from tunesmith.exceptions import CLIUsageError

if TYPE_CHECKING:
    from tunesmith.study import Study


def known_parameters(study: Study) -> dict[str, Any]:
    """Parameter -> distribution, as declared and as met so far."""
    return {**(study.space or {}), **study.history.distributions}


def enqueue(
    name: options.Name,
    storage: options.Storage = None,
    params: Annotated[
        str | None, typer.Option("--params", metavar="JSON|FILE", help="A configuration, or a list of them.")
    ] = None,
    param: options.Assignments = None,
    skip_if_exists: options.SkipIfExists = False,
    force: Annotated[bool, typer.Option("--force", help="Also names and values that the study has not met.")] = False,
) -> None:
    """Put a configuration in a study's queue.

    A search that is running takes it before it asks its method again. Parameters that are left out are sampled.
    """
    if params is not None and param:
        raise CLIUsageError("Give the configuration either as --params or as --param, not both.")
    if params is None and not param:
        raise CLIUsageError("Give the configuration as --param lr=0.01 (or several), or as --params '{\"lr\": 0.01}'.")
    with inputs.open_storage(storage) as store:
        study = inputs.load_study(name, store)
        known = known_parameters(study)
        if params is not None:
            configurations = inputs.read_params(params)
        else:
            configurations = [inputs.parse_assignments(param or [], known)]
        if not force:
            for configuration in configurations:
                inputs.check_known(configuration, known)
        before = study.history.n_trials
        for configuration in configurations:
            study.enqueue_trial(configuration, skip_if_exists=skip_if_exists)
        after = study.history
        added = after.n_trials - before
        waiting = sum(row.state.name == "WAITING" for row in after.open)
    if skip_if_exists and not added:
        output.line("There is such a trial already; nothing was enqueued.")
        return
    for configuration in configurations:
        output.line("Enqueued: " + ", ".join(f"{n}={v!r}" for n, v in configuration.items()))
    output.line(f"{waiting} {'trial is' if waiting == 1 else 'trials are'} waiting in {name!r}.")


def ask(
    name: options.Name,
    storage: options.Storage = None,
    space: options.SpaceText = None,
) -> None:
    """Take the next configuration, to evaluate it yourself.

    Prints one line of JSON, {"number": ..., "params": {...}}. Give the result back with `tunesmith tell`. Without
    --space the study's own parameters are used.
    """
    from tunesmith.space import Space

    given = None if space is None else inputs.read_space(space)
    with inputs.open_storage(storage) as store:
        study = inputs.load_study(name, store)
        searched = given or study.space or Space(study.history.distributions)
        if not len(searched):
            raise CLIUsageError(f"The study {name!r} does not know its parameters yet; add --space.")
        trial = study.ask(searched)
        output.print_json({"number": trial.number, "params": trial.params}, indent=None)


def tell(
    name: options.Name,
    storage: options.Storage = None,
    number: Annotated[
        int,
        options.count("--number", "-n", low=0, help="The trial's number, as `ask` printed it."),
    ] = ...,  # type: ignore[assignment]
    values: Annotated[
        list[float] | None,
        options.number("--values", "--value", "-v", help="The result; again for each further objective."),
    ] = None,
    state: Annotated[
        options.EndState | None,
        options.choice(options.EndState, "--state", help="Default: complete."),
    ] = None,
    skip_if_finished: Annotated[
        bool, typer.Option("--skip-if-finished", help="No error if the trial has been told already.")
    ] = False,
) -> None:
    """Give back the result of a trial that `ask` handed out."""
    from tunesmith.trial import TrialState

    if not values and state is None:
        raise CLIUsageError("Give the result, --values 0.12, or the trial's end, --state fail (or pruned).")
    with inputs.open_storage(storage) as store:
        study = inputs.load_study(name, store)
        ended = None if state is None else TrialState[state.name.upper()]
        if values and ended in (None, TrialState.COMPLETE):
            _check_number_of_values(study, values)
        trial = study.tell(number, values or None, ended, skip_if_finished=skip_if_finished)
        result = "" if trial.values is None else f", {', '.join(repr(v) for v in trial.values)}"
        output.line(f"Trial {trial.number} of {name!r}: {trial.state.name}{result}")


def _check_number_of_values(study: Study, values: list[float]) -> None:
    """Refuse too few or too many before anything is told: the trial stays open."""
    goals = [d.name.lower() for d in study.directions]
    if len(values) != len(goals):
        takes = "1 objective, so --values is given once" if len(goals) == 1 else (
            f"{len(goals)} objectives ({', '.join(goals)}), so --values is given {len(goals)} times"
        )  # fmt: skip
        got = f"{len(values)} value{'' if len(values) == 1 else 's'}"
        raise CLIUsageError(f"The study {study.study_name!r} has {takes}, but got {got}: {values}.")


def create(
    name: options.Name,
    storage: options.Storage = None,
    direction: Annotated[
        list[options.DirectionName] | None,
        options.choice(
            options.DirectionName, "--direction", "-d", help="Again for each further objective. Default: minimize."
        ),
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option("--sampler", metavar="METHOD", help='random (default), sobol, "pso(topology=ring)", ...'),
    ] = None,
    pruner: Annotated[
        str | None,
        typer.Option("--pruner", metavar="RULE", help='median (default), nop, "percentile(percentile=10)", ...'),
    ] = None,
    space: options.SpaceText = None,
    budget: Annotated[
        int | None,
        options.count("--budget", low=1, help="Planned trials; a grid needs it."),
    ] = None,
    seed: Annotated[
        int | None,
        options.count("--seed", low=0, help="Of everything random. Default: a fresh one."),
    ] = None,
    skip_if_exists: options.SkipIfExists = False,
) -> None:
    """Make a study (and its storage if there is none)."""
    from tunesmith.study import create_study, get_all_study_names

    declared = None if space is None else inputs.read_space(space)
    method = None if sampler is None else inputs.read_sampler(sampler, declared, budget)
    rule = None if pruner is None else inputs.read_pruner(pruner)
    directions = [d.value for d in direction] if direction else None
    with inputs.open_storage(storage, create=True) as store:
        existed = name in get_all_study_names(store)
        if existed and not skip_if_exists:
            raise CLIUsageError(
                f"A study named {name!r} is already in this storage: add --skip-if-exists to leave it as it is, or use "
                "another name."
            )
        study = create_study(
            study_name=name, storage=store, directions=directions, sampler=method, pruner=rule, space=declared,
            budget=budget, seed=seed, load_if_exists=skip_if_exists,
        )  # fmt: skip
        if existed:
            output.line(f"The study {name!r} exists already; it is as it was.")
        else:
            output.line(f"Created the study {study.study_name!r} in {inputs.shown(storage)} (seed {study.seed}).")
