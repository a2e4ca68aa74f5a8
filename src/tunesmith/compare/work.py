"""Doing what a comparison is missing: its studies, one after the other or several at a time.

Repeats are worked through in order, all methods in each, so that an interrupted comparison has whole pairs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from tunesmith import logging
from tunesmith.compare.collect import (
    EXHAUSTED,
    WALL,
    collect_ruled_run,
    collect_run,
    count_finished,
    key_of_test,
    remarks,
    union,
    utc,
)
from tunesmith.compare.course import course_of
from tunesmith.compare.environment import environment
from tunesmith.compare.evaluating import BrokenError, Evaluator, Interrupted, RuledEvaluator, interruption
from tunesmith.compare.folder import Folder
from tunesmith.compare.lanes import LanePool, LaneProblem, LanesStopped
from tunesmith.compare.methods import ReadyMethod, sampler_seed
from tunesmith.compare.problem import (
    UNNAMED,
    description_of,
    direction_of,
    metric_directions_of,
    metrics_of,
    title_of,
    training_seed,
)
from tunesmith.compare.progress import Progress
from tunesmith.compare.result import ComparisonResult, Method, Run
from tunesmith.compare.rules import step_name
from tunesmith.compare.stopping import outcomes
from tunesmith.exceptions import StorageInternalError
from tunesmith.executors._threads import run_workers
from tunesmith.pruners import get_pruner
from tunesmith.storages import BaseStorage, get_storage
from tunesmith.study import Study, create_study
from tunesmith.trial import TrialState

_logger = logging.get_logger("tunesmith.compare")


#: A study to be done: a method and a repeat. Runs by (label, repeat).
Item = tuple[ReadyMethod, int]
Runs = dict[tuple[str, int], Run]


class Comparison:
    """One call of :func:`compare`."""

    def __init__(
        self,
        problem: Any,
        methods: list[ReadyMethod],
        skipped: dict[str, str],
        trials: int,
        repeats: int,
        seed: int,
        n_jobs: int | None,
        lanes: int | str | None,
        on_progress: Callable[[Progress], None] | None,
        steps: int | None = None,
    ) -> None:
        """``steps`` of a whole training are given if some method has a stopping rule: then all count in steps."""
        self.steps = steps
        self.unit = step_name(problem)
        self.problem, self.methods, self.skipped = problem, methods, skipped
        self.trials, self.repeats, self.seed, self.n_jobs, self.lanes = trials, repeats, seed, n_jobs, lanes
        self.direction, self.metrics = direction_of(problem), metrics_of(problem)
        self._listener = on_progress
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._pool: LanePool | None = None
        self.at_a_time = n_jobs or 1  # studies
        self._done = 0
        self.computed = 0  # studies and test evaluations of this session
        self._failed = False  # the first failure is logged with its traceback, the others are only counted

    # -- the whole ----------------------------------------------------------------------------------------------

    def run(self, folder: Folder) -> ComparisonResult:
        """Do what is missing, collect, save."""
        where = environment()
        description = folder.agree(
            {
                "problem": self.problem.to_dict(), "space": self.problem.space.to_dict(), "direction": self.direction,
                "objective": self.metrics[0], "seed": self.seed,
            },
            {m.spec.label: self._identity(m) for m in self.methods},
            {"started": utc(), "trials": self.trials, "repeats": self.repeats, "n_jobs": self.n_jobs or 1, **where},
        )  # fmt: skip
        store = get_storage(str(folder.store))
        runs: Runs = {}
        complete = False
        try:
            for label, reason in self.skipped.items():
                self._tell("skip", label, message=reason)
            self._all_studies(store, runs)
            complete = True
        except BrokenError as broken:
            raise broken.error from broken.error.__cause__
        finally:
            try:
                result = self._result(runs, description, where, complete)
                result.save(folder.path / "result.json")
            finally:
                store.close()
        return result

    def _all_studies(self, store: BaseStorage, runs: Runs) -> None:
        todo = [item for repeat in range(self.repeats) for item in self._turn(repeat)]
        studies = {(m.spec.label, r): self._study(store, m, r) for m, r in todo}
        for method, repeat in todo:
            study = studies[method.spec.label, repeat]
            runs[method.spec.label, repeat] = self._collect(study, method, repeat)
            self._done += self._progress_of(runs[method.spec.label, repeat])

        warm_up = getattr(self.problem, "warm_up", None)
        if warm_up is not None and not all(run.finished for run in runs.values()):
            warm_up()  # otherwise the first trial's time would hold what only happens once

        if self.lanes is None:
            self._work(todo, studies, runs, self.at_a_time)
        else:
            self._work_in_lanes(todo, studies, runs)

    def _work_in_lanes(self, todo: list[Item], studies: dict[tuple[str, int], Study], runs: Runs) -> None:
        # never more lanes than studies, also of a comparison that goes on: the engine is chosen by their number
        lanes = min(self.lanes, len(todo)) if isinstance(self.lanes, int) else self.lanes
        runner = self.problem.open_lanes(lanes, self.n_jobs)
        clients = self.at_a_time = max(1, min(runner.room(), len(todo)))
        self._pool = LanePool(runner, clients)
        try:
            self._work(todo, studies, runs, clients)
        finally:
            self._pool.close()

    def _work(self, todo: list[Item], studies: dict[tuple[str, int], Study], runs: Runs, n: int) -> None:
        """Work through the studies, ``n`` at a time."""
        waiting = iter(todo)

        def worker() -> None:
            while not self._stop.is_set():
                with self._lock:
                    method, repeat = next(waiting, (None, 0))
                if method is None:
                    break
                study = studies[method.spec.label, repeat]
                try:
                    self._one_study(study, method, repeat, runs)
                finally:
                    run = runs[method.spec.label, repeat]
                    runs[method.spec.label, repeat] = self._collect(study, method, repeat, run)
            if self._pool is not None:
                self._pool.leave()

        run_workers(n, worker, self._end)

    def _end(self) -> None:
        """An error or Ctrl-C ends all studies: at once in lanes, else at their next epoch."""
        self._stop.set()
        if self._pool is not None:
            self._pool.stop()

    def _turn(self, repeat: int) -> list[tuple[ReadyMethod, int]]:
        """All methods in one repeat, each time another one first: what comes first waits for data and warm-up."""
        first = repeat % len(self.methods)
        return [(method, repeat) for method in (*self.methods[first:], *self.methods[:first])]

    # -- one study ----------------------------------------------------------------------------------------------

    def _study(self, store: BaseStorage, method: ReadyMethod, repeat: int) -> Study:
        study = create_study(
            storage=store, study_name=method.study_name(repeat), sampler=method.sampler,
            pruner=method.rule or get_pruner("nop"),
            direction=self.direction, seed=sampler_seed(self.seed, method.spec.label, repeat), space=self.problem.space,
            budget=method.budget(self.trials), load_if_exists=True,
        )  # fmt: skip
        if study.metric_names is None and self.metrics != UNNAMED:
            study.set_metric_names(self.metrics[:1])
        return study

    def _one_study(self, study: Study, method: ReadyMethod, repeat: int, runs: Runs) -> None:
        label = method.spec.label
        problem = self.problem.for_repeat(repeat)
        if self._pool is not None:
            problem = LaneProblem(problem, self._pool)
        before = runs[label, repeat]
        if not before.finished:
            self._tell("study", label, repeat)
            with self._lock:
                self.computed += 1
            begin = time.monotonic()
            try:
                (self._fill if method.rule is None else self._spend)(study, problem, label, repeat)
            finally:
                seconds = float(study.user_attrs.get(WALL, 0.0)) + time.monotonic() - begin
                study.set_user_attr(WALL, seconds)
        self._test(study, problem, method, repeat, runs)
        self._tell("done", label, repeat)

    def _fill(self, study: Study, problem: Any, label: str, repeat: int) -> None:
        """Run trials until the budget is used, or until another call brings none."""

        def after(study: Study, trial: Any) -> None:
            steps = self.steps or 0
            self._count(steps - min(steps, len(trial.intermediate_values)))
            self._after(study, trial, label, repeat)

        objective = Evaluator(
            problem, self._teller(label, repeat), self._count, self._stop, timed=self._pool is None,
            whole=self.steps,
        )  # fmt: skip
        before = count_finished(study, self.trials)
        study.release_running()  # the folder has one owner, so whoever ran a trial here is gone, on whatever machine
        found = count_finished(study, self.trials)
        with self._lock:
            self._done += (found - before) * (self.steps or 1)
        while found < self.trials:
            study.optimize(objective, n_trials=self.trials - found, catch=(Exception,), callbacks=[after])
            if self._stop.is_set():
                raise Interrupted
            before, found = found, count_finished(study, self.trials)
            if found == before:  # the loop ended by itself: nothing left to propose
                self._exhausted(study, found, self.trials)
                self._count((self.trials - found) * (self.steps or 0))
                return

    def _spend(self, study: Study, problem: Any, label: str, repeat: int) -> None:
        """Train under a stopping rule until the budget of steps is spent, or until the rule has no more wishes."""
        assert self.steps is not None
        objective = RuledEvaluator(problem, self._teller(label, repeat), self._count, self._stop, study, self.steps)
        left = objective.run(self.trials * self.steps, lambda s, trial: self._after(s, trial, label, repeat))
        if left > 0:
            self._exhausted(study, objective.course.spent, len(study.trials))
            self._count(left)

    def _exhausted(self, study: Study, found: int, trials: int) -> None:
        """Remember that the sampler has no more, unless a trial is open: then it was not that."""
        going = (TrialState.RUNNING, TrialState.WAITING)
        if held := [t.number for t in study.get_trials(deepcopy=False, states=going) if t.number < trials]:
            raise StorageInternalError(
                f"The study {study.study_name!r} has open trials that nobody evaluates: {held}. Call compare again."
            )
        study.set_user_attr(EXHAUSTED, found)

    def _after(self, study: Study, trial: Any, label: str, repeat: int) -> None:
        with self._lock:
            self._done += self.steps is None
        self._tell("told", label, repeat, trial.number, value=trial.value)
        if trial.state == TrialState.FAIL and not self._failed:
            self._failed = True
            _logger.warning("Failed trials count as spent budget; further ones are told below the table, not here.")
            logging.get_logger("tunesmith.study").setLevel(logging.ERROR)
        if self._stop.is_set():
            study.stop()

    def _teller(self, label: str, repeat: int) -> Callable[..., None]:
        def tell(event: str, number: int, step: int | None = None, value: float | None = None) -> None:
            self._tell(event, label, repeat, number, step, value)

        return tell

    def _count(self, steps: int) -> None:
        """Steps that were made, for the progress."""
        if self.steps is not None:
            with self._lock:
                self._done += steps

    def _test(self, study: Study, problem: Any, method: ReadyMethod, repeat: int, runs: Runs) -> None:
        """Evaluate the best configuration on the test split, unless the study knows the outcome already."""
        evaluate = getattr(problem, "evaluate_test", None)
        run = runs[method.spec.label, repeat] = self._collect(study, method, repeat)
        if evaluate is None or not run.finished or run.best is None or key_of_test(run.best) in study.user_attrs:
            return
        self._tell("test", run.method, repeat, run.best)
        with self._lock:
            self.computed += 1
        best = next(t for t in study.trials if t.number == run.best)
        seed = training_seed(problem, run.best, best.params)
        begin = time.monotonic()
        try:
            metrics = {str(k): float(v) for k, v in evaluate(best.params, seed).items()}
        except LanesStopped as stopped:
            raise interruption(stopped) from None
        except Exception as error:  # reported below the table, tried again by the next call
            _logger.warning("%s: the test could not be evaluated.", run.study, exc_info=True)
            run.test_error = f"{type(error).__name__}: {error}"
            return
        study.set_user_attr(key_of_test(run.best), {"metrics": metrics, "seconds": time.monotonic() - begin})

    # -- outcome ------------------------------------------------------------------------------------------------

    def _identity(self, method: ReadyMethod) -> str:
        """What a method is; a rule is another one if a whole training has another length."""
        return method.spec.text if method.rule is None else f"{method.spec.text}, {self.steps} steps"

    def _progress_of(self, run: Run) -> int:
        """What is done of a run that an earlier session has begun."""
        if self.steps is None:
            return len(run.trials)
        if run.finished:
            return self.trials * self.steps
        ruled = max((trial.spent or 0 for trial in run.trials), default=0)
        return ruled or len(run.trials) * self.steps

    def _collect(self, study: Study, method: ReadyMethod, repeat: int, before: Run | None = None) -> Run:
        common = self.metrics, self.direction
        n_initial = method.n_initial(self.problem.space)
        if method.rule is None or self.steps is None:
            run = collect_run(study, method.spec.label, repeat, self.trials, *common, n_initial=n_initial)
        else:
            course, budget = course_of(study, self.steps), self.trials * self.steps
            run = collect_ruled_run(study, method.spec.label, repeat, course, budget, *common, n_initial=n_initial)
        run.test_error = before.test_error if before is not None and not run.test else ""
        return run

    def _result(
        self, runs: Runs, description: dict[str, Any], where: dict[str, Any], complete: bool
    ) -> ComparisonResult:
        keys = [(m.spec.label, r) for m in self.methods for r in range(self.repeats)]
        ordered = [runs[key] for key in keys if key in runs]
        sampler = {m.spec.label: _short(repr(m.sampler)) for m in self.methods}
        text = description_of(self.problem)
        result = ComparisonResult(
            title=title_of(self.problem), description=text if "\n" in text else "",
            problem=self.problem.to_dict(), space=self.problem.space.to_dict(),
            objective=self.metrics[0], direction=self.direction,  # type: ignore[arg-type]
            metrics=union(self.metrics, (t.metrics for run in ordered for t in run.trials)),
            test_metrics=union([], (run.test for run in ordered)),
            methods=[
                Method(m.spec.label, m.spec.text, sampler[m.spec.label], m.note, _short(repr(m.rule)) if m.rule else "")
                for m in self.methods
            ],
            skipped=self.skipped, trials=self.trials, repeats=self.repeats, seed=self.seed, n_jobs=self.at_a_time,
            lanes=self.lanes,
            runs=ordered, environment=where, remarks=remarks(description["sessions"]), complete=complete,
            started=description["sessions"][0]["started"], finished=utc(),
            metric_directions=metric_directions_of(self.problem),
            has_test=getattr(self.problem, "evaluate_test", None) is not None, steps=self.steps, unit=self.unit,
        )  # fmt: skip
        if complete:
            result.stopping = outcomes(result)
        return result

    def _tell(
        self, event: str, method: str, repeat: int = 0, trial: int | None = None, step: int | None = None,
        value: float | None = None, message: str = "",
    ) -> None:  # fmt: skip
        if self._listener is not None:
            total = self.trials * self.repeats * len(self.methods) * (self.steps or 1)
            unit = "trials" if self.steps is None else f"{self.unit}s"
            with self._lock:
                try:
                    self._listener(
                        Progress(event, method, repeat, trial, step, value, self._done, total, message, unit)
                    )
                except Exception as error:  # a bug in a display must not become a failed trial
                    raise BrokenError(error) from None


def _short(text: str, length: int = 300) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."
