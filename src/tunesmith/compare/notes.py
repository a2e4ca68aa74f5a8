"""What was compared and how, in sentences: without them the numbers would mislead."""

from __future__ import annotations

from tunesmith.compare import analysis, formatting
from tunesmith.compare.result import ComparisonResult


def notes(result: ComparisonResult) -> list[str]:
    """What was compared and how, in sentences; everything that went wrong is among them."""
    lines = [] if result.complete else [_unfinished(result)]
    spread = "mean ± standard deviation (n - 1) over repeats" if result.repeats > 1 else "a single repeat, no spread"
    others = ""
    if len(result.metrics) + len(result.test_metrics) > 1:
        goal = formatting.spoken(result.objective)
        others = f"; the other columns belong to the configuration with the best {goal} of each run"
    lines.append(f"Numbers are the {spread}{others}. * marks the best mean, which alone is no evidence: see the tests.")
    lines.append(
        f"Every method had {count(result.trials, 'trial')} in each of {count(result.repeats, 'repeat')}. Repeat by "
        "repeat all methods saw the same data split and the same training seeds, so differences are paired. Sampler "
        f"seeds are drawn from {result.seed}."
    )
    lines += [f"{m.label}: {m.note}" for m in result.methods if m.note]
    lines += _test_notes_one(result)
    lines += _trouble(result)
    lines += [f"{label} took no part: {reason}" for label, reason in result.skipped.items()]
    lines += result.remarks
    if result.n_jobs > 1:
        lines.append(f"{result.n_jobs} studies ran at a time, so the times include waiting for each other.")
    return lines


def _unfinished(result: ComparisonResult) -> str:
    total = len(result.methods) * result.repeats
    done = sum(run.finished for run in result.runs)
    return f"UNFINISHED: {done} of {total} runs are done and only these are counted. The same command again goes on."


def _test_notes_one(result: ComparisonResult) -> list[str]:
    if not result.test_metrics:
        return ["The problem has no test split: these values are those the methods searched by, hence optimistic."]
    lines = [
        "The test split chose nothing: it was used once for each run's best configuration, trained again with the seed "
        "of its trial."
    ]
    again = [run for run in result.runs if run.retrained is not None]
    moved = sum(run.retrained != run.best_value for run in again)
    if moved:
        lines.append(
            f"Training is not reproducible here: in {moved} of {len(again)} runs the second training ended with "
            f"another {formatting.spoken(result.objective)} than the first."
        )
    return lines


def _trouble(result: ComparisonResult) -> list[str]:
    lines = []
    failed = analysis.failures(result)
    total = sum(len(run.trials) for run in result.runs)
    if failed:
        parts = ", ".join(f"{label} {n}" for label, n in failed.items())
        reason = next((t.error for run in result.runs for t in run.trials if t.error), "")
        first = f" The first: {reason.rstrip('.')[:200]}." if reason else ""
        lines.append(f"{sum(failed.values())} of {total} trials failed and count as spent budget: {parts}.{first}")
    for label in result.labels:
        runs = [run for run in result.of(label) if run.finished]
        empty = [run.repeat for run in runs if run.best is None]
        if empty and len(empty) == len(runs):
            lines.append(f"{label} has no complete trial in any repeat.")
        elif empty:
            lines.append(
                f"{label} has no complete trial in {count(len(empty), 'repeat')} ({_numbers(empty)}); its mean leaves "
                "these out, which flatters it."
            )
    pruned = sum(t.state == "PRUNED" for run in result.runs for t in run.trials)
    if pruned:
        lines.append(f"{pruned} of {total} trials were stopped early; they count as spent budget.")
    errors = [run for run in result.runs if run.test_error]
    if errors:
        where = ", ".join(f"{run.method} repeat {run.repeat}" for run in errors[:3])
        reason = errors[0].test_error
        lines.append(f"The test could not be evaluated in {count(len(errors), 'run')} ({where}): {reason}")
    return lines


def count(n: int, word: str) -> str:
    """``1 trial``, ``2 trials``."""
    return f"{n} {word}" if n == 1 else f"{n} {word}s"


def _numbers(values: list[int]) -> str:
    return ", ".join(map(str, values[:8])) + (", ..." if len(values) > 8 else "")
