"""What a comparison needs to know of a problem, and a plain function as one."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from tunesmith._fingerprint import fingerprint
from tunesmith.compare.directions import Direction, checked_directions
from tunesmith.distributions import BaseDistribution, CategoricalDistribution
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.space import Space


@runtime_checkable
class ComparableProblem(Protocol):
    """The protocol of :func:`tunesmith.compare.compare`; ``tunesmith.train.Problem`` follows it.

    Besides these members a problem may have

    - ``directions`` (default: minimize);
    - ``metrics`` or ``metric_names``: the names of what it reports, the objective first (default: ``"value"``);
    - ``metric_directions``: metric name -> ``"minimize"`` or ``"maximize"`` (default: what their names tell; the
      objective has its own);
    - ``describe()``: the problem in words, one or more lines;
    - ``steps`` or ``epochs``: how many reports a whole training makes; methods with stopping rules need to know it;
    - ``evaluate_test(params, training_seed) -> {metric: value}``: train that configuration again and measure it on the
      test split. Absent or None: there is none. If some names start with ``test_``, these are the test metrics, and the
      objective among the others shows whether training is reproducible.
    """

    @property
    def space(self) -> Space:
        """What is searched."""

    def for_repeat(self, repeat: int) -> Any:
        """The problem with the data split and training seeds of that repeat, the same for every method."""

    def __call__(self, trial: Any) -> Any:
        """The objective: a value, or a generator that yields one after each epoch."""

    def training_seed(self, number: int) -> int:
        """The seed that trial trains with; a function of the repeat and the number alone.

        It may take the trial's parameters as a second argument, for a space that has the seed as an axis.
        """

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able description that is equal for equal problems."""


class FunctionProblem:
    """A plain objective function as a problem of a comparison.

    Args:
        func: an objective as for ``study.optimize``: called with the trial, it returns a value or is a generator. If it
            also has parameters named ``seed`` or ``repeat``, it gets the training seed of the trial and the repeat, so
            that a noisy objective can be paired.
        space: what is searched; declared, because several methods need to know it before the first trial.
        name: a line that names the problem; the function's name by default. It also tells one comparison's folder from
            another's, so give different problems different names. (An objective or test that was edited is told by its
            source and by values that it holds under names without a leading underscore; what it calls is not looked
            at.)
        direction: ``"minimize"`` (default) or ``"maximize"``.
        metric_names: what the function reports, the objective first.
        metric_directions: metric name -> ``"minimize"`` or ``"maximize"``, for metrics whose names do not tell; a name
            counts for all splits (``"gain"`` for ``val_gain`` and ``test_gain``).
        test: optional ``test(params, seed) -> {metric: value}``, called once for the best configuration of each run.
        seed: from which training seeds are drawn.

    Raises:
        InvalidTypeError: ``func`` is not callable, ``space`` no space, ``metric_names`` no list of names, or
            ``metric_directions`` no mapping.
        InvalidValueError: an empty space, an impossible direction, or a metric named twice.
    """

    def __init__(
        self,
        func: Callable[..., Any],
        space: Space | Mapping[str, BaseDistribution | Mapping[str, Any]],
        *,
        name: str | None = None,
        direction: str = "minimize",
        metric_names: Sequence[str] = ("value",),
        metric_directions: Mapping[str, Direction] | None = None,
        test: Callable[[dict[str, Any], int], Mapping[str, float]] | None = None,
        seed: int = 0,
    ) -> None:
        if not callable(func):
            raise InvalidTypeError(f"The objective must be callable, but is {func!r}.")
        if direction not in ("minimize", "maximize"):
            raise InvalidValueError(f"`direction` must be 'minimize' or 'maximize', but is {direction!r}.")
        self._func = func
        self._wants = _wanted(func)
        self._test = test
        self.space = space if isinstance(space, Space) else Space(space)
        if not len(self.space):
            raise InvalidValueError("The space is empty; a comparison needs at least one parameter.")
        self.name = name if name is not None else _name(func)
        self.directions = [direction]
        self.metric_names = _names(metric_names)
        self.metric_directions = checked_directions(metric_directions, metrics_of(self)[0], direction)
        self.seed = seed
        self.repeat = 0
        self._source = {"objective": fingerprint(func), "test": fingerprint(test)}  # before it runs and changes itself

    def for_repeat(self, repeat: int) -> FunctionProblem:
        """A copy for that repeat."""
        other = copy.copy(self)
        other.repeat = repeat
        return other

    def training_seed(self, trial_number: int) -> int:
        """A 32-bit seed from (seed, repeat, trial number)."""
        return int(np.random.SeedSequence([self.seed, self.repeat, trial_number]).generate_state(1)[0])

    def __call__(self, trial: Any) -> Any:
        known = {"seed": self.training_seed(trial.number), "repeat": self.repeat}
        return self._func(trial, **{name: known[name] for name in self._wants})

    @property
    def evaluate_test(self) -> Callable[[dict[str, Any], int], Mapping[str, float]] | None:
        """The ``test`` given, or None."""
        return self._test

    def to_dict(self) -> dict[str, Any]:
        """The name, the seed, what of seed and repeat the objective takes, and hashes of objective and test."""
        wants = list(self._wants)
        return {"kind": "function", "name": self.name, "seed": self.seed, "wants": wants, "source": self._source}

    def describe(self) -> str:
        """The name."""
        return self.name


def _wanted(func: Callable[..., Any]) -> tuple[str, ...]:
    try:
        parameters = list(inspect.signature(func).parameters)[1:]
    except (TypeError, ValueError):  # some built-in callables have no signature
        return ()
    given = set()
    while isinstance(func, functools.partial):  # what is bound stays
        given |= set(func.keywords)
        func = func.func
    return tuple(name for name in ("seed", "repeat") if name in parameters and name not in given)


def _names(given: Any) -> list[str]:
    names = [given] if isinstance(given, str) else list(given)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise InvalidTypeError(
            f"`metric_names` must be names, the objective's first, such as ['loss', 'accuracy'], but is {given!r}."
        )
    if len(set(names)) < len(names):
        raise InvalidValueError(f"`metric_names` names a metric twice: {names}.")
    return names


def as_problem(problem: Any, space: Space | Mapping[str, Any] | None, name: str | None = None) -> Any:
    """The problem that ``compare``'s first argument means.

    Raises:
        InvalidTypeError: when it is neither a problem nor a function with a space.
        InvalidValueError: for several objectives, or impossible directions of metrics.
    """
    if isinstance(problem, ComparableProblem):
        if space is not None:
            raise InvalidValueError("This problem has a space of its own; leave `space` out, or change the problem's.")
        if name is not None:
            raise InvalidValueError(f"A problem names itself; leave `name={name!r}` out, which is for plain functions.")
    elif callable(problem):
        if space is None:
            raise InvalidTypeError(
                f"A comparison of a plain function needs its space: compare({_name(problem)}, ..., space={{...}})."
                f"{_lacks(problem)}"
            )
        problem = FunctionProblem(problem, space, name=name)
    else:
        raise InvalidTypeError(f"A comparison needs a problem or a function with `space=`, not {problem!r}.")
    directions = list(getattr(problem, "directions", ["minimize"]))
    if len(directions) != 1:
        raise InvalidValueError(f"A comparison handles one objective, but this problem has {len(directions)}.")
    metric_directions_of(problem)
    return problem


def _lacks(problem: Any) -> str:
    """What an object lacks that has part of what a problem has."""
    wanted = sorted(name for name in ("space", "for_repeat", "training_seed", "to_dict") if not hasattr(problem, name))
    if inspect.isroutine(problem) or len(wanted) == 4:
        return ""
    return f" (As a problem of its own it lacks {', '.join(wanted)}; see ComparableProblem.)"


def direction_of(problem: Any) -> str:
    """``"minimize"`` or ``"maximize"``."""
    first = next(iter(getattr(problem, "directions", ["minimize"])))
    return str(getattr(first, "name", first)).lower()


def metric_directions_of(problem: Any) -> dict[str, Direction]:
    """Metric name -> ``"minimize"`` or ``"maximize"``, as far as the problem states it.

    Raises:
        InvalidTypeError, InvalidValueError: impossible ones.
    """
    return checked_directions(
        getattr(problem, "metric_directions", None), metrics_of(problem)[0], direction_of(problem)
    )


def metrics_of(problem: Any) -> list[str]:
    """The names of what the problem reports, the objective first."""
    return list(getattr(problem, "metrics", None) or getattr(problem, "metric_names", None) or UNNAMED)


#: The metrics of a problem that names none.
UNNAMED = ["value"]

#: What a title names, and what it says when that is searched over.
_AXES = (("model", "several models"), ("data", "several data sets"))


def _one_or_several(space: Space, fields: Mapping[str, Any], name: str, several: str) -> str:
    axis = space.get(name)
    if axis is None:
        return str(fields[name])
    if axis.single() and isinstance(axis, CategoricalDistribution):
        return str(axis.choices[0])
    return several


def title_of(problem: Any) -> str:
    """One line that names the problem."""
    lines = description_of(problem).splitlines()
    if len(lines) == 1:
        return lines[0]
    fields = problem.to_dict()
    if {"data", "model"} <= set(fields):
        epochs = f", {fields['epochs']} epoch{'s' * (fields['epochs'] != 1)}" if "epochs" in fields else ""
        model, data = (_one_or_several(problem.space, fields, name, word) for name, word in _AXES)
        return f"{model} on {data}{epochs}"
    return str(fields.get("name") or _name(problem))


def description_of(problem: Any) -> str:
    """The problem in words, maybe several lines; "" when it does not say.

    Which repeat the problem stands at is left out: a comparison is over all of them.
    """
    describe = getattr(problem, "describe", None)
    text = str(describe()).strip() if callable(describe) else ""
    return text.replace(f", repeat {getattr(problem, 'repeat', None)}", "")


def training_seed(problem: Any, number: int, params: Mapping[str, Any]) -> int:
    """The seed of a trial, for problems that know its parameters as an argument and for those that do not."""
    takes = len(inspect.signature(problem.training_seed).parameters)
    return int(problem.training_seed(number, params) if takes > 1 else problem.training_seed(number))


def _name(thing: Any) -> str:
    while isinstance(thing, functools.partial):
        thing = thing.func
    return str(getattr(thing, "__qualname__", type(thing).__name__))
