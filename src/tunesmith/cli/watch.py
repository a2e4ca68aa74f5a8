"""``watch``: the progress of all workers of a study, wherever they run, in one terminal."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli import options, output
from tunesmith.cli.inputs import load_study, open_storage
from tunesmith.cli.progress import PLAIN_SECONDS

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tunesmith.study import Study, WorkerInfo

#: Seconds over which reports and trials are counted for a rate.
WINDOW = 60.0
_BAR_WIDTH = 30


@dataclass(frozen=True)
class Moment:
    """A study at one moment.

    Attributes:
        at: seconds, of a clock that only goes forward.
        states: name of a state -> how many trials are in it.
        reports: how many there are in all.
        best: value of the best trial, if there is one objective and one such trial.
        workers: who works on it.
    """

    at: float
    states: dict[str, int]
    reports: int
    best: float | None
    workers: tuple[WorkerInfo, ...]

    @property
    def finished(self) -> int:
        """Trials that have ended in whatever way."""
        return sum(self.states.get(state, 0) for state in ("COMPLETE", "PRUNED", "FAIL"))


def look(study: Study, at: float) -> Moment:
    """Read a study."""
    from tunesmith.trial import TrialState

    workers = tuple(study.workers())  # reads what is new
    history = study.history
    states = {state.name: int((history.state == state).sum()) for state in TrialState}
    for row in history.open:
        states[row.state.name] += 1
    best_row = history.best_row if len(history.directions) == 1 else None
    reports = len(history.reports.row) + sum(len(row.reports) for row in history.open)
    best = None if best_row is None else float(history.Y[best_row, 0])
    return Moment(at, {k: n for k, n in states.items() if n}, reports, best, workers)


@dataclass
class Pace:
    """How fast a study goes, from the moments of the last :data:`WINDOW` seconds.

    Args:
        total: trials that are planned, or None.
    """

    total: int | None = None
    _moments: deque[Moment] = field(default_factory=deque)

    def take(self, moment: Moment) -> None:
        """Take one more into account."""
        self._moments.append(moment)
        while len(self._moments) > 2 and moment.at - self._moments[1].at >= WINDOW:
            self._moments.popleft()

    def _rate(self, first: float, last: float) -> float | None:
        seconds = self._moments[-1].at - self._moments[0].at
        return (last - first) / seconds if seconds > 0 else None

    @property
    def reports(self) -> float | None:
        """Reports (epochs) a second."""
        return self._rate(self._moments[0].reports, self._moments[-1].reports)

    @property
    def trials(self) -> float | None:
        """Trials that end a second."""
        return self._rate(self._moments[0].finished, self._moments[-1].finished)

    @property
    def left(self) -> float | None:
        """Seconds to the end of the last planned trial."""
        rate = self.trials
        if self.total is None or not rate:
            return None
        return max(0, self.total - self._moments[-1].finished) / rate


def watch(
    name: options.OptionalName = None,
    storage: options.Storage = None,
    total: Annotated[
        int | None,
        options.count("--trials", low=1, help="How many trials are planned (default: the study's budget)."),
    ] = None,
    every: Annotated[int, options.count("--every", low=1, help="Seconds between two looks.")] = 1,
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
) -> None:
    """Show the progress of a study's workers, wherever they run.

    Until Ctrl-C: each worker with its trial and epoch; trials done, rates, and the time to finish.
    """
    with open_storage(storage) as store:
        study = load_study(name, store)
        pace = Pace(total if total is not None else study.history.budget)
        if once:
            pace.take(look(study, time.monotonic()))
            output.console().print(_picture(study.study_name, pace))
        elif output.console().is_terminal:
            _live(study, pace, every)
        else:
            _lines(study, pace, every)


def _live(study: Study, pace: Pace, every: int) -> None:
    from rich.live import Live

    pace.take(look(study, time.monotonic()))
    with Live(_picture(study.study_name, pace), console=output.console(), auto_refresh=False) as live:
        try:
            while True:
                time.sleep(every)
                pace.take(look(study, time.monotonic()))
                live.update(_picture(study.study_name, pace), refresh=True)
        except KeyboardInterrupt:
            return


def _lines(study: Study, pace: Pace, every: int) -> None:
    shown = -PLAIN_SECONDS
    try:
        while True:
            now = time.monotonic()
            pace.take(look(study, now))
            if now - shown >= PLAIN_SECONDS:
                shown = now
                output.line(f"{_summary(pace)}  {_busy(pace._moments[-1])}")
            time.sleep(every)
    except KeyboardInterrupt:
        return


def _busy(moment: Moment) -> str:
    running = sum(not trial.paused for worker in moment.workers for trial in worker.trials)
    return f"{running} running on {len(moment.workers)} workers"


def _summary(pace: Pace) -> str:
    """Trials done, rates, the time to finish, the best value: one line."""
    moment = pace._moments[-1]
    parts = [f"{moment.finished}/{pace.total} trials" if pace.total else f"{moment.finished} trials"]
    other = [f"{n} {s.lower()}" for s, n in moment.states.items() if s not in ("COMPLETE", "RUNNING")]
    parts += [f"({', '.join(other)})"] if other else []
    if pace.reports:
        parts.append(f"{pace.reports:.3g} it/s")
    if pace.trials:
        parts.append(f"{pace.trials * 60:.3g} trials/min")
    if pace.left is not None:
        parts.append(f"{output.clock(pace.left)} left")
    if moment.best is not None:
        parts.append(f"best {moment.best:.6g}")
    return "  ".join(parts)


def _picture(name: str, pace: Pace) -> RenderableType:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    from tunesmith.cli.guard import clean

    moment = pace._moments[-1]
    parts: list[RenderableType] = [Text(f"{clean(name)}: {_summary(pace)}")]
    if pace.total:
        bar = Table.grid()  # a bar alone does not end its line
        bar.add_row(ProgressBar(pace.total, min(moment.finished, pace.total), width=_BAR_WIDTH))
        parts.append(bar)
    if not moment.workers:
        parts.append(Text("Nobody works on this study now."))
        return Group(*parts)
    table = Table(box=None, pad_edge=False)
    for title, justify in (("worker", "left"), ("heard", "right"), ("trial", "right"), ("epoch", "right"),
                           ("value", "right"), ("for", "right"), ("", "left")):  # fmt: skip
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    now = time.time()
    for worker in moment.workers:
        for cells in _rows(worker, now):
            table.add_row(*map(clean, cells))
    parts.append(table)
    return Group(*parts)


def _rows(worker: WorkerInfo, now: float) -> list[list[str]]:
    """A row for each trial that runs, one for a worker that has none; paused ones are counted."""
    who = f"{worker.host}:{worker.pid}"
    heard = "" if worker.silent is None else f"{output.duration(worker.silent)} ago"
    notes = []
    if worker.dead or (worker.silent is not None and worker.lease is not None and worker.silent > worker.lease):
        notes.append("dead")
    if paused := sum(trial.paused for trial in worker.trials):
        notes.append(f"{paused} paused")
    rows = []
    for trial in worker.trials:
        if not trial.paused:
            again = [f"attempt {trial.attempt}"] if trial.attempt > 1 else []
            step = "" if trial.step is None else str(trial.step)
            value = "" if trial.value is None else f"{trial.value:.6g}"
            since = output.duration(max(0.0, now - trial.start / 1e6))
            rows.append([who, heard, str(trial.number), step, value, since, ", ".join([*notes, *again])])
            who = heard = ""
            notes = []
    return rows or [[who, heard, "-", "", "", "", ", ".join(notes)]]
