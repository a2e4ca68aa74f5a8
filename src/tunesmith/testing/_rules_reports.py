"""The part of the conformance kit for stopping rules that shows them reports which are hard to judge."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from tunesmith.curves import STEP
from tunesmith.pruners import BasePruner, Verdict
from tunesmith.study import Study
from tunesmith.testing._rules import INF, NAN, _strict, answers, folded, metrics_of, new_study, records
from tunesmith.trial import Trial, TrialState

#: Reports of a trial in the order in which they come.
Curve = Sequence[tuple[int, float]]


def _steps(values: Sequence[float], steps: Sequence[int] = (1, 2, 3, 4)) -> Curve:
    return list(zip(steps, values, strict=False))


def _random(seed: int) -> list[Curve]:
    rng = np.random.default_rng(seed)
    return [_steps(rng.integers(-3, 4, 5).astype(float).tolist(), range(5)) for _ in range(12)]


#: Trials, one after the other.
REPORTS: dict[str, list[Curve]] = {
    "none": [[]] * 12,
    "one trial": [_steps([3, 2, 1])],
    "one report each": [[(1, float(k % 5))] for k in range(12)],
    "constant": [_steps([2.0] * 4)] * 12,
    "ties": _random(1),
    "a few nan": [_steps([NAN, 1 + k, NAN, 2 - k]) for k in range(12)],
    "nothing but nan": [_steps([NAN] * 4)] * 12,
    "infinite": [_steps([INF, k, -INF, INF]) for k in range(12)],
    "nothing but infinite": [_steps([(-1) ** k * INF] * 4) for k in range(12)],
    "enormous": [_steps([(-1) ** k * 1e300, 1.7e308, -1.7e308, k * 1e299]) for k in range(12)],
    "tiny": [_steps([k * 1e-300, 5e-324, -1e-308, 0.0]) for k in range(12)],
    "one outlier": [_steps([1e300 if k == 4 else 1.0 + k, 2.0, 1.0]) for k in range(12)],
    "out of order": [_steps([4.0 + k, 3, 2, 1], (7, 2, 5, 3)) for k in range(12)],
    "repeated steps": [_steps([4.0, 1.0 + k, 9, 2], (1, 1, 2, 2)) for k in range(12)],
    "gaps from step 0": [_steps([4.0, 3 + k, 2, 1], (0, 3 + k, 17, 400)) for k in range(12)],
    "huge steps": [_steps([4.0, 3 + k, 2, 1], (0, 1, 2**40, 2**52 + k)) for k in range(12)],
}


class RuleReports:
    """Missing, infinite, enormous, constant, few and unordered reports: the rule answers, and never fails."""

    trials: ClassVar[int]

    @pytest.mark.parametrize("kind", REPORTS)
    def test_hard_reports(self, pruner: BasePruner, kind: str) -> None:
        """Every report is judged, with finished, failed, stopped, running and paused trials around; then the study is
        mirrored, and read again from its log."""
        study, verdicts = _told(pruner, REPORTS[kind], 1)
        assert answers(pruner, study._session.snapshot()) == answers(pruner, folded(_flushed(study)))
        if not getattr(pruner, "absolute", False):
            _, mirrored = _told(pruner, REPORTS[kind], -1)
            assert mirrored == verdicts, "maximising the negative is another thing"

    @pytest.mark.parametrize("states", ["finished", "failed", "stopped", "running", "paused"])
    def test_company(self, pruner: BasePruner, states: str) -> None:
        """All other trials are in one state, and none of them was begun by the rule."""
        study = new_study(pruner)
        for curve in _random(2):
            trial = study.ask()
            for step, value in curve:
                _report(pruner, trial, step, value)
            _end(study, trial, states)
        trial = study.ask()
        for step, value in _random(3)[0]:
            _report(pruner, trial, step, value)
            _judge(study, trial)
        answers(pruner, study._session.snapshot())

    def test_nothing_reported(self, pruner: BasePruner) -> None:
        """A verdict may be asked for before the first report (``should_prune``): the trial goes on."""
        study = new_study(pruner)
        for curve in [[], *_random(4)]:
            trial = study.ask()
            assert _judge(study, trial) is Verdict.GO
            for step, value in curve:
                _report(pruner, trial, step, value)
            study.tell(trial, 1.0)

    def test_the_best_of_all_is_not_stopped(self, pruner: BasePruner) -> None:
        """A trial that improves with every report, and is better than every other one at each step."""
        if getattr(pruner, "may_stop_best", False):
            return
        curves = [[(s, v + 10.0 / (1 + s)) for s, v in curve] for curve in _random(5)]
        study, _ = _told(pruner, curves, 1)
        trial = study.ask()
        for step in range(5):
            _report(pruner, trial, step, -5.0 - step)
            assert _judge(study, trial) is not Verdict.STOP, f"stopped at step {step}"


def _told(rule: BasePruner, curves: Sequence[Curve], sign: int) -> tuple[Study, list[Any]]:
    """A study whose trials report these curves and end in different ways, and what the rule said to each report."""
    study = new_study(rule, direction="minimize" if sign > 0 else "maximize")
    verdicts: list[Any] = []
    ends = itertools.cycle(["finished", "finished", "failed", "running", "finished", "paused", "running"])
    for curve, end in zip(curves, ends, strict=False):
        trial = study.ask()
        _judge(study, trial)
        for step, value in curve:
            _report(rule, trial, step, value, sign)
            verdicts.append((trial.number, step, _judge(study, trial)))
            if verdicts[-1][-1] is Verdict.STOP:
                end = "stopped"
                break
        verdicts.append(answers(rule, study._session.snapshot()))
        _end(study, trial, end, sign)
    verdicts.append(answers(rule, study._session.snapshot()))
    return study, verdicts


def _report(rule: BasePruner, trial: Trial, step: int, value: float, sign: int = 1) -> None:
    for name in metrics_of(rule):
        trial.report_metric(name, value, step)
    if rule.resource != STEP:
        trial.report_metric(rule.resource, 2.0 * step, step)
    if step not in trial._reported:  # repeated: as if the warning had been ignored
        trial.report(sign * value, step)


def _judge(study: Study, trial: Trial) -> Verdict:
    with _strict():
        verdict = study._session.verdict(trial)
    assert isinstance(verdict, Verdict), f"{verdict!r} is no verdict"
    return verdict


def _end(study: Study, trial: Trial, how: str, sign: int = 1) -> None:
    reports: Mapping[int, float] = trial._reported
    last = ([v for v in reports.values() if v == v] or [float(sign)])[-1]
    if how == "finished":
        study.tell(trial, last)
    elif how == "failed":
        study.tell(trial, state=TrialState.FAIL)
    elif how == "stopped":
        study.tell(trial, state=TrialState.PRUNED)
    elif how == "paused" and reports:
        study._session.pause(trial)


def _flushed(study: Study) -> list[list[dict[str, Any]]]:
    study.get_trials()
    return records(study)
