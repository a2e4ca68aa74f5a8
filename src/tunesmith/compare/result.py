"""What a comparison found: plain data, from which every table, file and picture is made.

Nothing here computes statistics or draws; nothing needs a store. ``to_dict`` gives strict JSON (infinities and NaN are
tagged strings), ``from_dict`` reads it back.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from tunesmith.compare.directions import Direction, find_direction
from tunesmith.distributions import choice_from_json, choice_to_json
from tunesmith.exceptions import InvalidValueError
from tunesmith.space import Space

#: Raised by one when the meaning of a field changes.
FORMAT = 1


@dataclass
class TrialRow:
    """One trial of one study.

    Attributes:
        number: its number within the study, from 0.
        state: ``"COMPLETE"``, ``"PRUNED"`` or ``"FAIL"``.
        params: name -> value.
        value: the objective's final value; None for a failed trial.
        metrics: metric name -> final validation value, the objective's name included.
        curves: metric name -> list of ``[step, value]`` (usually one entry an epoch).
        duration: seconds from its start to its end, None when unknown.
        initial: whether the method chose it before it looked at any result (a swarm's first positions).
        error: why it failed, or "".
        spent: under a stopping rule: how many steps its study had spent when this trial had its last one.
    """

    number: int
    state: str
    params: dict[str, Any]
    value: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[list[float]]] = field(default_factory=dict)
    duration: float | None = None
    initial: bool = False
    error: str = ""
    spent: int | None = None


@dataclass
class Run:
    """One method in one repeat: one study.

    Attributes:
        method: the method's label.
        repeat: from 0.
        study: name of the study in the store.
        seed: of the sampler.
        trials: in the order of their numbers.
        best: number of the best complete trial, None when none is complete.
        test: metric name -> value on the test split of the configuration that was best in validation; empty when the
            problem has no test.
        retrained: the objective's validation value when the configuration was trained again for the test, or None;
            equal to its first value when training is reproducible.
        test_error: why the test could not be evaluated, or "".
        test_seconds: how long the test evaluation took.
        wall_seconds: time spent in this study by the comparison (test excluded, all sessions added up).
        finished: whether the study has used its budget (or its method has nothing left to propose); only finished
            runs enter means and tests.
    """

    method: str
    repeat: int
    study: str
    seed: int
    trials: list[TrialRow] = field(default_factory=list)
    best: int | None = None
    test: dict[str, float] = field(default_factory=dict)
    retrained: float | None = None
    test_error: str = ""
    test_seconds: float | None = None
    wall_seconds: float | None = None
    finished: bool = True

    @property
    def best_trial(self) -> TrialRow | None:
        """The best complete trial, or None."""
        return next((t for t in self.trials if t.number == self.best), None)

    @property
    def best_value(self) -> float | None:
        """The objective's value of the best trial, or None."""
        trial = self.best_trial
        return None if trial is None else trial.value

    @property
    def train_seconds(self) -> float:
        """Sum of the durations of the trials."""
        return sum(t.duration for t in self.trials if t.duration is not None)

    @property
    def n_failed(self) -> int:
        """How many trials failed."""
        return sum(t.state == "FAIL" for t in self.trials)

    def best_so_far(self, direction: Direction) -> list[float | None]:
        """The best complete value among the first 1, 2, ... trials; None before the first complete one."""
        best: float | None = None
        curve: list[float | None] = []
        for trial in self.trials:
            if trial.state == "COMPLETE" and trial.value is not None and better(trial.value, best, direction):
                best = trial.value
            curve.append(best)
        return curve

    def best_metric(self, name: str, direction: Direction) -> float | None:
        """The best final value of one metric over all complete trials (not only in the chosen one)."""
        values = [t.metrics[name] for t in self.trials if t.state == "COMPLETE" and name in t.metrics]
        values = [v for v in values if v == v]
        if not values:
            return None
        return min(values) if direction == "minimize" else max(values)


@dataclass
class Method:
    """One method that took part.

    Attributes:
        label: how it is called in tables and in the names of its studies.
        spec: what it was made from, e.g. ``"pso(inertia=0.7)"``.
        sampler: how the sampler describes itself.
        note: what a reader must know, e.g. the grid's levels, or "".
        rule: how its stopping rule describes itself; "" if its trials run to their ends.
    """

    label: str
    spec: str
    sampler: str = ""
    note: str = ""
    rule: str = ""


@dataclass
class RuleOutcome:
    """What one stopping rule would have done to the complete trials of the runs that have curves.

    Attributes:
        rule: how it is called.
        runs: that have curves.
        trials: of these runs, and ``stopped`` how many of them it would have stopped.
        steps: reports of all these trials, and ``used`` how many would have been made under the rule.
        regrets: one a run whose best trial it would have stopped: by how much the best of the others is worse; infinite
            where it would have stopped all.
    """

    rule: str
    runs: int
    trials: int
    stopped: int
    steps: int
    used: int
    regrets: list[float] = field(default_factory=list)


@dataclass(repr=False)
class ComparisonResult:
    """A comparison of search methods on one problem.

    Attributes:
        title: one line that names the problem.
        description: the problem in more lines, or "".
        problem: the problem's own description (``problem.to_dict()``).
        space: the space as a dictionary (``Space.from_dict`` reads it).
        objective: name of the objective, e.g. ``"loss"``.
        direction: of the objective.
        metrics: names of the validation metrics, the objective first.
        test_metrics: names of the test metrics; empty when the problem has no test.
        methods: those that took part, in the order given.
        skipped: label -> why a method could not take part.
        trials: the budget of each study; for methods with a stopping rule as much training as so many whole trials.
        repeats: how many studies each method has.
        seed: from which every other seed follows.
        n_jobs: how many studies ran at a time.
        lanes: how many trials were trained side by side in one program, or "auto"; None for none.
        runs: one a (method, repeat), method by method.
        environment: versions and hardware of the last session.
        remarks: sentences about this comparison that belong below Table I.
        complete: False when it was interrupted; the same call in the same folder goes on.
        started: ISO time (UTC) of the first session; ``finished`` of the last.
        metric_directions: metric name -> ``"minimize"`` or ``"maximize"``, as far as the problem states it.
        has_test: whether the problem has a test split; None in files that do not say.
        stopping: what usual stopping rules would have done to the methods without one; empty when no trial of theirs
            has a curve, or not all is done.
        steps: how many steps a whole training has; None when no method has a stopping rule.
        unit: what a step is called: "epoch" or "step".
    """

    title: str
    problem: dict[str, Any]
    space: dict[str, Any]
    objective: str
    direction: Direction
    metrics: list[str]
    test_metrics: list[str]
    methods: list[Method]
    skipped: dict[str, str]
    trials: int
    repeats: int
    seed: int
    n_jobs: int = 1
    runs: list[Run] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    complete: bool = True
    started: str = ""
    finished: str = ""
    description: str = ""
    metric_directions: dict[str, Direction] = field(default_factory=dict)
    has_test: bool | None = None
    lanes: int | str | None = None
    stopping: list[RuleOutcome] = field(default_factory=list)
    steps: int | None = None
    unit: str = "step"

    def __repr__(self) -> str:
        best = self.best_run()
        found = "" if best is None else f"; best {best.best_value:.4g} by {best.method}, repeat {best.repeat}"
        state = "" if self.complete else "; interrupted"
        return (
            f"ComparisonResult({self.title!r}: {', '.join(self.labels)}; {len(self.runs)} runs of {self.trials} trials"
            f"; {self.direction} {self.objective}{found}{state})"
        )

    @property
    def ruled(self) -> list[str]:
        """The labels of the methods with a stopping rule."""
        return [m.label for m in self.methods if m.rule]

    @property
    def labels(self) -> list[str]:
        """The labels of the methods, in order."""
        return [m.label for m in self.methods]

    def run(self, method: str, repeat: int = 0) -> Run:
        """The run of one method in one repeat.

        Raises:
            InvalidValueError: when there is none, with those there are.
        """
        for run in self.runs:
            if run.method == method and run.repeat == repeat:
                return run
        if method not in self.labels:
            raise InvalidValueError(f"No method {method!r} in this comparison; there are {self.labels}.")
        raise InvalidValueError(f"No repeat {repeat} of {method!r}; there are {[r.repeat for r in self.of(method)]}.")

    def of(self, method: str) -> list[Run]:
        """The runs of one method, by repeat."""
        return sorted((r for r in self.runs if r.method == method), key=lambda r: r.repeat)

    def best_run(self) -> Run | None:
        """The run that holds the best validation value of all, or None when no trial is complete."""
        best: Run | None = None
        for run in self.runs:
            leader = None if best is None else best.best_value
            if run.best_value is not None and better(run.best_value, leader, self.direction):
                best = run
        return best

    def parsed_space(self) -> Space:
        """The space as an object."""
        return Space.from_dict(self.space)

    def to_dict(self, *, timings: bool = True) -> dict[str, Any]:
        """Strict-JSON form, with what is derived (best-so-far curves, best configuration) written out for readers.

        Args:
            timings: without them two runs of one deterministic comparison are equal; durations, dates, the
                environment, ``n_jobs`` and ``lanes`` are left out.
        """
        result = {f.name: getattr(self, f.name) for f in fields(self)}
        result["methods"] = [asdict(m) for m in self.methods]
        result["stopping"] = [asdict(o) for o in self.stopping]
        result["runs"] = [self._run_dict(run) for run in self.runs]
        if not timings:
            for name in ("started", "finished", "environment", "n_jobs", "lanes"):
                del result[name]
            for run in result["runs"]:
                del run["test_seconds"], run["wall_seconds"]
                for trial in run["trials"]:
                    del trial["duration"]
        return {"format": FORMAT, **_encode(result)}

    def _run_dict(self, run: Run) -> dict[str, Any]:
        best = run.best_trial
        return {
            **asdict(run),
            "best_so_far": run.best_so_far(self.direction),
            "best_value": run.best_value,
            "best_params": best.params if best else None,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ComparisonResult:
        """Inverse of :meth:`to_dict`.

        Raises:
            InvalidValueError: when ``data`` is not in this format.
        """
        if not isinstance(data, Mapping) or data.get("format") != FORMAT or "runs" not in data:
            found = data.get("format") if isinstance(data, Mapping) else type(data).__name__
            raise InvalidValueError(f"This is no result of tunesmith's compare in format {FORMAT} (found {found!r}).")
        values = {f.name: _decode(data[f.name]) for f in fields(cls) if f.name in data}
        values["methods"] = [Method(**m) for m in values["methods"]]
        values["runs"] = [_run_from_dict(run) for run in values["runs"]]
        values["stopping"] = [RuleOutcome(**o) for o in values.get("stopping", ())]
        return cls(**values)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the JSON form to a file, all or nothing."""
        target = Path(path)
        text = json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False, indent=1)
        temporary = target.with_name(target.name + ".tmp")
        temporary.write_text(text + "\n", encoding="utf-8")
        os.replace(temporary, target)
        return target

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ComparisonResult:
        """Read a file written by :meth:`save`, or the ``result.json`` of a comparison's folder.

        Raises:
            InvalidValueError: when the file is something else.
        """
        source = Path(path)
        if source.is_dir():
            source = source / "result.json"
        try:
            return cls.from_dict(json.loads(source.read_text(encoding="utf-8")))
        except (json.JSONDecodeError, UnicodeDecodeError, TypeError, KeyError) as error:
            raise InvalidValueError(f"{str(source)!r} is no result of tunesmith's compare: {error}.") from None


def better(value: float, than: float | None, direction: Direction) -> bool:
    """Whether ``value`` is strictly better than ``than``; anything is better than None, nothing is when NaN."""
    if math.isnan(value):
        return False
    if than is None:
        return True
    return value < than if direction == "minimize" else value > than


def best_number(trials: Iterable[TrialRow], direction: Direction) -> int | None:
    """The number of the best complete trial, the earliest of equals; None when none is complete."""
    best: TrialRow | None = None
    for trial in trials:
        leader = None if best is None else best.value
        if trial.state == "COMPLETE" and trial.value is not None and better(trial.value, leader, direction):
            best = trial
    return None if best is None else best.number


def metric_direction(name: str, result: ComparisonResult) -> Direction | None:
    """Whether larger or smaller values of a metric are better; None when neither the problem nor its name tells."""
    return find_direction(name, result.objective, result.direction, result.metric_directions)


def _run_from_dict(data: dict[str, Any]) -> Run:
    known = {f.name for f in fields(Run)}
    trials = [TrialRow(**t) for t in data["trials"]]
    return Run(**{k: v for k, v in data.items() if k in known and k != "trials"}, trials=trials)


def _encode(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _encode(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encode(v) for v in value]
    if hasattr(value, "item") and type(value).__module__ == "numpy":
        return _encode(value.item())
    return choice_to_json(value)


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"$float"} or set(value) == {"$object"}:
            return choice_from_json(value)
        return {k: _decode(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_decode(v) for v in value]
    return value
