"""What was compared and how, in sentences: without them the numbers would mislead."""

from __future__ import annotations

from tunesmith.compare import analysis, formatting
from tunesmith.compare.result import ComparisonResult, metric_direction


def notes(result: ComparisonResult) -> list[str]:
    """What was compared and how, in sentences; everything that went wrong is among them."""
    lines = [] if result.complete else [_unfinished(result)]
    several = result.repeats > 1
    spread = "the mean ± standard deviation (n - 1) over repeats" if several else "those of a single repeat, no spread"
    others = stars = ""
    if len(result.metrics) + len(result.test_metrics) > 1:
        goal = formatting.spoken(result.objective, result.metrics)
        others = f"; the other columns belong to the configuration with the best {goal} of each run"
    if len(result.labels) > 1:
        stars = f" * marks the best {'mean' if several else 'value'}, which alone is no evidence: see the tests."
    lines.append(f"Numbers are {spread}{others}.{stars}")
    said = [_budget(result), _pairing(result), f"Sampler seeds are drawn from {result.seed}."]
    lines.append(" ".join(filter(None, said)))
    lines += _rules(result)
    lines += [f"{m.label}: {m.note}" for m in result.methods if m.note]
    lines += _without_direction(result) + _gaps(result)
    lines += _test_notes_one(result)
    lines += _trouble(result)
    lines += [f"{label} took no part: {reason}" for label, reason in result.skipped.items()]
    lines += result.remarks
    if result.lanes is not None:
        lines.append(
            f"{result.n_jobs} studies ran at a time and were trained together in lanes; the time of a trial is its "
            "share of the time of its stack."
        )
    elif result.n_jobs > 1:
        lines.append(f"{result.n_jobs} studies ran at a time, so the times include waiting for each other.")
    return lines


def _budget(result: ComparisonResult) -> str:
    """How many trials the methods had, counted in their runs."""
    counts = analysis.trial_counts(result)
    if result.ruled:
        return _training(result, {label: n for label, n in counts.items() if label not in result.ruled})
    each = count(result.trials, "trial") + (f" in each of {result.repeats} repeats" if result.repeats > 1 else "")
    early = _early(result, counts)
    if not early:
        return f"Every method had {each}." if result.complete else f"Every method has a budget of {each}."
    return f"Every method had a budget of {each}; nothing was left to propose for {early}."


def _early(result: ComparisonResult, counts: dict[str, list[int]]) -> str:
    """``grid after 24, random after 9 to 12``: who has not used up the budget of trials."""
    early = {label: n for label, n in counts.items() if any(k < result.trials for k in n)}
    return ", ".join(f"{label} after {span(n)}" for label, n in early.items())


def _training(result: ComparisonResult, without: dict[str, list[int]]) -> str:
    """The budget where some methods have a stopping rule; ``without`` are the trials of the others."""
    steps = result.steps or 1
    had = "had" if result.complete else "has"
    each = f" in each of {result.repeats} repeats" if result.repeats > 1 else ""
    lines = [
        f"Every method {had} the same budget of training{each}: {result.trials * steps} {result.unit}s, which "
        f"{count(result.trials, 'whole training')} of {count(steps, result.unit)} take."
    ]
    if early := _early(result, without):
        lines.append(f"Nothing was left to propose for {early} trials.")
    spent = {m: n for m, n in analysis.steps_spent(result).items() if m in result.ruled}
    if less := ", ".join(f"{m} after {span(n)}" for m, n in spent.items() if any(k < result.trials * steps for k in n)):
        lines.append(f"Nothing was left to do for {less} {result.unit}s.")
    return " ".join(lines)


def _rules(result: ComparisonResult) -> list[str]:
    """What the methods with stopping rules have done with their budget."""
    begun, complete = analysis.trial_counts(result), analysis.complete_counts(result)
    lines = []
    for label in result.ruled:
        if begun[label]:
            runs = "a run" if result.repeats > 1 else "its run"
            stopped = (
                sum(begun[label]) - sum(complete[label]) - sum(run.n_failed for run in result.of(label) if run.finished)
            )
            lines.append(
                f"{label} began {span(begun[label])} trials in {runs} and trained {span(complete[label])} of them to "
                f"the end; its best is one of these. {count(stopped, 'trial')} in all {_were(stopped)} stopped by its "
                "rule or by the end of the budget."
            )
    return lines


def _were(n: int) -> str:
    return "was" if n == 1 else "were"


def shared(result: ComparisonResult) -> str:
    """What the runs of one repeat share, e.g. "the same data split and the same training seeds"; "" when nothing.

    Of a plain function it is known what it asks for (``wants`` in its problem); other problems follow the protocol,
    where an axis ``seed`` or ``data`` of the space decides instead of the repeat.
    """
    wants = _wants(result)
    if wants is not None:
        known = {"repeat": "the same repeat number", "seed": "the same training seeds"}
        return " and ".join(text for name, text in known.items() if name in wants)
    split = "the same split of each data set" if _searched(result, "data") else "the same data split"
    return split if _searched(result, "seed") else f"{split} and the same training seeds"


def _wants(result: ComparisonResult) -> list[str] | None:
    wants = result.problem.get("wants")
    return list(wants) if isinstance(wants, (list, tuple)) else None


def _searched(result: ComparisonResult, name: str) -> bool:
    axis = result.parsed_space().get(name)
    return axis is not None and not axis.single()


def _pairing(result: ComparisonResult) -> str:
    """Why differences are paired, or why pairing brings nothing; "" where there is nothing to pair."""
    if len(result.labels) < 2:
        return ""
    wants, what = _wants(result), shared(result)
    several = result.repeats > 1
    if not what:
        return (
            "The objective takes no seed and no repeat, so repeats differ only in the seeds of the samplers (and in "
            "what the objective draws by itself); pairing them brings nothing."
        ) * several
    saw = f"all methods saw {what}" if wants is None else f"the objective got {what} under all methods"
    said = (f"Repeat by repeat {saw}, so differences are paired" if several else saw[0].upper() + saw[1:]) + "."
    if wants is not None and "seed" not in wants:
        said += " It takes no seed."
    if wants is None and _searched(result, "seed"):
        said += " Training seeds follow from the parameter seed, which is searched."
    return said


def _gaps(result: ComparisonResult) -> list[str]:
    """The columns of Table I whose means are over fewer runs than have a best trial."""
    heads = analysis.headings(result)
    runs = {m: sum(r.finished and r.best is not None for r in result.of(m)) for m in result.labels}
    lines = []
    for measure in analysis.shown_measures(result):
        found = {m: len(analysis.summary(result, m, measure).values) for m in result.labels}
        short = [m for m in result.labels if found[m] < runs[m]]
        if not short:
            continue
        if not any(found.values()):
            lines.append(f"{heads[measure]}: no run has a value.")
            continue
        whole = " that have a best trial" if any(runs[m] < result.repeats for m in short) else ""
        parts = [f"{short[0]} has a value in {found[short[0]]} of {count(runs[short[0]], 'repeat')}{whole}"]
        parts += [f"{m} in {found[m]} of {runs[m]}" for m in short[1:]]
        means = "; the means are over these" if result.repeats > 1 else ""
        if means and analysis.best_methods(result, measure) and len(set(found.values())) > 1:
            means += ", and only a method with the most values can have the *"
        lines.append(f"{heads[measure]}: {', '.join(parts)}{means}.")
    return lines


def _without_direction(result: ComparisonResult) -> list[str]:
    names = dict.fromkeys(measure.partition(":")[2] for measure in analysis.shown_measures(result)[1:])
    unknown = [name for name in names if metric_direction(name, result) is None]
    if not unknown or len(result.labels) < 2:
        return []
    return [
        f"Whether small or large values are better is not known of {', '.join(unknown)}, so no best one is marked and "
        f"no test made. The problem can state it: metric_directions={{{unknown[0]!r}: 'maximize'}}."
    ]


def _unfinished(result: ComparisonResult) -> str:
    total = len(result.methods) * result.repeats
    done = sum(run.finished for run in result.runs)
    return f"UNFINISHED: {done} of {total} runs are done and only these are counted. The same command again goes on."


def _test_notes_one(result: ComparisonResult) -> list[str]:
    if not result.test_metrics and result.has_test:
        return ["No test value is there yet: these values are those the methods searched by, hence optimistic."]
    if not result.test_metrics:
        return ["The problem has no test split: these values are those the methods searched by, hence optimistic."]
    if _wants(result) is None:
        used = "The test split chose nothing: it was used once for each run's best configuration, trained again with"
    else:  # whether the user's own test trains again is not known
        used = "The test chose nothing: it was called once for each run's best configuration, with"
    lines = [f"{used} the seed of its trial."]
    again = [run for run in result.runs if run.retrained is not None]
    moved = sum(run.retrained != run.best_value for run in again)
    if moved:
        lines.append(
            f"Training is not reproducible here: in {moved} of {len(again)} runs the second training ended with "
            f"another {formatting.spoken(result.objective, result.metrics)} than the first."
        )
    return lines


def _trouble(result: ComparisonResult) -> list[str]:
    lines = []
    failed = analysis.failures(result)
    total = sum(len(run.trials) for run in result.runs)
    if failed:
        parts = ", ".join(f"{label} {n}" for label, n in failed.items())
        reason = next((t.error for run in result.runs for t in run.trials if t.error), "")
        first = f" The first: {reason.rstrip('.: ')[:200]}." if reason else ""
        lines.append(
            f"{sum(failed.values())} of {total} trials failed and count as spent budget: {parts}.{first} Failed trials "
            "are not repeated in this folder."
        )
    for label in result.labels:
        runs = [run for run in result.of(label) if run.finished]
        empty = [run.repeat for run in runs if run.best is None]
        if empty and len(empty) == len(runs):
            lines.append(f"{label} has no complete trial in any repeat.{_small(result, label)}")
        elif empty:
            lines.append(
                f"{label} has no complete trial in {count(len(empty), 'repeat')} (number {_numbers(empty)}); its mean "
                f"leaves these out, which flatters it.{_small(result, label)}"
            )
    pruned = sum(t.state == "PRUNED" for run in result.runs if run.method not in result.ruled for t in run.trials)
    if pruned:
        lines.append(f"{pruned} of {total} trials were stopped early; they count as spent budget.")
    errors = [run for run in result.runs if run.test_error]
    if errors:
        where = ", ".join(f"{run.method} repeat {run.repeat}" for run in errors[:3])
        reason = errors[0].test_error
        lines.append(f"The test could not be evaluated in {count(len(errors), 'run')} ({where}): {reason}")
    return lines


def _small(result: ComparisonResult, label: str) -> str:
    """Why a method with a rule may have no complete trial."""
    if label not in result.ruled:
        return ""
    return " Its rule has let none come to its end within the budget, which is too small for it; give more trials."


def count(n: int, word: str) -> str:
    """``1 trial``, ``2 trials``."""
    return f"{n} {word}" if n == 1 else f"{n} {word}s"


def span(counts: list[int]) -> str:
    """``6``, or ``4 to 6``."""
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _numbers(values: list[int]) -> str:
    return ", ".join(map(str, values[:8])) + (", ..." if len(values) > 8 else "")
