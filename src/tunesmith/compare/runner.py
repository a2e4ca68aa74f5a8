"""The main job: search methods against each other on one problem.

Each (method, repeat) is one study in the folder's store, run by one worker from its first trial to its last, so its
outcome does not depend on how many studies run at a time.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tunesmith import logging
from tunesmith.compare.evaluating import BudgetSpent
from tunesmith.compare.folder import Folder
from tunesmith.compare.methods import MethodSpec, ReadyMethod, method_sampler, parse_methods
from tunesmith.compare.problem import as_problem, direction_of
from tunesmith.compare.progress import Progress
from tunesmith.compare.result import ComparisonResult
from tunesmith.compare.rules import training_steps
from tunesmith.compare.work import Comparison
from tunesmith.exceptions import InvalidTypeError, InvalidValueError, MissingDependencyError
from tunesmith.executors.lanes import LaneObjective, check_lanes
from tunesmith.numerics.streams import stream
from tunesmith.space import Space
from tunesmith.study import create_study

__all__ = ["Progress", "compare"]

_logger = logging.get_logger("tunesmith.compare")


def compare(
    problem: Any,
    methods: str | Sequence[Any] | Mapping[str, Any],
    trials: int = 25,
    repeats: int = 10,
    *,
    out: str | os.PathLike[str] = "comparison",
    seed: int = 0,
    n_jobs: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    space: Space | Mapping[str, Any] | None = None,
    name: str | None = None,
    lanes: int | str | None = None,
    steps: int | None = None,
) -> ComparisonResult:
    """Compare search methods on one problem.

    Every method gets ``trials`` trials in each of ``repeats`` repeats. In one repeat all methods see the same data
    split and the same training seeds, so their results are paired; the samplers' own seeds differ. Every trial runs
    to its end, unless the method has a stopping rule (``"tpe+asha"``). The best configuration of each run is evaluated
    once on the test split, if the problem has one.

    **With stopping rules** all methods have the same budget of training: ``trials`` whole ones. A method without a
    rule trains so many configurations. One with a rule may spend ``trials * steps`` steps (reports), on as many
    configurations as it likes; whoever is in the middle of its training when they are spent is stopped. The best of a
    run is the best *complete* trial, also with a rule: what was stopped or paused had no whole training. Trials that
    are trained again after a crash are counted once.

    The same call in the same folder goes on where it was interrupted and computes nothing twice; methods, repeats and
    trials may be added. (A grid is laid out for its budget, and so are other methods that depend on it: with more
    trials they are other methods and start anew; the old study stays in the store.) Failed trials are results, too:
    they are not repeated. An edited objective function is refused in the folder of the old one. With more trials a
    method with a rule goes on with what it had paused, as if it had had the larger budget from the beginning.

    Args:
        problem: a ``tunesmith.train.Problem``, anything that follows
            :class:`~tunesmith.compare.problem.ComparableProblem`, or an objective function together with ``space``.
        methods: names such as ``["grid", "random", "sobol", "pso(inertia=0.7)", "optuna:tpe", "tpe+asha"]``; see
            :func:`~tunesmith.compare.methods.parse_methods` for the other forms. They have no seeds of their own.
            A rule's ``max_resource="auto"`` is the length of a whole training. Rules that copy states of trials
            (population-based training) cannot be compared.
        trials: the budget of each study, in whole trainings.
        repeats: studies a method; 8 is the least with which a difference among four methods can be significant.
        out: the folder for the store ``studies.jsonl``, the description ``comparison.json`` and ``result.json``.
        seed: of all samplers, together with the method's label and the repeat.
        n_jobs: studies that run at a time, in threads; -1 for as many as there are cores. Default 1. It changes the
            times, not the results. With ``lanes``: threads that compute, by default one a core.
        on_progress: called with a :class:`Progress`, one call at a time, maybe from another thread.
        space: of a plain objective function.
        name: of a plain objective function, for titles and to tell one folder from another; by default the function's.
        lanes: train so many configurations side by side as one program, those of different methods and repeats
            ("auto": as many as the machine is fastest with). Each study still has one trial after the other, so that
            no method learns less than alone. Stacks add in another order than single trainings: the results are those
            of the same comparison without lanes, or with another number of them, up to rounding. Not together with
            stopping rules.
        steps: how many times a whole training reports. Only methods with a rule need it, and only of problems that do
            not say it themselves: plain functions, and problems whose epochs are searched.

    Returns:
        The result, also saved as ``result.json``.

    Raises:
        InvalidValueError: impossible arguments, or a folder that holds another comparison (with the differences).
        StorageInternalError: another process is working in the folder.
        KeyboardInterrupt: passed on; what was finished is kept.
    """
    problem = as_problem(problem, space, name)
    trials, repeats = _positive(trials, "trials"), _positive(repeats, "repeats")
    jobs = n_jobs if n_jobs is None else (os.cpu_count() or 1) if n_jobs == -1 else _positive(n_jobs, "n_jobs")
    lanes = _lanes(lanes, problem)
    seed = _natural(seed, "seed")
    specs, whole = parse_methods(methods), training_steps(problem, steps)
    ruled = [spec.label for spec in specs if spec.rule is not None]
    if ruled and lanes is not None:
        raise InvalidValueError(
            f"Methods with stopping rules ({', '.join(ruled)}) cannot be compared in lanes, where a paused training "
            "would keep its place; leave `lanes` out, and use n_jobs for several studies at a time."
        )
    with _quiet():
        ready, skipped = _ready(specs, problem, trials, whole)
    comparison = Comparison(
        problem, ready, skipped, trials, repeats, seed, jobs, lanes, on_progress, whole if ruled else None
    )
    folder = Folder(out)
    with folder.owned(), _quiet():
        result = comparison.run(folder)
    if comparison.computed == 0:
        _logger.info("Nothing was computed: all results come from the folder %r.", str(folder.path))
    return result


def _lanes(lanes: Any, problem: Any) -> int | str | None:
    if lanes is None:
        return None
    if not isinstance(problem, LaneObjective):
        raise InvalidTypeError("`lanes` need a problem that offers them, such as tunesmith.train.Problem.")
    return check_lanes(lanes)


def _positive(value: Any, name: str) -> int:
    number = _natural(value, name)
    if number < 1:
        raise InvalidValueError(f"`{name}` must be at least 1, but is {value}.")
    return number


def _natural(value: Any, name: str) -> int:
    try:
        number = operator.index(value)  # NumPy's integers too
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise InvalidTypeError(f"`{name}` must be an integer, but is {value!r}.")
    if number < 0:
        raise InvalidValueError(f"`{name}` must not be negative, but is {value}.")
    return number


def _ready(
    specs: list[MethodSpec], problem: Any, trials: int, steps: int | None
) -> tuple[list[ReadyMethod], dict[str, str]]:
    """The methods that can take part, and why the others cannot.

    Each is asked for a first configuration, so that an impossible one fails here and not after hours of training.
    """
    ready, skipped = [], {}
    for spec in specs:
        try:
            method = method_sampler(spec, problem.space, trials, steps)
            _refuse_seed(method)
            _try(method, problem, trials)
            ready.append(method)
        except MissingDependencyError as error:
            skipped[spec.label] = str(error)
            _logger.warning("The method %s is skipped: %s", spec.label, error)
    if not ready:
        raise MissingDependencyError(f"No method is left to compare: {skipped}.")
    return ready, skipped


def _refuse_seed(method: ReadyMethod) -> None:
    seed = method.sampler.study_seed
    if seed is not None and seed != getattr(type(method.sampler), "seed", None):
        raise InvalidValueError(
            f"The method {method.spec.label!r} has a seed of its own, but seeds of methods follow from compare's seed; "
            f"leave seed={seed!r} out."
        )


def _try(method: ReadyMethod, problem: Any, trials: int) -> None:
    study = create_study(
        sampler=method.sampler, pruner=method.rule or "nop", direction=direction_of(problem), seed=0,
        space=problem.space, budget=method.budget(trials),
    )  # fmt: skip
    try:
        method.sampler.propose(problem.space, study.history, stream(0, 0), 1)
    except (InvalidValueError, InvalidTypeError) as error:
        kind = InvalidTypeError if isinstance(error, InvalidTypeError) else InvalidValueError
        raise kind(f"The method {method.spec.label!r} cannot search this problem: {error}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the study's line for every trial; a level that the user has set is left alone.

    What the comparison changes about the study's logger while it runs (see ``Comparison``) is undone too.
    """
    before, study = logging.get_verbosity(), logging.get_logger("tunesmith.study")
    level = study.level
    if before == logging.INFO:
        logging.set_verbosity(logging.WARNING)
    study.addFilter(_expected)
    try:
        yield
    finally:
        study.removeFilter(_expected)
        logging.set_verbosity(before)
        study.setLevel(level)


def _expected(record: Any) -> bool:
    """Not what the study says of the trial that is in its middle when the budget is spent."""
    return BudgetSpent.__name__ not in str(record.args)
