"""What usual stopping rules would have done in a comparison whose trials ran to their ends."""

from __future__ import annotations

import math

from tunesmith.compare import formatting
from tunesmith.compare.render import Cell, Column, Table
from tunesmith.compare.replays import replay_run
from tunesmith.compare.result import ComparisonResult, RuleOutcome, Run

#: Short name of a rule -> how the table calls it.
RULES = {"median": "median rule", "halving": "successive halving", "hyperband": "Hyperband"}

_NOTES = (
    "Each rule, with its defaults, was shown the curves of the complete trials, run by run in their order: a trial is "
    "stopped if the rule would have ended it, or paused it and never gone on with it.",
    "The configurations are taken as they were proposed. A search under a rule would have seen other results, proposed "
    "other configurations, and had the saved steps for more of them; so this says how far early results can be "
    "trusted here, not which rule is best.",
)


def outcomes(result: ComparisonResult) -> list[RuleOutcome]:
    """One a rule, over the finished runs that have curves of more than one step; none if there is no such run.

    Of methods with a rule of their own only those trials have whole curves that it has kept, so they are left out.
    """
    able = [run for run in result.runs if run.finished and run.method not in result.ruled]
    runs = [run for run in able if _has_curves(run, result.objective)]
    return [_outcome(result, runs, rule) for rule in RULES] if runs else []


def _outcome(result: ComparisonResult, runs: list[Run], rule: str) -> RuleOutcome:
    replays = [replay_run(run, result, rule) for run in runs]
    return RuleOutcome(
        rule=RULES[rule],
        runs=len(runs),
        trials=sum(len(r.steps) for r in replays),
        stopped=sum(len(r.stopped) for r in replays),
        steps=sum(sum(r.steps.values()) for r in replays),
        used=sum(r.used for r in replays),
        regrets=[r.regret for r in replays if r.best_stopped],
    )


def stopping_table(result: ComparisonResult) -> Table | None:
    """How often each rule would have stopped the trial that turned out best; None if no trial has a curve."""
    if not result.stopping:
        return None
    goal = formatting.spoken(result.objective, result.metrics)
    columns = [
        Column("rule", "left"), Column("trials stopped"), Column("steps saved", rank=1), Column("best trial stopped"),
        Column("worse by", rank=2),
    ]  # fmt: skip
    rows = [
        [
            Cell(o.rule),
            Cell(_percent(o.stopped / o.trials), o.stopped / o.trials),
            Cell(_percent(1.0 - o.used / o.steps), 1.0 - o.used / o.steps),
            Cell(f"in {len(o.regrets)} of {o.runs} {'run' if o.runs == 1 else 'runs'}", len(o.regrets)),
            _worse(o.regrets),
        ]
        for o in result.stopping
    ]
    trials, runs = result.stopping[0].trials, result.stopping[0].runs
    which = f"{trials} complete trials of {runs} {'run' if runs == 1 else 'runs'}"
    price = f"worse by: the best {goal} among the trials that are left, where the best one was stopped (mean of runs)."
    return Table(f"Stopping rules, played back to {which}", columns, rows, [price, *_NOTES])


def _worse(regrets: list[float]) -> Cell:
    """The mean; a run in which no trial was left has none."""
    finite = [r for r in regrets if math.isfinite(r)]
    mean = sum(finite) / len(finite) if finite else None
    text = "-" if mean is None else f"{mean:.3g}"
    empty = len(regrets) - len(finite)
    return Cell(f"{text} (nothing left in {empty})" if empty else text, mean)


def _percent(part: float) -> str:
    """``12 %``; not rounded to nothing or to all."""
    if 0.0 < part < 0.01 or 0.99 < part < 1.0:
        return "< 1 %" if part < 0.5 else "> 99 %"
    return f"{100 * part:.0f} %"


def _has_curves(run: Run, objective: str) -> bool:
    return any(t.state == "COMPLETE" and len(t.curves.get(objective, ())) > 1 for t in run.trials)
