"""The application: every command in one place."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tunesmith.cli import advise, compare, importing, listing, log, manage, network, queue, studies, watch
from tunesmith.cli.guard import DEBUG_VARIABLE, guarded


class _Group(TyperGroup):
    """The group of all commands: errors become messages, and ``--debug`` may stand anywhere."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        if "--debug" in args[:end]:
            args = ["--debug", *(a for a in args[:end] if a != "--debug"), *args[end:]]
        with guarded(debug="--debug" in args[:1]):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        with guarded(debug=bool(ctx.params.get("debug"))):
            return super().invoke(ctx)


app = typer.Typer(
    cls=_Group,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from tunesmith import __version__

        typer.echo(f"tunesmith {__version__}")
        raise typer.Exit


@app.callback()
def tunesmith(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help=f"Show the traceback of an error (also: {DEBUG_VARIABLE}=1).")
    ] = False,
) -> None:
    """Hyperparameter search for neural networks: compare search methods, look at studies, take part in them."""
    from tunesmith import logging

    if logging.get_verbosity() == logging.INFO:
        logging.set_verbosity(logging.WARNING)


for _command, _panel in (
    (compare.compare, "Compare"),
    (advise.advise, "Compare"),
    (studies.studies, "Look"),
    (studies.show, "Look"),
    (studies.best, "Look"),
    (studies.trials, "Look"),
    (log.log, "Look"),
    (watch.watch, "Look"),
    (manage.export, "Look"),
    (queue.create, "Search"),
    (queue.enqueue, "Search"),
    (queue.ask, "Search"),
    (queue.tell, "Search"),
    (manage.copy, "Manage"),
    (manage.import_, "Manage"),
    (importing.import_optuna, "Manage"),
    (manage.delete, "Manage"),
    (network.model, "Know"),
    (listing.names, "Know"),
):
    app.command(_command.__name__.strip("_").replace("_", "-"), rich_help_panel=_panel)(_command)


def run() -> None:
    """Run the command line of this process."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # names from a log may hold what a terminal cannot show
    app()
