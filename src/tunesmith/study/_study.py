"""The study: what users hold. It appends through its session and looks at the folded history; nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith import events as ev
from tunesmith import logging
from tunesmith.distributions import BaseDistribution
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.executors import BaseExecutor, Work
from tunesmith.history import History
from tunesmith.pruners import BasePruner, get_pruner
from tunesmith.pruners import from_spec as pruner_from_spec
from tunesmith.records import frozen_rows, frozen_trial, frozen_trials
from tunesmith.samplers import BaseSampler, get_sampler
from tunesmith.samplers import from_spec as sampler_from_spec
from tunesmith.space import Space
from tunesmith.study._add import add_events, check_kinds, enqueue, is_known
from tunesmith.study._direction import StudyDirection
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
    check_max_paused,
    check_settings,
    choose_executor,
    warn_endless,
)
from tunesmith.study._states import TrialStates
from tunesmith.study._tell import tell
from tunesmith.trial import FrozenTrial, Trial, TrialState
from tunesmith.trial._base import clean_attr, own_attrs

if TYPE_CHECKING:
    import pandas as pd

    from tunesmith.storages import BaseStorage
    from tunesmith.study._confirm import Confirmation

_logger = logging.get_logger("tunesmith.study")
_ATTRS = (
    "number", "value", "datetime_start", "datetime_complete", "duration", "params", "user_attrs", "system_attrs",
    "state",
)  # fmt: skip


class Study:
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
        self._name = study_name
        self._log = log
        self._artifacts = artifacts
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

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def study_name(self) -> str:
        """The study's unique name in its storage."""
        return self._name

    @property
    def storage(self) -> BaseStorage:
        """Where the log lives."""
        return self._log.storage

    _storage = storage

    @property
    def sampler(self) -> BaseSampler:
        """The search method; rebuilt from the log when none was given."""
        if self._given[0] is None:
            self._given = (sampler_from_spec(self._log.fold.config["sampler"]), self._given[1])
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
            self._given = (self._given[0], pruner_from_spec(self._log.fold.config["pruner"]))
        assert self._given[1] is not None
        return self._given[1]

    @pruner.setter
    def pruner(self, pruner: BasePruner) -> None:
        pruner = get_pruner(pruner)
        self._given = (self._given[0], pruner)
        if self._made is not None:
            self._made.pruner = pruner

    @property
    def seed(self) -> int:
        """The seed of the study; with a trial's number it seeds everything random of that trial."""
        return int(self._log.fold.meta["seed"])

    @property
    def space(self) -> Space | None:
        """The space declared at ``create_study``, or ``None`` when it grows define-by-run."""
        declared = self._log.fold.meta.get("space")
        return Space.from_dict(declared) if declared else None

    @property
    def direction(self) -> StudyDirection:
        """The direction of a single-objective study; ``RuntimeError`` for several objectives."""
        self._one_objective("direction")
        return self.directions[0]

    @property
    def directions(self) -> list[StudyDirection]:
        """One direction an objective."""
        return [StudyDirection.MAXIMIZE if d < 0 else StudyDirection.MINIMIZE for d in self._log.fold.directions]

    @property
    def metric_names(self) -> list[str] | None:
        """Names of the objectives, if set."""
        return self._log.fold.metric_names

    def set_metric_names(self, metric_names: list[str]) -> None:
        """Name the objectives; the names appear in data frames, tables and plots."""
        is_list = isinstance(metric_names, Sequence) and not isinstance(metric_names, str)
        if not is_list or not all(isinstance(n, str) for n in metric_names):
            raise InvalidTypeError(f"`metric_names` must be a list of strings, but is {metric_names!r}.")
        if len(metric_names) != len(self.directions):
            raise InvalidValueError(f"{len(self.directions)} objectives need as many names, but got {metric_names!r}.")
        self._log.append([{"e": "metrics", "names": [str(n) for n in metric_names]}])

    @property
    def user_attrs(self) -> dict[str, Any]:
        """Attributes set by the user (a copy)."""
        self._log.sync()
        return own_attrs(self._log.fold.user_attrs)

    @property
    def system_attrs(self) -> dict[str, Any]:
        """Attributes set by the library (a copy)."""
        self._log.sync()
        return own_attrs(self._log.fold.system_attrs)

    def set_user_attr(self, key: str, value: Any) -> None:
        """Keep a JSON-able value with the study."""
        self._log.append([{"e": "attr", "k": key, "v": ev.attr_to_json(clean_attr(key, value))}])

    # -- what it has found --------------------------------------------------------------------------------------

    @property
    def history(self) -> History:
        """A snapshot of all trials as columns."""
        with self._log.lock:
            self._log.sync()
            return self._log.fold.history() if self._made is None else self._made.snapshot()

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials by number."""
        return self.get_trials()

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        """Trials by number, optionally only those in ``states``. Always new objects, ``deepcopy`` or not."""
        if states is not None and not isinstance(states, Container):
            raise InvalidTypeError(f"`states` must be a list of states such as [TrialState.COMPLETE], not {states!r}.")
        with self._log.lock:
            if self._made is not None:
                self._made.flush_all()
            self._log.sync()
            return frozen_trials(self._log.fold, states)

    def _frozen(self, number: int) -> FrozenTrial:
        with self._log.lock:
            return frozen_trial(self._log.fold, number)

    def _one_objective(self, what: str) -> None:
        if len(self._log.fold.directions) != 1:
            raise RuntimeError(f"`{what}` needs a single objective; this study has several, use `best_trials`.")

    @property
    def best_trial(self) -> FrozenTrial:
        """The feasible COMPLETE trial with the best value, the earliest among equals.

        Raises:
            ValueError: there is none yet. RuntimeError: the study has several objectives.
        """
        self._one_objective("best_trial")
        history = self.history
        row = history.best_row
        if row is None:
            raise InvalidValueError("No trials are completed (and feasible) yet, so there is no best one.")
        return self._frozen(int(history.number[row]))

    @property
    def best_value(self) -> float:
        """The value of :attr:`best_trial`."""
        value = self.best_trial.value
        assert value is not None
        return value

    @property
    def best_params(self) -> dict[str, Any]:
        """The parameters of :attr:`best_trial`."""
        return self.best_trial.params

    @property
    def best_trials(self) -> list[FrozenTrial]:
        """The feasible COMPLETE trials that no other dominates (the Pareto front), by number."""
        history = self.history
        with self._log.lock:
            return frozen_rows(self._log.fold, sorted(history.pareto_rows.tolist(), key=history.number.__getitem__))

    def trials_dataframe(self, attrs: tuple[str, ...] = _ATTRS, multi_index: bool = False) -> pd.DataFrame:
        """The trials as a ``pandas`` data frame, one row a trial; columns as in Optuna.

        Args:
            attrs: fields of :class:`~tunesmith.trial.FrozenTrial`; dictionaries become one column a key, ``metrics``
                the last value of each. Constraints are in ``constraints``, not among the system attributes.
            multi_index: two-level columns ``("params", "x")`` instead of ``"params_x"``.

        Raises:
            MissingDependencyError: pandas is not installed. InvalidValueError: an unknown field.
        """
        from tunesmith.study._frame import trials_dataframe

        return trials_dataframe(self, attrs, multi_index)

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
            n_jobs: worker threads; -1 is one a core. Default 1; with ``lanes``, one a core.
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
            backend: who evaluates: ``"threads"`` (the default, ``n_jobs`` of them), or an executor such as
                :class:`~tunesmith.executors.SimulatorExecutor`, which replays recorded curves in virtual time.

        Ctrl-C and ``SystemExit`` release the running trials: they are attempted again by the next ``optimize``.
        """
        jobs, catch, callbacks = check_settings(func, n_trials, timeout, n_jobs, catch, callbacks)
        most = check_max_paused(max_paused)
        check_directions(func, self.directions)
        executor = choose_executor(func, jobs, lanes, backend)
        if getattr(self._local, "in_loop", False):
            raise RuntimeError("Nested invocation of `Study.optimize` method isn't allowed.")
        warn_endless(n_trials, timeout)
        self._stop_flag = False
        settings = Settings(func, n_trials, timeout, catch, callbacks, gc_after_trial, keep_paused, most)
        with Progress(n_trials, timeout) if show_progress_bar else NoProgress() as progress:
            Loop(self, settings, progress).run(executor)

    def stop(self) -> None:
        """End the running :meth:`optimize` after the current trials; call it from an objective or a callback."""
        if not getattr(self._local, "in_loop", False):
            raise RuntimeError("`Study.stop` is supposed to be invoked inside an objective function or a callback.")
        self._stop_flag = True

    def release_running(self) -> int:
        """Give back the RUNNING and PAUSED trials of all other processes, wherever; return how many there were.

        For when you know that these processes are gone, and this one cannot: a machine was lost, a container was
        replaced. (What died on this machine, ``optimize`` finds by itself.) The trials wait for another attempt; one
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

    # -- by hand ------------------------------------------------------------------------------------------------

    def enqueue_trial(
        self, params: dict[str, Any], user_attrs: dict[str, Any] | None = None, skip_if_exists: bool = False
    ) -> None:
        """Put a configuration in the queue; the next trials take it before the sampler is asked.

        Args:
            params: name -> value; names left out are sampled.
            user_attrs: attributes of the trial.
            skip_if_exists: do nothing when a trial has just these parameters, or was enqueued with just these.
        """
        if skip_if_exists and is_known(self.get_trials(), params):
            _logger.info("A trial with the parameters %s exists already; it is not enqueued again.", params)
            return
        enqueue(self._log, params, user_attrs)

    def add_trial(self, trial: FrozenTrial) -> None:
        """Add a record made elsewhere (see :func:`tunesmith.create_trial`); it gets the next number."""
        self.add_trials([trial])

    def add_trials(self, trials: Iterable[FrozenTrial]) -> None:
        """Add several records, all or none."""
        add_events(self._log, list(trials))


def _reopened(
    name: str, storage: BaseStorage, sampler: BaseSampler | None, pruner: BasePruner | None, artifacts: Path | None
) -> Study:
    from tunesmith.study._create import load_study

    return load_study(study_name=name, storage=storage, sampler=sampler, pruner=pruner, artifacts=artifacts)
