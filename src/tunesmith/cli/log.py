"""``tunesmith log``: what has happened to a study."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from tunesmith.cli import options, output
from tunesmith.cli.inputs import load_study, open_storage
from tunesmith.cli.studies import local


def log(
    name: options.OptionalName = None,
    storage: options.Storage = None,
    last: Annotated[int | None, options.count("--last", low=0, help="Only the last N lines.")] = None,
    trial: Annotated[int | None, options.count("--trial", low=0, help="Only what is about this trial.")] = None,
    format: options.AsTable = options.TableFormat.table,
) -> None:
    """Show what happened to a study: when, what, by whom.

    Trials that were edited or deleted are in there as they were. The number in front counts the records of the log.
    """
    with open_storage(storage) as store:
        found = load_study(name, store).events()
    found = [entry for entry in found if trial in (None, entry.trial)]
    if last is not None:
        found = found[len(found) - min(last, len(found)) :]
    if format is options.TableFormat.json:
        output.print_json([dataclasses.asdict(entry) for entry in found])
        return
    width = max((len(str(entry.position)) for entry in found), default=0)
    for entry in found:
        who = f"  [{entry.who}]" if entry.who else ""
        output.line(f"{entry.position:{width}}  {local(entry.time):19}  {entry.text}{who}")
