"""The final report on a search: its best configurations, trained again on fresh seeds.

The best value of a search is the smallest of many noisy ones, so it is smaller than what its configuration gives on
average (the "winner's curse"), the more so the more was tried and the noisier a training is. Training the chosen
configurations again, on seeds that the search has not used, shows by how much; and the test part, which the search has
not looked at, shows what the choice is worth. What the fresh values do not show is a choice that fits the images of
the validation part: those are still the same. The difference between them and the test values does.

Source: G. Cawley, N. Talbot, On over-fitting in model selection and subsequent selection bias in performance
evaluation, JMLR 11 (2010).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.numerics.statistics import mean_sd
from tunesmith.study._confirm_lanes import Fresh, in_lanes, reason_of
from tunesmith.study._direction import StudyDirection
from tunesmith.study._settings import check_directions
from tunesmith.trial import FrozenTrial, TrialState

if TYPE_CHECKING:
    from tunesmith.study._study import Study

#: What the names of test metrics begin with.
_TEST = "test_"
#: Study attributes begin so; then come the problem, the trial's number and the number of the training.
_ATTR = "confirm"


@dataclass(frozen=True)
class Confirmed:
    """One configuration, trained again.

    Attributes:
        number: of its trial.
        params: its parameters.
        search_value: what the search has seen.
        results: metrics of each fresh training that did not fail, as the problem names them.
        failures: why the others failed.
        objective: name of the objective among the metrics.
        sign: 1 when small values of it are better, else -1.
    """

    number: int
    params: dict[str, Any]
    search_value: float
    results: tuple[dict[str, float], ...]
    failures: tuple[str, ...]
    objective: str
    sign: int

    @property
    def metrics(self) -> list[str]:
        """The names of what was measured, the objective first, then those of the test part."""
        names = [name for result in self.results for name in result]
        return list(dict.fromkeys([self.objective, *(name for name in names if name.startswith(_TEST)), *names]))

    def mean_sd(self, metric: str) -> tuple[float, float]:
        """Mean and standard deviation of a metric over the fresh trainings; NaN where there are none (or one)."""
        values = [result[metric] for result in self.results if metric in result]
        return mean_sd(values) if values else (math.nan, math.nan)

    @property
    def optimism(self) -> tuple[float, float]:
        """By how much the search's value was better than the mean of the fresh ones, and that mean's standard error.

        Positive: the search saw a better value than the configuration gives on average.
        """
        mean, sd = self.mean_sd(self.objective)
        error = sd / math.sqrt(len(self.results)) if self.results else math.nan
        return self.sign * (mean - self.search_value), error


@dataclass(frozen=True)
class Confirmation:
    """What :meth:`tunesmith.Study.confirm` has found. ``print`` shows it as a table.

    Attributes:
        objective: name of the objective.
        direction: "minimize" or "maximize".
        repeats: fresh trainings of each configuration.
        trials: the configurations, the search's best first.
        has_test: whether the problem has a test part.
    """

    objective: str
    direction: str
    repeats: int
    trials: tuple[Confirmed, ...]
    has_test: bool

    @property
    def best(self) -> Confirmed:
        """The configuration with the best mean of the fresh values of the objective (never by the test part).

        One whose trainings failed more often stands behind those that failed less often.
        """
        return min(
            self.trials, key=lambda t: (len(t.failures), _worst_if_nan(t.sign * t.mean_sd(self.objective)[0]), t.number)
        )

    @property
    def optimism(self) -> tuple[float, float]:
        """:attr:`Confirmed.optimism` of the search's best trial."""
        return self.trials[0].optimism

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able form: every value, the means and deviations, the optimism."""
        trials = [
            {
                "number": t.number, "params": t.params, "search_value": t.search_value, "results": list(t.results),
                "failures": list(t.failures), "optimism": list(t.optimism),
                "mean_sd": {name: list(t.mean_sd(name)) for name in t.metrics},
            }
            for t in self.trials
        ]  # fmt: skip
        return {
            "objective": self.objective, "direction": self.direction, "repeats": self.repeats,
            "has_test": self.has_test, "best": self.best.number, "optimism": list(self.optimism), "trials": trials,
        }  # fmt: skip

    def __str__(self) -> str:
        return "\n".join([*self._table(), "", *self._sentences()])

    def _table(self) -> list[str]:
        tests = list(dict.fromkeys(name for t in self.trials for name in t.metrics if name.startswith(_TEST)))
        failed = any(t.failures for t in self.trials)
        head = ["trial", f"search {self.objective}", f"fresh {self.objective}", "optimism", *tests]
        rows = [head + ["failed"] * failed]
        for t in self.trials:
            cells = [
                str(t.number),
                f"{t.search_value:.4g}",
                *(_spread(*t.mean_sd(n)) for n in (self.objective, *tests)),
            ]
            cells.insert(3, _spread(*t.optimism, sign="+"))
            rows.append(cells + [f"{len(t.failures)} of {self.repeats}"] * failed)
        widths = [max(len(row[j]) for row in rows) for j in range(len(rows[0]))]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        return [lines[0], "-" * len(lines[0]), *lines[1:]]

    def _sentences(self) -> list[str]:
        first, best = self.trials[0], self.best
        gap, error = first.optimism
        lines = [
            f"Fresh: mean ± standard deviation over {self.repeats} trainings with seeds that the search has not used. "
            "Optimism: ± standard error."
        ]
        what = f"The search's best value, {first.search_value:.4g} of trial {first.number},"
        if not math.isfinite(gap):
            lines.append(f"{what} cannot be judged: no fresh training succeeded.")
        elif not math.isfinite(error):
            lines.append(
                f"{what} differs by {_spread(gap, error, sign='+')} from the fresh one; more repeats tell more."
            )
        elif abs(gap) <= 2 * error:
            lines.append(f"{what} is not seen to be optimistic: {_spread(gap, error, sign='+')}, within two errors.")
        else:
            word = "optimistic" if gap > 0 else "pessimistic"
            lines.append(f"{what} was {word} by {_spread(abs(gap), error)}.")
        if best is not first:
            lines.append(f"By the fresh values, trial {best.number} is the best.")
        if not self.has_test:
            lines.append("The problem has no test part that the search has not looked at.")
        return lines


def _worst_if_nan(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _spread(value: float, spread: float, sign: str = "") -> str:
    """``0.3204 ± 0.0081``: two digits of the spread, and as many decimals of the value."""
    if not (math.isfinite(value) and math.isfinite(spread) and spread > 0):
        return f"{value:{sign}.4g}" + ("" if math.isnan(spread) else f" ± {spread:.2g}")
    decimals = max(0, 1 - math.floor(math.log10(float(f"{spread:.1e}"))))
    return f"{value:{sign}.{decimals}f} ± {spread:.{decimals}f}"


# -- doing it ----------------------------------------------------------------------------------------------------------


def confirm(
    study: Study,
    problem: Any,
    top: int,
    repeats: int,
    on_progress: Callable[[int, int], None] | None = None,
    lanes: int | str | None = None,
) -> Confirmation:
    """See :meth:`tunesmith.Study.confirm`."""
    evaluate = _checked(problem, top, repeats)
    objective = str(next(iter(getattr(problem, "metrics", None) or problem.metric_names)))
    chosen = best_trials(study, top)
    _check_objective(study, problem, objective, chosen[0])
    about, known = _identity(problem), study.user_attrs
    # all configurations once, then once more: if this is interrupted, they have equally many
    todo = [Fresh(trial, i, f"{_ATTR}.{about}.{trial.number}.{i}") for i in range(repeats) for trial in chosen]
    missing = [fresh for fresh in todo if fresh.key not in known]
    trained = _one_by_one(problem, evaluate, missing) if lanes is None else in_lanes(problem, missing, lanes)
    tell = on_progress or (lambda done, total: None)
    for done in range(len(todo) - len(missing)):
        tell(done + 1, len(todo))
    with closing(trained):
        for done, (fresh, outcome) in enumerate(trained, len(todo) - len(missing) + 1):
            known[fresh.key] = _kept(outcome, objective)
            study.set_user_attr(fresh.key, known[fresh.key])
            tell(done, len(todo))
    outcomes = {t.number: [known[fresh.key] for fresh in todo if fresh.trial is t] for t in chosen}
    sign = 1 if study.direction is StudyDirection.MINIMIZE else -1
    trials = tuple(_confirmed(trial, outcomes[trial.number], objective, sign) for trial in chosen)
    has_test = getattr(problem, "evaluate_test", None) is not None
    return Confirmation(objective, "minimize" if sign > 0 else "maximize", repeats, trials, has_test)


def _check_objective(study: Study, problem: Any, objective: str, trial: FrozenTrial) -> None:
    """Whether the study has searched by the problem's objective, as far as its log tells.

    Raises:
        InvalidValueError: it has searched by another one, so its best trials are not the problem's.
    """
    check_directions(problem, study.directions)
    names = study.metric_names
    if (names and names != [objective]) or (not names and objective in trial.metrics):
        what = f"by {names[0]!r}" if names else f"by another metric and has only reported {objective!r} beside it"
        raise InvalidValueError(
            f"The problem's objective is {objective!r}, but the study has searched {what}; give the problem that the "
            "study has optimized."
        )


def _checked(problem: Any, top: int, repeats: int) -> Callable[..., Mapping[str, float]]:
    """What trains a configuration and measures it."""
    for name, value in (("top", top), ("repeats", repeats)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidTypeError(f"`{name}` must be an integer, but is {value!r}.")
        if value < 1:
            raise InvalidValueError(f"`{name}` must be at least 1, but is {value}.")
    found = getattr(problem, "evaluate_test", None) or getattr(problem, "evaluate", None)
    if found is None or not hasattr(problem, "confirmation_seed"):
        raise InvalidTypeError(
            "To be confirmed, a problem needs `confirmation_seed(number)` and `evaluate_test(params, training_seed)`, "
            f"as tunesmith.train.Problem has them, but it is {problem!r}."
        )
    return found  # type: ignore[no-any-return]


def best_trials(study: Study, top: int) -> list[FrozenTrial]:
    """The best COMPLETE and feasible trials with different parameters, the best first; the earlier one among equals.

    Raises:
        InvalidValueError: there is none. RuntimeError: the study has several objectives.
    """
    sign = 1 if study.direction is StudyDirection.MINIMIZE else -1
    complete = study.get_trials(states=(TrialState.COMPLETE,))
    feasible = [t for t in complete if t.values and all(value <= 0 for value in t.constraints.values())]
    found: dict[str, FrozenTrial] = {}
    for trial in sorted(feasible, key=lambda t: (sign * (t.value or 0.0), t.number)):
        found.setdefault(json.dumps(trial.params, sort_keys=True, default=repr), trial)
    if not found:
        raise InvalidValueError("No trials are completed (and feasible) yet, so there is nothing to confirm.")
    return list(found.values())[:top]


def _one_by_one(
    problem: Any, evaluate: Callable[..., Mapping[str, float]], todo: Sequence[Fresh]
) -> Generator[tuple[Fresh, Mapping[str, float] | str], None, None]:
    """Train; yields what was measured, or why it failed."""
    for fresh in todo:
        outcome: Mapping[str, float] | str
        try:
            outcome = evaluate(fresh.trial.params, problem.confirmation_seed(fresh.repeat))
        except Exception as error:
            outcome = reason_of(problem, error)
        yield fresh, outcome


def _kept(outcome: Mapping[str, float] | str, objective: str) -> dict[str, Any]:
    """What to keep of one fresh training."""
    if isinstance(outcome, str):
        return {"fail_reason": outcome}
    metrics = {str(name): float(value) for name, value in outcome.items()}
    if objective not in metrics:
        raise InvalidValueError(f"The problem measured {list(metrics)}, but not its objective {objective!r}.")
    return {"fail_reason": f"{objective} is NaN."} if math.isnan(metrics[objective]) else {"metrics": metrics}


def _confirmed(trial: FrozenTrial, outcomes: Sequence[Mapping[str, Any]], objective: str, sign: int) -> Confirmed:
    assert trial.value is not None  # it is COMPLETE
    results = tuple(dict(outcome["metrics"]) for outcome in outcomes if "metrics" in outcome)
    failures = tuple(str(outcome["fail_reason"]) for outcome in outcomes if "fail_reason" in outcome)
    return Confirmed(trial.number, dict(trial.params), trial.value, results, failures, objective, sign)


def _identity(problem: Any) -> str:
    """What tells a problem from others: trainings of another one do not count."""
    text = json.dumps(problem.to_dict(), sort_keys=True, default=repr)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
