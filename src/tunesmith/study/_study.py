"""The study: what users hold. It appends through its session and looks at the folded history; nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.distributions import BaseDistribution
from tunesmith.executors import BaseExecutor, Work
from tunesmith.history import History
from tunesmith.pruners import BasePruner, get_pruner
from tunesmith.samplers import BaseSampler, get_sampler
from tunesmith.space import Space
from tunesmith.study._add import check_kinds
from tunesmith.study._attempts import check_attempts
from tunesmith.study._crew import WorkerInfo, workers_of
from tunesmith.study._editor import StudyEditor
from tunesmith.study._gone import sweep
from tunesmith.study._log import StudyLog
from tunesmith.study._loop import Loop
from tunesmith.study._progress import NoProgress, Progress
from tunesmith.study._session import Session
from tunesmith.study._settings import (
    Callback,
    Objective,
    Settings,
    check_directions,
    check_lease,
    check_max_paused,
    check_settings,
    choose_executor,
    warn_endless,
)
from tunesmith.study._states import TrialStates
from tunesmith.study._tell import tell
from tunesmith.trial import FrozenTrial, Trial, TrialState

if TYPE_CHECKING:
    from tunesmith.storages import BaseStorage
    from tunesmith.study._confirm import Confirmation


class Study(StudyEditor):
    """A search: a log of trials, a sampler that proposes and a pruner that stops.

    Made by :func:`tunesmith.create_study` and :func:`tunesmith.load_study`. Every public method may be called from
    several threads. A reading property first reads what other processes have appended.
    """

    def __init__(
        self,
        study_name: str,
        log: StudyLog,
        sampler: BaseSampler | None = None,
        pruner: BasePruner | None = None,
        *,
        artifacts: Path | None = None,
    ) -> None:
        super().__init__(study_name, log, artifacts)
        self._given = (sampler, pruner)
        self._made: Session | None = None
        self._paused: dict[int, Work] = {}
        self._stop_flag = False
        self._local = threading.local()

    @property
    def _session(self) -> Session:
        """Made when first needed, so that looking at a study never needs its sampler."""
        with self._log.lock:
            if self._made is None:
                states = TrialStates(self._log, self._artifacts)
                self._made = Session(self._log, self.sampler, self.pruner, self.space, states)
                self._made.study = self
            return self._made

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, a study is its place and its name: the copy is another handle on the same log."""
        return _reopened, (self._name, self._log.storage, *self._given, self._artifacts)

    # -- how it searches ----------------------------------------------------------------------------------------

    @property
    def sampler(self) -> BaseSampler:
        """The search method; rebuilt from the log when none was given."""
        if self._given[0] is None:
            self._given = (super().sampler, self._given[1])
        assert self._given[0] is not None
        return self._given[0]

    @sampler.setter
    def sampler(self, sampler: BaseSampler) -> None:
        sampler = get_sampler(sampler)
        self._given = (sampler, self._given[1])
        if self._made is not None:
            self._made.sampler = sampler

    @property
    def pruner(self) -> BasePruner:
        """The stopping rule; rebuilt from the log when none was given."""
        if self._given[1] is None:
            self._given = (self._given[0], super().pruner)
        assert self._given[1] is not None
        return self._given[1]

    @pruner.setter
    def pruner(self, pruner: BasePruner) -> None:
        pruner = get_pruner(pruner)
        self._given = (self._given[0], pruner)
        if self._made is not None:
            self._made.pruner = pruner

    # -- what it has found, and this process knows before the log does -----------------------------------------------

    def _snapshot(self) -> History:
        return super()._snapshot() if self._made is None else self._made.snapshot()

    def _write_pending(self) -> None:
        if self._made is not None:
            self._made.flush_all()

    # -- ask and tell -------------------------------------------------------------------------------------------

    def ask(self, fixed_distributions: Mapping[str, BaseDistribution] | None = None) -> Trial:
        """A trial to evaluate in your own loop; end it with :meth:`tell`.

        Args:
            fixed_distributions: parameters to suggest at once, so that ``trial.params`` is filled.

        Raises:
            SearchSpaceExhaustedError: the sampler has nothing left to propose. InvalidValueError: a parameter of that
                name is of another kind in this study.
        """
        fixed: Space | None = None
        if fixed_distributions is not None:
            is_space = isinstance(fixed_distributions, Space)
            fixed = fixed_distributions if is_space else Space(fixed_distributions)  # type: ignore[assignment]
            self._log.sync()
            check_kinds(self._log.fold.distributions, fixed or {})
        (trial,) = self._session.claim(by_ask=True, fixed=fixed)
        for name in fixed.ordered if fixed is not None else ():
            if fixed is not None and fixed.holds(name, trial._params):
                trial._suggest(name, fixed[name])
        return trial

    def tell(
        self,
        trial: Trial | int,
        values: float | Sequence[float] | None = None,
        state: TrialState | None = None,
        skip_if_finished: bool = False,
    ) -> FrozenTrial:
        """Finish a trial made by :meth:`ask` (here, or in another process by its number).

        Args:
            trial: the trial or its number.
            values: the objective value(s).
            state: COMPLETE, PRUNED or FAIL; by default COMPLETE, or FAIL with a warning if the values are no numbers.
            skip_if_finished: return the record instead of an error when the trial is finished already.

        Raises:
            InvalidValueError: state and values do not fit, or there is no such trial.
            TrialFinishedError: the trial is finished. StaleTrialError: another worker holds it.
        """
        return tell(self._session, trial, values, state, skip_if_finished)

    # -- the loop -----------------------------------------------------------------------------------------------

    def optimize(
        self,
        func: Objective,
        n_trials: int | None = None,
        timeout: float | None = None,
        n_jobs: int | None = None,
        catch: Iterable[type[Exception]] | type[Exception] = (),
        callbacks: Iterable[Callback] | None = None,
        gc_after_trial: bool = False,
        show_progress_bar: bool = False,
        *,
        keep_paused: bool = False,
        max_paused: int | None = None,
        lanes: int | str | None = None,
        backend: str | BaseExecutor | None = None,
        attempts: int = 3,
        retry: type[Exception] | Iterable[type[Exception]] = (),
        lease: float | None = 60.0,
        trial_timeout: float | None = None,
        trial_memory: int | str | None = None,
    ) -> None:
        """Evaluate ``func`` again and again.

        Args:
            func: takes a :class:`~tunesmith.trial.Trial`; returns the value(s), or is a generator that yields after
                every epoch: ``value``, ``(step, value)`` or a dictionary of metrics (its first entry, or the one
                named by :meth:`set_metric_names`, is the objective). Each yield is a report and a decision point. The
                result is what a generator returns, else its last yield.
            n_trials: trials to start in this call, interrupted ones that are attempted again included (continuing a
                paused one is free); ``None``: no limit.
            timeout: start none after this many seconds; ``None``: no limit.
            n_jobs: worker threads, or processes; -1 is one a core. Default 1; with ``lanes`` and with processes, one a
                core.
            catch: exceptions of ``func`` that fail the trial and let the loop go on. Others fail it and are raised.
            callbacks: called as ``callback(study, frozen_trial)`` after each finished trial.
            gc_after_trial: collect garbage after each trial.
            show_progress_bar: a bar on a terminal, else a plain line every ten seconds.
            keep_paused: leave paused trials PAUSED at the end instead of PRUNED. Those that have saved their state stay
                PAUSED in any case, and a later call may continue them.
            max_paused: how many paused trials may stay alive in this process (each keeps its network in memory);
                ``None``: all. Of more, those that have saved their state (``trial.save``) are closed, to go on from it
                when their turn comes; then those with the fewest steps, the worst of them first, become PRUNED.
            lanes: train so many configurations side by side in one program, "auto" for as many as the machine is
                fastest with; ``func`` must offer lanes, as :class:`tunesmith.train.Problem` does. The sampler is asked
                for several configurations at once, so a method that learns from results sees them later: with few
                trials, few lanes find better ones. What a configuration gives does not depend on the lanes; each
                trial's user attribute ``lane_seconds`` is its share of the time.
            backend: who evaluates: ``"threads"`` (the default, ``n_jobs`` of them); ``"processes"``, one core each, to
                which a copy of ``func`` is sent (see :class:`~tunesmith.executors.ProcessExecutor`); ``"ray"``, a
                cluster (see :class:`~tunesmith.executors.RayExecutor`); or an executor such as
                :class:`~tunesmith.executors.SimulatorExecutor`, which replays recorded curves in virtual time.
            attempts: how often a trial is attempted in all, if its process is lost or it ends by an exception of
                ``retry``; then it becomes FAIL. It keeps its number and its parameters, and begins with what it has
                saved; an attempt that has saved something new does not count, nor does Ctrl-C. Default 3: one
                accident is common, two are rare, and three are the trial's own fault.
            retry: exceptions of ``func`` after which a trial is attempted again (a lost connection, a full disk).
            lease: seconds within which other workers notice that this process is gone, wherever it ran, and attempt its
                trials again; its heart beats six times in that time. The default outlasts an objective that keeps
                Python's lock for 40 s. ``None``: no heartbeats; then only its own machine notices, as it does without.
                A process that was frozen for longer finds that its results are refused.
            trial_timeout: seconds for which a trial may compute (pauses do not count); then its process is killed, and
                it is FAIL whatever ``catch`` says. Only with ``"processes"``: threads cannot be killed.
            trial_memory: memory that a trial's process may take, in bytes or as ``"2 GiB"``; as ``trial_timeout``.

        Ctrl-C and ``SystemExit`` release the running trials: they are attempted again by the next ``optimize``. So does
        SIGTERM (unless the program handles it): generators come to their next yield, if that is within 4 s, and the
        process ends with status 143 within 10 s.
        """
        jobs, catch, callbacks = check_settings(func, n_trials, timeout, n_jobs, catch, callbacks)
        most = check_max_paused(max_paused)
        check_directions(func, self.directions)
        executor = choose_executor(
            func, jobs, lanes, backend, n_trials=n_trials, trial_timeout=trial_timeout, trial_memory=trial_memory,
            collect=gc_after_trial,
        )  # fmt: skip
        if getattr(self._local, "in_loop", False):
            raise RuntimeError("Nested invocation of `Study.optimize` method isn't allowed.")
        warn_endless(n_trials, timeout)
        self._stop_flag = False
        settings = Settings(
            func, n_trials, timeout, catch, callbacks, gc_after_trial, keep_paused, most,
            check_attempts(attempts, retry), check_lease(lease),
        )  # fmt: skip
        with Progress(n_trials, timeout) if show_progress_bar else NoProgress() as progress:
            Loop(self, settings, progress).run(executor)

    def stop(self) -> None:
        """End the running :meth:`optimize` after the current trials; call it from an objective or a callback."""
        if not getattr(self._local, "in_loop", False):
            raise RuntimeError("`Study.stop` is supposed to be invoked inside an objective function or a callback.")
        self._stop_flag = True

    def workers(self) -> list[WorkerInfo]:
        """The processes that work on this study now, on whatever machine, and the trials that they hold."""
        return workers_of(self._log)

    def release_running(self) -> int:
        """Give back the RUNNING and PAUSED trials of all other processes, wherever; return how many there were.

        For when you know that these processes are gone, and do not want to wait for the end of their leases: a machine
        was lost, a container was replaced. The trials wait for another attempt; one
        that has lost its process three times becomes FAIL. If a process lives after all, its result is refused with
        :class:`~tunesmith.exceptions.StaleTrialError`. Trials of :meth:`ask` are left to whoever will tell them.
        """
        return sweep(self._session, others=True)

    def _describe_end(self, trial: Trial, values: list[float]) -> str:
        shown = f"value: {values[0]}" if len(values) == 1 else f"values: {values}"
        text = f"Trial {trial.number} finished with {shown} and parameters: {trial.params}."
        if len(values) == 1:
            history = self.history
            if (row := history.best_row) is not None:
                text += f" Best is trial {int(history.number[row])} with value: {history.Y[row, 0]}."
        return text

    def confirm(
        self, problem: Any, top: int = 5, repeats: int = 10, *,
        on_progress: Callable[[int, int], None] | None = None, lanes: int | str | None = None,
    ) -> Confirmation:  # fmt: skip
        """The final report: train the best configurations again on fresh seeds, and measure them on the test part.

        The outcome of each training is kept as an attribute of the study, so an interrupted call goes on where it was.

        Args:
            problem: what the study has optimized, a :class:`tunesmith.train.Problem` or alike: it has
                ``confirmation_seed(number)`` and ``evaluate_test(params, training_seed) -> {metric: value}``.
            top: how many of the best configurations (with different parameters).
            repeats: fresh trainings of each.
            on_progress: called with (trainings done, all of them) after each.
            lanes: train so many side by side as one program, or ``"auto"`` (see :meth:`optimize`).

        Raises:
            InvalidTypeError: no such problem. InvalidValueError: no complete trial, or impossible numbers.
        """
        from tunesmith.study._confirm import confirm

        return confirm(self, problem, top, repeats, on_progress, lanes)


def _reopened(
    name: str, storage: BaseStorage, sampler: BaseSampler | None, pruner: BasePruner | None, artifacts: Path | None
) -> Study:
    from tunesmith.study._create import load_study

    return load_study(study_name=name, storage=storage, sampler=sampler, pruner=pruner, artifacts=artifacts)
