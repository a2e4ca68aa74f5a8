"""``tunesmith advise``: what to run, before anything is run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli import experiment, inputs, options, output
from tunesmith.exceptions import CLIUsageError

if TYPE_CHECKING:
    from tunesmith.advice import Advice
    from tunesmith.space import Space


def advise(
    space: Annotated[
        str | None,
        typer.Option(
            "--space",
            metavar="JSON|FILE|SIZE",
            help="Parameters: {name: {type: float, low: 0, high: 1}, ...}; with --model also small, medium or all.",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="A model family: its space is what is searched.")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="NAME", help="With --model. Default: fashion-mnist-small.")
    ] = None,
    trials: Annotated[
        int | None, options.count("--trials", low=1, help="How many you can afford. Default: to be told.")
    ] = None,
    jobs: Annotated[int, options.count("--jobs", "-j", low=1, help="Trials that run at a time. Default: 1.")] = 1,
    objectives: Annotated[int, options.count("--objectives", low=1, help="How many. Default: 1.")] = 1,
    epochs: Annotated[
        int | None, options.count("--epochs", low=1, help="Reports of a trial. Default: 1, with --model 10.")
    ] = None,
    seconds: Annotated[float | None, options.number("--seconds", help="A trial takes.")] = None,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="The same configuration always gives the same value.")
    ] = False,
    format: options.AsTable = options.TableFormat.table,
) -> None:
    """Say which method, rule and number of trials suit a space."""
    from tunesmith import advice

    if seconds is not None and not 0 < seconds < float("inf"):
        raise CLIUsageError(f"--seconds takes a positive number, not {seconds!r}.")
    searched, reports = _searched(space, model, data, epochs)
    found = advice.advise(
        searched, trials=trials, jobs=jobs, objectives=objectives, epochs=reports, seconds_per_trial=seconds,
        deterministic=deterministic,
    )  # fmt: skip
    if format is options.TableFormat.json:
        output.print_json(found.to_dict())
    else:
        _show(found, jobs)


def _searched(space: str | None, model: str | None, data: str | None, epochs: int | None) -> tuple[Space, int]:
    """The space, and how often a trial reports."""
    if model is None and data is None:
        if space is None:
            raise CLIUsageError("Say what is searched: --space '{\"lr\": ...}', --space FILE, or --model lenet5.")
        return inputs.read_space(space), epochs or 1
    entries: dict[str, Any] = {"data": data, "model": model, "space": space, "epochs": epochs}
    problem = experiment.make_problem(experiment.merged({}, entries))
    return problem.space, int(problem.epochs)


def _show(found: Advice, jobs: int) -> None:
    rows = []
    for stage in found.methods:
        arguments = "".join(f", {name}={value!r}" for name, value in stage.options.items())
        since = f" from trial {stage.first} on" if stage.first else ""
        rows.append(("Method", f"{stage.method}{arguments}{since}: {stage.reason}"))
    rows.append(("Trials", f"{found.trials}: {found.trials_reason}."))
    if found.seconds is not None:
        rows.append(("Time", f"{output.duration(found.seconds)}, {jobs} at a time."))
    rows.append(("Stops", f"{found.pruner}: {found.pruner_reason}."))
    rows += [("Mind", warning) for warning in found.warnings]
    output.pairs(rows)
    output.line()
    output.line(f'create_study(sampler="auto", pruner="{found.pruner}", budget={found.trials}) does this.')
