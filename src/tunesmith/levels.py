"""A study of trials that were paused at different levels, as one of results that can be compared.

Where a rule pauses trials, most of them stay unfinished for long. For a search method they are no pending evaluations:
their reports say how good their configurations are. Falkner, S., Klein, A. and Hutter, F. (2018): BOHB: robust and
efficient hyperparameter optimization at scale. ICML (sec. 4: the model is made of the results at the largest budget
that has enough of them).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tunesmith._choices import choice_key
from tunesmith._columns import Column
from tunesmith._table import Table
from tunesmith.curves import Curves, curves
from tunesmith.history import History, OpenRow
from tunesmith.space import FloatArray
from tunesmith.trial._state import TrialState

#: As many results as parameters and so many more make a level worth modelling (Falkner 2018: N_min + 2 = d + 3).
MORE = 3
#: Part of the trials that no model proposes while results are those of a level (Falkner 2018: rho = 1/3). What is good
#: there may not be good at the end, and where the model is wrong about it, nothing else would tell.
MODEL_FREE = 1 / 3


def levelled(history: History, resource: str) -> History:
    """The history with all trials that have reported as finished ones, judged at one level; itself if none is paused.

    The level is the largest resource that enough trials have used. What they reported there is their result. Those
    that did not come so far are worse than all that did, and worse the earlier they were left and the more they had
    lost there: going on with the others was the rule's choice. Trials without a report stay as they are.

    Args:
        history: of one objective; with several it is returned as it is.
        resource: what the rule counts budgets in.
    """
    paused = any(t.state == TrialState.PAUSED and t.reports for t in history.open)
    if not paused or len(history.directions) > 1:
        return history
    found = curves(history, resource)
    if not len(found):
        return history
    standing = _standing(found, len(history.names) + MORE)
    loss = history.loss[:, 0].copy()
    old = found.row >= 0
    loss[found.row[old]] = standing[old]
    loss[history.state == TrialState.FAIL] = np.nan
    unfinished = {number: k for k, number in enumerate(found.number[~old].tolist())}
    rows = [trial for trial in history.open if trial.number in unfinished]
    return _settled(history, rows, np.concatenate([loss, standing[~old]]))


def _standing(found: Curves, enough: int) -> FloatArray:
    """(m,) losses at the common level; of curves that end below it, more than the largest finite one."""
    last = found.last
    level = np.sort(last)[-min(enough, len(last))]
    short = last < level
    result = found.at(level)
    there = result[~short]
    finite = there[np.isfinite(there)]
    low, top = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    spread = top - low if top > low else 1.0
    result[~short] = np.minimum(there, top + spread)
    order = np.lexsort((found.loss[found.first[1:] - 1][short], -last[short]))
    rank = np.empty(len(order))
    rank[order] = np.arange(1, len(order) + 1)
    result[short] = top + spread * (1.0 + rank / (len(order) + 1))
    return result


def _settled(history: History, rows: Sequence[OpenRow], loss: FloatArray) -> History:
    """The history as if some open trials were finished, and every trial had ended with a given loss.

    Args:
        history: of one objective.
        rows: those open trials, in the order in which their rows come after the finished ones. They have no reports.
        loss: (n + len(rows),), smaller is better. Trials with a number are COMPLETE, the others stay what they are.
    """
    numbers = {row.number for row in rows}
    table = Table()
    with history.memo(("raw rows of open trials", history.names), _Raw) as raw:
        table.X = Column.of(np.concatenate([history.X, raw(history, rows)]))
    table.Y = Column.of(loss[:, None] * history.directions[0])
    ints = np.zeros((len(loss), 5), np.int64)
    columns = (history.number, history.state, history.start, history.complete)
    ints[: history.n, :4] = np.stack(columns, axis=1)
    ints[history.n :, :3] = np.array([(row.number, int(row.state), row.start) for row in rows]).reshape(-1, 3)
    ints[~np.isnan(loss), 1] = TrialState.COMPLETE
    table.ints = Column.of(ints)
    row, step, metric, value, time = map(Column.of, history.reports)
    table.reports = row, step, metric, value, time
    table.violation = Column.of(np.concatenate([history.violation, np.zeros(len(rows))]))
    for name in history.tags:
        known = history.tag(name)
        if known.ndim == 2:
            table.vectors.add(name)
        table.tags[name] = Column.of(known.reshape(history.n, -1 if known.ndim == 2 else 1).copy(), np.nan)
    for k, trial in enumerate(rows, history.n):
        table.write_tags(k, dict(trial.tags))
    return history.remade(tuple([trial for trial in history.open if trial.number not in numbers]), table)


class _Raw:
    """Memo: open trials as rows of ``X``, for as long as they stay as they are."""

    def __init__(self) -> None:
        self.n = 0
        self._known: dict[int, tuple[OpenRow, FloatArray]] = {}

    def extend(self, history: History) -> None:
        """Nothing depends on the finished trials."""
        self.n = history.n

    def __call__(self, history: History, rows: Sequence[OpenRow]) -> FloatArray:
        """(len(rows), d) as they are in ``history.X``."""
        codes = {name: {choice_key(c): k for k, c in enumerate(table)} for name, table in history.categories.items()}
        known, self._known = self._known, {}
        for row in rows:
            at = known.get(row.number)
            values = at[1] if at is not None and at[0].params is row.params else self._row(history.names, codes, row)
            self._known[row.number] = row, values
        return np.array([self._known[row.number][1] for row in rows]).reshape(len(rows), len(history.names))

    @staticmethod
    def _row(names: Sequence[str], codes: dict[str, dict[tuple[object, ...], int]], row: OpenRow) -> FloatArray:
        values = np.full(len(names), np.nan)
        for j, name in enumerate(names):
            if name in row.params:
                value = row.params[name]
                values[j] = codes[name].get(choice_key(value), np.nan) if name in codes else float(value)
        return values
