"""The command: ``run`` and ``report``."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.common.names import numbers, one_thread, split


def _run(options: argparse.Namespace) -> None:
    one_thread()
    from benchmarks.efficiency import runs, tables

    tasks = [
        runs.Task(method, table, seed, options.trials)
        for seed in options.seeds
        for table in tables.choose(options.tables)
        for method in split(options.methods)
    ]
    runs.make(tasks, options.out, options.jobs)


def _report(options: argparse.Namespace) -> None:
    from benchmarks.common import keeping
    from benchmarks.efficiency import report, runs, tables

    lines = runs.read(options.files)
    chosen = set(tables.choose(options.tables))
    kept = [line for line in lines if line["table"] in chosen and line["seed"] in (options.seeds or [line["seed"]])]
    scores = report.collect(kept, split(options.methods) or None, report.BUDGETS)
    print(report.render(scores, options.against, options.by_table))
    keeping.print_failed(kept)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.efficiency", description=__doc__)
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="make the runs that the output lacks")
    run.add_argument("--methods", nargs="+", required=True, help="names, with commas or blanks between them")
    run.add_argument("--tables", default="dev", help="dev, confirm, all, or (parts of) names; default dev")
    run.add_argument("--seeds", type=numbers, default=numbers("0-4"), help="such as 0-4 (the default)")
    run.add_argument("--trials", type=int, default=60)
    run.add_argument("--jobs", type=int, default=1, help="processes; times are only good with 1 (the default)")
    run.add_argument("--out", type=Path, default=Path("efficiency.jsonl"))
    run.set_defaults(do=_run)
    report = commands.add_parser("report", help="print regret, rank and time as Markdown")
    report.add_argument("files", nargs="+", type=Path)
    report.add_argument("--methods", nargs="+", default=[], help="which; default all")
    report.add_argument("--tables", default="all")
    report.add_argument("--seeds", type=numbers, default=None)
    report.add_argument("--against", help="a method: show paired differences to it")
    report.add_argument("--by-table", action="store_true", help="a block for each table too")
    report.set_defaults(do=_report)
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
