"""What a study has spent on training, and in which order: from its log.

The budget of a method with a stopping rule is counted in *steps*: reports of its trials. What an interrupted trial has
reported and reports once more when it is trained again counts once, so a comparison that was interrupted spends the
same as one that was not. A trial that fails before it has reported anything counts as one step, one that ends well
without reports as a whole training.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tunesmith.events import Event
from tunesmith.fold import Fold
from tunesmith.study import Study
from tunesmith.trial import TrialState


@dataclass
class Course:
    """How a study was trained.

    Attributes:
        whole: steps of a whole training.
        trials: number of the trial that each step was spent on, in their order.
        ends: number -> (how many steps had been spent when it ended, its state).
    """

    whole: int
    trials: list[int] = field(default_factory=list)
    ends: dict[int, tuple[int, TrialState]] = field(default_factory=dict)
    _seen: dict[int, set[int]] = field(default_factory=dict)
    _paused: dict[int, int] = field(default_factory=dict)  # number -> steps it had when it was paused last

    @property
    def spent(self) -> int:
        """Steps in all."""
        return len(self.trials)

    def steps(self, number: int) -> int:
        """How many steps a trial has reported."""
        return len(self._seen.get(number, ()))

    def decided(self, number: int) -> int:
        """After how many of its steps an open trial was allowed to go on.

        After all, if it is to go on from a pause; if it was interrupted, what the rule said after the last one may not
        have come through.
        """
        steps = self.steps(number)
        return steps if self._paused.get(number) == steps else max(0, steps - 1)

    @property
    def unsettled(self) -> bool:
        """Whether an interrupted trial is trained to its end, and only its value is missing."""
        return any(
            len(steps) >= self.whole and n not in self.ends and self._paused.get(n) != len(steps)
            for n, steps in self._seen.items()
        )

    def take(self, event: Event) -> None:
        """Take a valid event of a trial into account."""
        number = event["n"]
        seen = self._seen.setdefault(number, set())
        for report in event.get("r", ()):
            if len(report) == 2 and report[0] not in seen:  # longer ones are of other metrics
                seen.add(report[0])
                self.trials.append(number)
        if event["e"] == "pause":
            self._paused[number] = len(seen)
        elif event["e"] == "release":  # perhaps from a pause: then it is not the rule that lets it go on
            self._paused.pop(number, None)
        elif event["e"] == "tell":
            state = TrialState(event["st"])
            if not seen:
                self.trials += [number] * (self.whole if state is TrialState.COMPLETE else 1)
            self.ends[number] = len(self.trials), state

    def until(self, budget: int) -> Part:
        """What was done with the first ``budget`` steps."""
        steps: dict[int, int] = {}
        last: dict[int, int] = {}
        for position, number in enumerate(self.trials[:budget], 1):
            steps[number] = steps.get(number, 0) + 1
            last[number] = position
        return Part(steps, last, {n for n, k in steps.items() if self._ended(n, k, budget)})

    def _ended(self, number: int, steps: int, budget: int) -> bool:
        """Whether a trial had ended when the budget was spent; its end may have taken another step, beyond it."""
        at, state = self.ends.get(number, (budget + 1, TrialState.FAIL))
        if at != budget or not self.steps(number):
            return at <= budget
        return state is TrialState.PRUNED or steps >= self.whole


@dataclass(frozen=True)
class Part:
    """What a part of a study's budget was spent on.

    Attributes:
        steps: number -> steps of that trial, of those that were started.
        last: number -> how many steps had been spent on all trials when that one had its last.
        ended: numbers of the trials that had ended by then; the others were stopped by the end of the budget.
    """

    steps: dict[int, int]
    last: dict[int, int]
    ended: set[int]


_OF_TRIALS = frozenset({"up", "pause", "tell", "release"})


def course_of(study: Study, whole: int) -> Course:
    """Read the log of a study that one worker after the other has worked on.

    Args:
        study: with one objective.
        whole: steps of a whole training.
    """
    store: Any = study.storage
    (found,) = [record for record in store.studies() if record.name == study.study_name]
    course, fold = Course(whole), Fold()
    for record in store.read(found.id):
        for event in record:
            if fold.apply(event) and event["e"] in _OF_TRIALS:
                course.take(event)
    return course
