"""How one trial is evaluated: which trainings it consists of, what is reported when, and what its value is.

The same for a training that runs alone and for one in a lane beside others, so that a stopping rule sees the same
reports in both. Whoever drives it asks for the next job, trains it, and hands over what each epoch measured.

- One training (a hold-out split): every epoch is a report, and the value is that of the last one.
- Several (the folds of a cross-validation, repetitions with other seeds): each finished training is a report, the mean
  of the objective over the trainings so far; so a rule can act between folds. The value is the mean over all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from tunesmith.exceptions import InvalidValueError
from tunesmith.train.errors import InvalidArchitectureError, TrainingDivergedError, UnusableDataError
from tunesmith.train.job import Job, Part
from tunesmith.train.loop import Training
from tunesmith.train.metrics import VALIDATION, undefined

#: The trial attribute with the results of every training, when a trial has several.
RUNS = "runs"
#: The trial attribute that says why it failed.
FAIL_REASON = "fail_reason"
#: Behind the objective's name: the standard deviation over the trainings of a trial.
SPREAD = "_sd"


@dataclass(frozen=True)
class Run:
    """One training of a trial.

    Attributes:
        make: gives the job; called when it is the job's turn, because a network takes memory.
        index: of the split among those of the problem, from 0.
        labels: what tells it from the others, e.g. ``{"fold": 2, "execution": 0}``; empty when there is one.
    """

    make: Callable[[], Job]
    index: int
    labels: Mapping[str, int]

    def __str__(self) -> str:
        return ", ".join(f"{name} {number}" for name, number in self.labels.items())


class Ended(Protocol):
    """What :meth:`Evaluation.observe` needs of a training: :class:`~tunesmith.train.loop.Training` or its course."""

    @property
    def finished(self) -> bool: ...

    @property
    def result(self) -> dict[str, float]: ...


#: Hears of each epoch: (the training, whether a report follows).
Keep = Callable[[Training, bool], None]


class Evaluation:
    """The evaluation of one trial. Drive it as :meth:`run` does.

    Args:
        runs: the trainings, at least one.
        names: of the metrics of a report, the objective first.
    """

    def __init__(self, runs: Sequence[Run], names: Sequence[str]) -> None:
        self._runs, self._names, self._objective = list(runs), list(names), names[0]
        self._results: list[dict[str, float]] = []
        self._reported: dict[str, float] | None = None
        self._started = 0
        self._validation: Part | None = None  # of the current training
        self._undefined: str | None = None  # why the objective is NaN although nothing went wrong
        self._restored: Mapping[str, Any] | None = None  # the state that the next training goes on from
        self._inherits = False  # whether it is that of another trial

    def __len__(self) -> int:
        """How many trainings it has."""
        return len(self._runs)

    @property
    def runs(self) -> list[Run]:
        """Its trainings."""
        return list(self._runs)

    @property
    def current(self) -> Run:
        """The training that was begun last."""
        return self._runs[max(self._started - 1, 0)]

    @property
    def results(self) -> list[dict[str, float]]:
        """Metrics of the trainings that have ended."""
        return [dict(result) for result in self._results]

    def next_job(self) -> Job | None:
        """The next training; None when all are done.

        Raises:
            InvalidArchitectureError: the network cannot be built.
        """
        if self._started >= len(self._runs):
            return None
        self._started += 1
        self._reported = None
        job = self.current.make()
        self._validation = job.validation
        return job

    def observe(self, metrics: Mapping[str, float], training: Ended) -> dict[str, float] | None:
        """Hand over an epoch: :meth:`epoch`, or :meth:`ended` if it was the last one.

        So the last report of a training that stopped early is that of the weights it keeps.

        Args:
            metrics: of the epoch.
            training: that it belongs to.

        Returns:
            What to report, the objective first; None for nothing.
        """
        return self.ended(training.result) if training.finished else self.epoch(metrics)

    def epoch(self, metrics: Mapping[str, float]) -> dict[str, float] | None:
        """An epoch of the current training that is not its last one; what to report, or None."""
        if len(self._runs) > 1:
            return None
        self._reported = self._ordered(metrics)
        return self._reported

    def ended(self, result: Mapping[str, float]) -> dict[str, float] | None:
        """The current training has ended with these metrics; what to report, or None if that was reported already."""
        self._results.append(dict(result))
        if self._undefined is None and math.isnan(result[self._objective]):
            self._undefined = self._why_undefined()
        if len(self._runs) == 1:
            item = self._ordered(result)
            return None if item == self._reported else item
        return self.report

    def _why_undefined(self) -> str | None:
        if self._validation is None:
            return None
        reason = undefined(self._objective.removeprefix(VALIDATION), self._validation.labels)
        return None if reason is None else self._located(f"Validation part: {reason}")

    def _located(self, reason: str) -> str:
        where = str(self.current)
        return f"{where}: {reason}" if where else reason

    @property
    def report(self) -> dict[str, float]:
        """The last result; of several trainings the means so far, and ``<objective>_sd`` from the second on.

        The spread is the standard deviation of a sample (divisor n - 1).
        """
        item = self._ordered({name: _mean([r[name] for r in self._results]) for name in self._results[0]})
        if len(self._results) > 1:
            item[self._objective + SPREAD] = _deviation([r[self._objective] for r in self._results])
        return item

    @property
    def value(self) -> float | None:
        """The objective; None before the first training has ended."""
        return _mean([result[self._objective] for result in self._results]) if self._results else None

    @property
    def attributes(self) -> dict[str, Any]:
        """What to keep with the trial at its end.

        ``runs``, the results of all trainings when there are several; ``fail_reason`` when the objective has no value
        on the validation part.
        """
        found: dict[str, Any] = {} if self._undefined is None else {FAIL_REASON: self._undefined}
        if len(self._runs) > 1:
            done = zip(self._runs, self._results, strict=False)
            found[RUNS] = [{**run.labels, **self._ordered(result)} for run, result in done]
        return found

    def fail_reason(self, error: BaseException) -> str | None:
        """Why the trial fails, when an error is one that belongs to its configuration; None for all other errors.

        These are a training that diverged, a network that is impossible for the images, and memory that ran out.
        """
        reason = fail_reason(error)
        return self._located(reason) if reason else reason

    def run(self, keep: Keep | None = None) -> Iterator[dict[str, float]]:
        """Do all trainings, one after the other, each alone; yields the reports.

        Args:
            keep: called after each epoch, before its report, with the training and whether there is one.
        """
        while (job := self.next_job()) is not None:
            yield from self.trained(job, keep)

    def trained(self, job: Job, keep: Keep | None = None) -> Iterator[dict[str, float]]:
        """Do the current training; yields the reports."""
        training = self.resumed(job) or Training(job)
        while not training.finished:
            item = self.observe(training.epoch(), training)
            if keep is not None:
                keep(training, item is not None)
            if item is not None:
                yield item

    # -- states ----------------------------------------------------------------------------------------------------

    def state(self, training: Training) -> dict[str, Any]:
        """All that the rest of the evaluation depends on, after an epoch: plain values, and tensors (copies).

        Args:
            training: the current one, after :meth:`observe`.
        """
        return {
            "results": self.results,
            "reported": None if self._reported is None else dict(self._reported),
            "undefined": self._undefined,
            "training": None if training.finished else training.state(),
        }

    def restore(self, state: Mapping[str, Any], *, inherit: bool = False) -> None:
        """Go on from a :meth:`state`, before the first job is asked for.

        Args:
            state: of an evaluation of the same configuration; its next job is the one that it was at.
            inherit: it is of a trial with another configuration, whose weights this one goes on with; see
                :meth:`Training.restore <tunesmith.train.loop.Training.restore>`. Of one that had finished its training
                nothing is left to do, and there is no value.

        Raises:
            InvalidValueError: ``inherit``, and the trials have several trainings.
        """
        if inherit and len(self._runs) > 1:
            raise InvalidValueError(
                f"A trial cannot go on with the weights of another one where each has {len(self._runs)} trainings: "
                "leave out folds and executions_per_trial."
            )
        self._started = len(state["results"])
        self._results = [] if inherit else [dict(result) for result in state["results"]]
        self._undefined = None if inherit else state["undefined"]
        self._restored, self._inherits = None if state["training"] is None else state, inherit

    def resumed(self, job: Job) -> Training | None:
        """The current training, where :meth:`restore` left it; None if it begins.

        Raises:
            InvalidValueError: the state is of another training; the message says what differs.
        """
        if self._restored is None:
            return None
        training, state = Training(job), self._restored
        self._restored = None
        training.restore(state["training"], inherit=self._inherits)
        self._reported = None if self._inherits else state["reported"]
        return training

    def _ordered(self, metrics: Mapping[str, float]) -> dict[str, float]:
        names = [*(name for name in self._names if name in metrics), *metrics]
        return {name: float(metrics[name]) for name in names}


def fail_reason(error: BaseException) -> str | None:
    """Why a training failed, when it was its own fault: see :meth:`Evaluation.fail_reason`; None for other errors."""
    if isinstance(error, (TrainingDivergedError, InvalidArchitectureError, UnusableDataError)):
        return str(error)
    if is_out_of_memory(error):
        first = str(error).strip().splitlines()[:1] or [type(error).__name__]
        return f"Out of memory: {first[0].rstrip('.')}. A smaller batch_size or network may help."
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, of the device or of the machine."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        words in text for words in ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _deviation(values: Sequence[float]) -> float:
    mean = _mean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
