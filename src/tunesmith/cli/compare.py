"""``tunesmith compare``."""

from __future__ import annotations

import inspect
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tunesmith.cli import experiment, output, progress
from tunesmith.cli.guard import INTERRUPTED, TERMINATED, debugging, say, stopped_by_sigterm
from tunesmith.cli.options import count
from tunesmith.exceptions import InvalidValueError


def compare(
    file: Annotated[
        str | None, typer.Argument(metavar="EXPERIMENT.yaml", help="What to compare; options override it.")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="NAME", help="Data set. Default: fashion-mnist-small.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help="Network. Default: lenet5.")] = None,
    space: Annotated[
        str | None,
        typer.Option("--space", metavar="NAME|JSON|FILE", help="small (default), medium, all, or parameters."),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods",
            metavar="M,M,...",
            help=f"Search methods; with a stopping rule: tpe+asha. Default: {','.join(experiment.DEFAULT_METHODS)}.",
        ),
    ] = None,
    trials: Annotated[
        int | None,
        count("--trials", low=1, help="Trials (whole trainings) of each method in each repeat. Default: 25."),
    ] = None,
    repeats: Annotated[
        int | None,
        count("--repeats", low=1, help="Repeats of each method. Default: 10."),
    ] = None,
    epochs: Annotated[
        int | None,
        count("--epochs", low=1, help="Epochs of each trial. Default: 10."),
    ] = None,
    steps: Annotated[
        int | None,
        count("--steps", low=1, help="Epochs of a whole training, for rules, if the space has the epochs."),
    ] = None,
    seed: Annotated[
        int | None,
        count("--seed", low=0, help="Of everything random. Default: 0."),
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="DIR", help=f"Folder. Default: {experiment.DEFAULT_OUT}.")
    ] = None,
    jobs: Annotated[
        int | None,
        count(
            "--jobs",
            "-j",
            low=1,
            also=-1,
            help="Studies at a time (with lanes: threads); -1 for one a core. Default: 1.",
        ),
    ] = None,
    lanes: Annotated[
        str | None,
        count("--lanes", low=1, also="auto", help="Trials that are trained side by side as one program, or auto."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress; only the result.")] = False,
) -> None:
    """Compare search methods on one network and data set.

    Every method gets the same trials in every repeat, on the same split and with the same training seeds. Prints the
    tables, and writes them with all data and an HTML report to the folder.

    A method may have a stopping rule: `tpe+asha`, `random+hyperband(reduction_factor=4)`. Its budget is the training
    that `--trials` whole trials take, counted in epochs, for as many configurations as the rule gets out of it.

    It can be interrupted: the same command again does only what is missing.

    `tunesmith names` lists the methods, rules, data sets, models and spaces.
    """
    flags = {
        "data": data, "model": model, "space": space, "methods": methods, "trials": trials, "repeats": repeats,
        "epochs": epochs, "steps": steps, "seed": seed, "out": out, "jobs": jobs, "lanes": lanes,
    }  # fmt: skip
    entries = experiment.merged(experiment.load(file) if file is not None else {}, flags)
    problem = experiment.make_problem(entries)
    folder = str(entries.get("out", experiment.DEFAULT_OUT))
    result = _run(problem, entries, folder, quiet)
    _show(result, folder)


def _run(problem: Any, entries: dict[str, Any], folder: str, quiet: bool) -> Any:
    from tunesmith import logging
    from tunesmith.compare import compare as run

    methods, budget = experiment.methods_of(entries), experiment.budget(entries)
    before = logging.get_verbosity()
    if not debugging():
        logging.set_verbosity(logging.ERROR)  # failed trials are counted in the progress and in the table's notes
    trials = budget.get("trials", inspect.signature(run).parameters["trials"].default)
    listener = progress.choose(
        progress.Tally(problem.epochs, trials), quiet, _plan(run, problem, methods, budget, folder)
    )
    try:
        with stopped_by_sigterm() as terminated, listener:
            return run(problem, methods, out=folder, on_progress=listener, **budget)
    except KeyboardInterrupt:
        tally = listener.tally
        known = f"{tally.done} of {tally.total} {tally.unit} are done and kept in"
        done = known if tally.total else "Nothing is lost in"
        say(f"\nInterrupted: {done} {folder}/. The same command goes on from there:\n  {_command()}")
        _refresh(folder)
        raise typer.Exit(TERMINATED if terminated else INTERRUPTED) from None
    except OSError as error:
        raise _about_folder(folder, error) from error
    finally:
        logging.set_verbosity(before)


def _refresh(folder: str) -> None:
    """Let tables and report of an earlier session say what the folder holds now."""
    from tunesmith.compare import ComparisonResult
    from tunesmith.compare.report import write_all

    if (Path(folder) / "tables.md").exists():
        write_all(ComparisonResult.load(folder), folder)


def _about_folder(folder: str, error: OSError) -> Exception:
    """The error itself, unless it is the folder that cannot be made or written to."""
    what = "write to" if Path(folder).is_dir() else "create"
    if what == "write to" and os.access(folder, os.W_OK):
        return error
    return InvalidValueError(f"`out`: cannot {what} the folder {folder!r}: {error.strerror}. Name another one.")


def _plan(run: Any, problem: Any, methods: Any, budget: dict[str, Any], folder: str) -> str:
    """What is about to happen, in a sentence."""
    from tunesmith.compare.methods import parse_methods

    defaults = {name: p.default for name, p in inspect.signature(run).parameters.items()}
    trials, repeats = (budget.get(name, defaults[name]) for name in ("trials", "repeats"))
    specs = parse_methods(methods)
    ruled = any(spec.rule is not None for spec in specs)
    budget_of_each = f"the training of {trials} whole trials each" if ruled else f"{trials} trials each"
    return (
        f"Comparing {', '.join(spec.label for spec in specs)} on {problem.model} and {problem.data}: {budget_of_each} "
        f"in {repeats} repeat{'' if repeats == 1 else 's'}, {problem.epochs} "
        f"epoch{'' if problem.epochs == 1 else 's'} a trial. Folder: {folder}/"
    )


def _command() -> str:
    """The command line of this process, for copying."""
    return shlex.join(["tunesmith", *sys.argv[1:]])


def _show(result: Any, folder: str) -> None:
    """The tables on standard output, everything in files, and where it is."""
    from tunesmith.compare.report import missing, write_all
    from tunesmith.compare.tables import print_tables

    paths = write_all(result, folder)
    with output.tidy() as target:
        print_tables(result, target)
    output.line()
    files = ", ".join(sorted(Path(path).name for path in paths.values()))
    entries = [("Files", f"{folder.rstrip(os.sep)}{os.sep}: {files}")]
    output.pairs([*entries, ("Report", str(paths["report"]) if "report" in paths else str(missing()))])
