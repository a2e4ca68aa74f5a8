"""From a comparison's runs to the numbers in its tables: summaries by method, paired tests between methods.

A *measure* is one number a run: ``"value"`` is the best validation value of the objective, ``"val:NAME"`` the
validation metric NAME of that same configuration, ``"test:NAME"`` its metric on the test split, ``"train_seconds"`` the
time its trials took.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.compare import formatting
from tunesmith.compare.directions import bare_name, split_of
from tunesmith.compare.result import ComparisonResult, Direction, Run, TrialRow, metric_direction
from tunesmith.exceptions import InvalidValueError
from tunesmith.numerics import statistics

ALPHA = 0.05


@dataclass(frozen=True)
class Summary:
    """Mean and spread of one measure of one method over its repeats.

    Attributes:
        values: repeat -> value, of the finished runs that have one.
        mean: NaN when there is none.
        sd: with n - 1; NaN below two values.
    """

    values: dict[int, float]
    mean: float
    sd: float


@dataclass(frozen=True)
class PairTest:
    """A paired test of two methods on one measure.

    Attributes:
        first: label of one method.
        second: label of the other.
        n: pairs (repeats in which both have a value).
        missing: repeats left out because one of the two has no value.
        difference: mean of first - second; NaN without pairs.
        effect: matched-pairs rank-biserial correlation, oriented so that > 0 means that the first is better.
        superiority: Vargha-Delaney A, oriented: the chance that a run of the first is better than one of the second.
        p: two-sided signed-rank p-value, NaN without pairs.
        p_holm: after Holm's correction over all tests of the same table, NaN without pairs.
        winner: label of the significantly better one, or None.
    """

    first: str
    second: str
    n: int
    missing: int
    difference: float
    effect: float
    superiority: float
    p: float
    p_holm: float
    winner: str | None


@dataclass(frozen=True)
class Family:
    """All tests of one measure, corrected together.

    Attributes:
        measure: which number of a run is tested.
        alpha: the family-wise level.
        tests: one a pair.
        reachable: the smallest Holm-corrected p-value that the largest number of pairs here allows.
        needed: repeats it takes for any of these tests to be able to reach ``alpha``.
    """

    measure: str
    alpha: float
    tests: list[PairTest]
    reachable: float
    needed: int

    @property
    def too_few(self) -> bool:
        """Whether no outcome at all could have been significant."""
        return self.reachable > self.alpha


def measure_of(run: Run, measure: str) -> float | None:
    """One number of a run; None when it has none.

    Raises:
        InvalidValueError: for an unknown kind of measure.
    """
    kind, _, name = measure.partition(":")
    best = run.best_trial
    if measure == "value":
        return run.best_value
    if kind == "val":
        return None if best is None else best.metrics.get(name)
    if kind == "test":
        return run.test.get(name)
    if measure == "train_seconds":
        return run.train_seconds
    raise InvalidValueError(f"Unknown measure {measure!r}; known: 'value', 'val:NAME', 'test:NAME', 'train_seconds'.")


def metrics_of_test(result: ComparisonResult) -> list[str]:
    """The names of the test metrics, the objective's own last (an accuracy says more to a reader than its loss)."""
    own = bare_name(result.objective)
    return sorted(result.test_metrics, key=lambda m: bare_name(m) == own)


def shown_measures(result: ComparisonResult) -> list[str]:
    """The measures in Table I: the objective, other validation metrics (none of training), the test metrics."""
    others = [m for m in result.metrics if m != result.objective and split_of(m) != "train"]
    return ["value", *(f"val:{m}" for m in others), *(f"test:{m}" for m in metrics_of_test(result))]


def headings(result: ComparisonResult) -> dict[str, str]:
    """Measure -> what stands above its column, of every metric of the result; all different, also from the others."""
    others = {"", "method", "trials", "training time", "runs", "#", "time", "state"}
    others |= {"complete", f"{result.unit}s"} if result.ruled else set()
    others |= set(result.space.get("parameters", {}))
    val = dict.fromkeys([result.objective, *result.metrics])
    found = formatting.headings(list(val), result.test_metrics, others)
    texts = {f"{where}:{name}": text for (where, name), text in found.items()}
    return {"value": texts[f"val:{result.objective}"], **texts}


def measure_direction(result: ComparisonResult, measure: str) -> Direction | None:
    """Whether small or large values of a measure are better; None when that is not known."""
    if measure == "value":
        return result.direction
    if measure == "train_seconds":
        return "minimize"
    return metric_direction(measure.partition(":")[2], result)


def summary(result: ComparisonResult, method: str, measure: str) -> Summary:
    """Mean and standard deviation of a measure over the finished runs of a method."""
    values = {}
    for run in result.of(method):
        value = measure_of(run, measure) if run.finished else None
        if value is not None and not math.isnan(value):
            values[run.repeat] = float(value)
    mean, sd = statistics.mean_sd(list(values.values())) if values else (math.nan, math.nan)
    return Summary(values, mean, sd)


def best_methods(result: ComparisonResult, measure: str) -> list[str]:
    """The methods with the best mean (several when equal), among those with as many values as any has.

    Nobody when it is not known which values are better.
    """
    direction = measure_direction(result, measure)
    summaries = {m: summary(result, m, measure) for m in result.labels}
    most = max((len(s.values) for s in summaries.values()), default=0)
    means = {m: s.mean for m, s in summaries.items() if most and len(s.values) == most and math.isfinite(s.mean)}
    if not means or direction is None:
        return []
    target = (min if direction == "minimize" else max)(means.values())
    return [m for m, mean in means.items() if statistics.paired_differences([mean], [target])[0] == 0]


def pair_tests(
    result: ComparisonResult, measure: str = "value", *, alpha: float = ALPHA, reference: str | None = None
) -> Family:
    """Signed-rank tests between methods, paired by repeat, Holm-corrected over the family.

    Args:
        result: the comparison.
        measure: see the module's docstring.
        alpha: family-wise level.
        reference: test every other method against this one; None tests all pairs, in the order of the methods.

    Raises:
        InvalidValueError: when ``reference`` is no method of the comparison, or when it is not known which values of
            the measure are better.
    """
    direction = measure_direction(result, measure)
    if direction is None:
        raise InvalidValueError(
            f"It is not known whether small or large values of {measure!r} are better; state it with the problem's "
            "`metric_directions`."
        )
    if reference is not None and reference not in result.labels:
        raise InvalidValueError(f"The reference {reference!r} is not among the methods {result.labels}.")
    summaries = {m: summary(result, m, measure) for m in result.labels}
    if reference is None:
        pairs: Sequence[tuple[str, str]] = list(itertools.combinations(result.labels, 2))
    else:
        pairs = [(m, reference) for m in result.labels if m != reference]
    raw = [_raw_test(summaries[a], summaries[b], direction == "minimize") for a, b in pairs]
    testable = [i for i, test in enumerate(raw) if test is not None]
    adjusted = dict(zip(testable, statistics.holm([raw[i][0] for i in testable]).tolist(), strict=True))  # type: ignore[index]
    tests = []
    n_most = 0
    for i, (a, b) in enumerate(pairs):
        shared = set(summaries[a].values) & set(summaries[b].values)
        missing = len({r.repeat for m in (a, b) for r in result.of(m)} - shared)
        n_most = max(n_most, len(shared))
        test = raw[i]
        if test is None:
            nothing = math.nan
            tests.append(PairTest(a, b, 0, missing, nothing, nothing, nothing, nothing, nothing, None))
            continue
        p, difference, effect, superiority = test
        winner = (a if effect > 0 else b) if adjusted[i] <= alpha else None
        tests.append(PairTest(a, b, len(shared), missing, difference, effect, superiority, p, adjusted[i], winner))
    m = max(1, len(testable))
    reachable = min(1.0, m * statistics.smallest_p(n_most)) if testable else 1.0
    return Family(measure, alpha, tests, reachable, statistics.repeats_needed(alpha, max(m, len(pairs) or 1)))


def _raw_test(x: Summary, y: Summary, minimize: bool) -> tuple[float, float, float, float] | None:
    """(p, mean difference x - y, rank-biserial and A oriented so that the first is better), or None without pairs."""
    shared = sorted(set(x.values) & set(y.values))
    if not shared:
        return None
    a, b = [x.values[r] for r in shared], [y.values[r] for r in shared]
    d = statistics.paired_differences(a, b)
    effect, superiority = statistics.rank_biserial(d), statistics.a12(a, b)
    if minimize:
        effect, superiority = -effect, 1 - superiority
    return statistics.wilcoxon_signed_rank(d).p, statistics.mean_sd(d)[0], effect + 0.0, superiority


def trial_counts(result: ComparisonResult) -> dict[str, list[int]]:
    """Label -> how many trials each of its finished runs has, by repeat."""
    return {m: [len(run.trials) for run in result.of(m) if run.finished] for m in result.labels}


def complete_counts(result: ComparisonResult) -> dict[str, list[int]]:
    """Label -> how many trials of each of its finished runs were trained to their ends, by repeat."""
    runs = {m: [run for run in result.of(m) if run.finished] for m in result.labels}
    return {m: [sum(t.state == "COMPLETE" for t in run.trials) for run in found] for m, found in runs.items()}


def trial_steps(trial: TrialRow, result: ComparisonResult) -> int:
    """How many steps of training a trial took; one that has reported nothing took a whole training, or a step."""
    reported = len(trial.curves.get(result.objective, ()))
    return reported or (result.steps or 1 if trial.state == "COMPLETE" else 1)


def steps_spent(result: ComparisonResult) -> dict[str, list[int]]:
    """Label -> the steps of training that each of its finished runs took, by repeat."""
    runs = {m: [run for run in result.of(m) if run.finished] for m in result.labels}
    return {m: [sum(trial_steps(t, result) for t in run.trials) for run in found] for m, found in runs.items()}


def ends_of_trials(run: Run, result: ComparisonResult) -> list[int]:
    """How many steps of training a run had taken at the last step of each of its trials."""
    own = itertools.accumulate(trial_steps(trial, result) for trial in run.trials)
    return [total if trial.spent is None else trial.spent for trial, total in zip(run.trials, own, strict=True)]


def failures(result: ComparisonResult) -> dict[str, int]:
    """Label -> number of failed trials, of the methods that have any."""
    counts = {m: sum(run.n_failed for run in result.of(m)) for m in result.labels}
    return {m: n for m, n in counts.items() if n}
