"""A study seen through one of its reported metrics, as if that were its only objective."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from tunesmith._columns import Column
from tunesmith.history import History, Memos, OpenRow

#: What the objective's own reports are called in a view.
OBJECTIVE = "values_0"


def view(history: History, metric: str, sign: int) -> History:
    """The history whose objective is ``metric``.

    Its reports are those of the metric, and the value of a finished trial is the last of them (NaN without one); of an
    objective it is the value as told. Everything else is as it was; the objective's reports become the metric
    ``"values_0"``.

    Args:
        history: the study.
        metric: the name of a reported metric, or ``"values_<i>"`` for an objective, from 0.
        sign: +1 if smaller is better, else -1.
    """
    with history.memo(("metric view", metric, sign), lambda: _Columns(metric)) as columns:
        return _View(history, columns, metric, sign)


def seen(trial: OpenRow, metric: str) -> OpenRow:
    """An open trial in the view."""
    if metric == OBJECTIVE:
        return trial
    reports: Mapping[int, float] = trial.metrics.get(metric, {})
    return dataclasses.replace(trial, reports=reports, metrics={**trial.metrics, OBJECTIVE: trial.reports})


class _Columns:
    """Memo: what is other than in the study itself, and what rules keep of the view.

    The metric has the index 0, and what had k in the study has k + 1.
    """

    def __init__(self, metric: str) -> None:
        self._metric = metric
        self.n, self._reports = 0, 0
        self.memos = Memos()
        self.metric, self.value = Column(np.int64), Column(np.float64, 1, np.nan)

    def extend(self, history: History) -> None:
        reports, begin, first = history.reports, self._reports, self.n
        self.n, self._reports = history.n, len(reports.row)
        known = metric_index(history, self._metric)
        mine = reports.metric[begin:] == known
        self.metric.extend(np.where(mine, 0, reports.metric[begin:] + 1))
        values = np.full(history.n - first, np.nan)
        if 0 <= known < len(history.directions):
            values[:] = history.Y[first:, known]
        else:
            at = begin + np.flatnonzero(mine)
            at = at[np.lexsort((reports.step[at], reports.row[at]))]  # the last step of a row is written last
            values[reports.row[at] - first] = reports.value[at]
        for value in values:
            self.value.append(value)


def metric_index(history: History, metric: str) -> int:
    """Its number in the study's reports; -1 while nobody has reported it."""
    if metric == OBJECTIVE:
        return 0
    return history.metrics.index(metric) if metric in history.metrics else -1


class _View(History):
    def __init__(self, history: History, columns: _Columns, metric: str, sign: int) -> None:
        vars(self).update({name: v for name, v in vars(history).items() if name not in _DERIVED})
        self.open = tuple([seen(trial, metric) for trial in history.open])
        names = ("", *(name or OBJECTIVE for name in history.metrics))
        self._shape = dataclasses.replace(
            history._shape, directions=(sign,), metrics=names, memos=columns.memos
        )  # fmt: skip
        self._y = columns.value.data
        row, step, _, value, time = history._reports
        self._reports = (row, step, columns.metric.data, value, time)

    @property
    def best_row(self) -> int | None:  # type: ignore[override]
        """As in every history; a trial without the metric is not the best one."""
        good = np.flatnonzero(self.is_complete & (self.violation <= 0) & ~np.isnan(self.Y[:, 0]))
        return int(good[np.argmin(self.loss[good, 0])]) if len(good) else None


#: What histories compute from their columns and keep.
_DERIVED = ("best_row", "pareto_rows", "reports")
