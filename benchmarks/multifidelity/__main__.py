"""The command: ``run``, ``report`` and ``tune``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from benchmarks.common.names import numbers, one_thread, split

BUDGETS = (50, 100, 250, 500, 1000, 2500)


def _run(options: argparse.Namespace) -> None:
    from benchmarks.multifidelity import runs, tables

    names = tables.choose(options.tasks)
    tasks = runs.wanted(split(options.methods), names, options.workers, options.seeds, options.budgets)
    runs.make(tasks, options.out, options.jobs)


def _report(options: argparse.Namespace) -> None:
    from benchmarks.common import keeping
    from benchmarks.multifidelity import report, runs, tables

    chosen = set(tables.choose(options.tasks))
    lines = [
        line for line in runs.read(options.files)
        if line["table"] in chosen and line["seed"] in (options.seeds or [line["seed"]])
    ]  # fmt: skip
    for workers in options.workers or sorted({line["workers"] for line in lines}):
        mine = [line for line in lines if line["workers"] == workers]
        scores = report.collect(mine, split(options.methods) or None, tuple(options.budgets), options.test)
        print(report.render(scores, f"{workers} workers" if workers > 1 else "1 worker", options.against,
                            options.by_task) + "\n")  # fmt: skip
    keeping.print_failed(lines)


def _tune(options: argparse.Namespace) -> None:
    from benchmarks.multifidelity import tuning

    tuning.tune(tuple(options.budgets), tuple(options.workers), options.repeats)


def _common(parser: argparse.ArgumentParser, do: object) -> None:
    parser.add_argument("--budgets", type=numbers, default=list(BUDGETS), help="epochs, with commas between them")
    parser.set_defaults(do=do)


def main() -> None:
    one_thread()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.multifidelity", description=__doc__)
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="make the runs that the output lacks")
    run.add_argument("--methods", nargs="+", required=True, help="names, with commas or blanks between them")
    run.add_argument("--tasks", default="dev", help="dev, confirm, all, or (parts of) names; default dev")
    run.add_argument("--workers", type=numbers, default=[1], help="virtual workers, such as 1,4,16; default 1")
    run.add_argument("--seeds", type=numbers, default=numbers("0-4"), help="such as 0-4 (the default)")
    run.add_argument("--jobs", type=int, default=1, help="processes; default 1")
    run.add_argument("--data", help="path of taskset_rnn_imdb.npz; default $TUNESMITH_TASKSET")
    run.add_argument("--out", type=Path, default=Path("multifidelity.jsonl"))
    _common(run, _run)
    report = commands.add_parser("report", help="print regret and rank as Markdown")
    report.add_argument("files", nargs="+", type=Path)
    report.add_argument("--methods", nargs="+", default=[], help="which; default all")
    report.add_argument("--tasks", default="all")
    report.add_argument("--workers", type=numbers, default=None, help="default: all there are, one table each")
    report.add_argument("--seeds", type=numbers, default=None)
    report.add_argument("--against", help="a method: show paired differences to it")
    report.add_argument("--by-task", action="store_true", help="a block for each task too")
    report.add_argument("--test", action="store_true", help="test loss of the incumbent instead of its validation loss")
    _common(report, _report)
    tune = commands.add_parser("tune", help="find how the top-k baseline spends each budget best")
    tune.add_argument("--workers", type=numbers, default=[1, 4, 16])
    tune.add_argument("--repeats", type=int, default=24, help="random orders of the configurations")
    tune.add_argument("--data", help="path of taskset_rnn_imdb.npz; default $TUNESMITH_TASKSET")
    _common(tune, _tune)
    options = parser.parse_args()
    if getattr(options, "data", None):
        os.environ["TUNESMITH_TASKSET"] = options.data
    options.do(options)


if __name__ == "__main__":
    main()
