"""The comparison as tidy CSV: one row a trial, a run, or a test."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tunesmith.compare import analysis, formatting
from tunesmith.compare.render import csv_text
from tunesmith.compare.result import ComparisonResult, Direction, Run, metric_direction

_TRIAL_FIELDS = ("method", "repeat", "trial", "state", "initial", "best")
_RUN_FIELDS = ("method", "repeat", "study", "seed", "finished", "trials", "failed", "best_trial")
_TIMES = ("train_seconds", "wall_seconds", "test_seconds")


def trials_csv(result: ComparisonResult) -> str:
    """One row a trial: method, repeat, number, state, initial, best, value, val_*, param_*, seconds; also the steps
    that it was trained for, if some method has a stopping rule.

    A metric that has its split in its name keeps its name, and so does ``loss`` where there is a ``val_loss``: it is
    none. A field of a parameter is empty where the trial does not have it, and ``None`` where that is its value.
    """
    params, names = _param_names(result), _metric_fields(result)
    metrics = [m for m in result.metrics if m != result.objective]
    headers = [*_TRIAL_FIELDS, names["val", result.objective], *(names["val", m] for m in metrics)]
    headers += [f"param_{p}" for p in params] + ["seconds"] + ["steps"] * bool(result.ruled)
    rows = [
        [run.method, run.repeat, t.number, t.state, int(t.initial), int(t.number == run.best), t.value]
        + [t.metrics.get(m) for m in metrics]
        + [_setting(t.params, p) for p in params]
        + [t.duration]
        + [analysis.trial_steps(t, result)] * bool(result.ruled)
        for run in result.runs
        for t in run.trials
    ]
    return csv_text(headers, rows)


def runs_csv(result: ComparisonResult) -> str:
    """One row a run: its seed, its best configuration with validation and test metrics, counts and times.

    ``best_val_*`` is the best value of that metric in any complete trial (empty when it is not known which values are
    better), ``val_*`` that of the chosen configuration. The fields of metrics and parameters are those of
    :func:`trials_csv`; ``test_`` stands before what the test reports, also before ``val_loss``.
    """
    params, names = _param_names(result), _metric_fields(result)
    headers = [*_RUN_FIELDS, *(names["val", m] for m in result.metrics)]
    headers += ["best_" + names["val", m] for m in result.metrics]
    headers += [names["test", m] for m in result.test_metrics] + [f"param_{p}" for p in params] + list(_TIMES)
    headers += ["complete", "steps"] * bool(result.ruled)
    rows = []
    for run in result.runs:
        best = run.best_trial
        row: list[Any] = [run.method, run.repeat, run.study, run.seed, int(run.finished), len(run.trials)]
        row += [run.n_failed, run.best]
        row += [best.metrics.get(m) if best else None for m in result.metrics]
        row += [_best(run, m, metric_direction(m, result)) for m in result.metrics]
        row += [run.test.get(m) for m in result.test_metrics]
        row += [_setting(best.params, p) if best else None for p in params]
        row += [run.train_seconds, run.wall_seconds, run.test_seconds]
        if result.ruled:
            row.append(sum(t.state == "COMPLETE" for t in run.trials))
            row.append(sum(analysis.trial_steps(t, result) for t in run.trials))
        rows.append(row)
    return csv_text(headers, rows)


def pairs_csv(result: ComparisonResult, *, alpha: float = analysis.ALPHA, reference: str | None = None) -> str:
    """One row a pair and measure (the objective, and every test metric whose direction is known)."""
    headers = ["measure", "first", "second", "pairs", "mean_difference", "rank_biserial", "A", "p", "p_holm", "winner"]
    rows: list[list[Any]] = []
    known = [m for m in analysis.metrics_of_test(result) if metric_direction(m, result) is not None]
    for measure in ["value", *(f"test:{m}" for m in known)]:
        family = analysis.pair_tests(result, measure, alpha=alpha, reference=reference)
        name = f"val:{result.objective}" if measure == "value" else measure
        rows += [[name, t.first, t.second, t.n, *map(_known, _numbers(t)), t.winner] for t in family.tests]
    return csv_text(headers, rows)


def _best(run: Run, name: str, direction: Direction | None) -> float | None:
    return None if direction is None else run.best_metric(name, direction)


def _metric_fields(result: ComparisonResult) -> dict[tuple[str, str], str]:
    """The names of the metrics' columns, the same in both files and different from all others in them."""
    taken = {
        *_TRIAL_FIELDS,
        *_RUN_FIELDS,
        *_TIMES,
        "seconds",
        *(("complete", "steps") if result.ruled else ()),
        *(f"param_{p}" for p in _param_names(result)),
    }
    val = dict.fromkeys([result.objective, *result.metrics])
    return formatting.fields(list(val), result.test_metrics, taken)


def _setting(params: Mapping[str, Any], name: str) -> Any:
    """A parameter's field: None (empty) only where the trial does not have it."""
    return formatting.setting(None) if name in params and params[name] is None else params.get(name)


def _numbers(test: analysis.PairTest) -> tuple[float, ...]:
    return test.difference, test.effect, test.superiority, test.p, test.p_holm


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _param_names(result: ComparisonResult) -> list[str]:
    seen = dict.fromkeys(result.space.get("parameters", {}))
    seen.update(dict.fromkeys(p for run in result.runs for t in run.trials for p in t.params))
    return list(seen)
