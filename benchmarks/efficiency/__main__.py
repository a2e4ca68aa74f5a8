"""The command: ``run`` and ``report``."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from pathlib import Path


def _seeds(text: str) -> list[int]:
    """``"0-4"``, ``"3"``, ``"0,2,5-7"``."""
    bounds = [part.partition("-")[::2] for part in text.split(",")]
    return [seed for low, high in bounds for seed in range(int(low), int(high or low) + 1)]


def _run(options: argparse.Namespace) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    from benchmarks.efficiency import runs, tables  # NumPy reads the variables when it is imported
    from benchmarks.efficiency.methods import split

    tasks = [
        runs.Task(method, table, seed, options.trials)
        for seed in options.seeds
        for table in tables.choose(options.tables)
        for method in split(options.methods)
    ]
    runs.make(tasks, options.out, options.jobs)


def _report(options: argparse.Namespace) -> None:
    from benchmarks.efficiency import report, runs, tables
    from benchmarks.efficiency.methods import split

    lines = runs.read(options.files)
    chosen = set(tables.choose(options.tables))
    kept = [line for line in lines if line["table"] in chosen and line["seed"] in (options.seeds or [line["seed"]])]
    scores = report.collect(kept, split(options.methods) or None, report.BUDGETS)
    print(report.render(scores, options.against, options.by_table))
    failed = Counter((line["method"], line["error"].splitlines()[-1]) for line in kept if "error" in line)
    for (method, error), count in failed.items():
        print(f"{count} runs of {method} failed: {error}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.efficiency", description=__doc__)
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="make the runs that the output lacks")
    run.add_argument("--methods", nargs="+", required=True, help="names, with commas or blanks between them")
    run.add_argument("--tables", default="dev", help="dev, confirm, all, or (parts of) names; default dev")
    run.add_argument("--seeds", type=_seeds, default=_seeds("0-4"), help="such as 0-4 (the default)")
    run.add_argument("--trials", type=int, default=60)
    run.add_argument("--jobs", type=int, default=1, help="processes; times are only good with 1 (the default)")
    run.add_argument("--out", type=Path, default=Path("efficiency.jsonl"))
    run.set_defaults(do=_run)
    report = commands.add_parser("report", help="print regret, rank and time as Markdown")
    report.add_argument("files", nargs="+", type=Path)
    report.add_argument("--methods", nargs="+", default=[], help="which; default all")
    report.add_argument("--tables", default="all")
    report.add_argument("--seeds", type=_seeds, default=None)
    report.add_argument("--against", help="a method: show paired differences to it")
    report.add_argument("--by-table", action="store_true", help="a block for each table too")
    report.set_defaults(do=_report)
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
