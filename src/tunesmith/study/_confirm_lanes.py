"""The fresh trainings of a final report side by side, in the lanes of a problem that offers them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.exceptions import InvalidTypeError
from tunesmith.executors.lanes import LaneEvent, LaneObjective, check_lanes
from tunesmith.trial import FrozenTrial


@dataclass(frozen=True, eq=False)
class Fresh:
    """A training to be done.

    Attributes:
        trial: whose configuration.
        repeat: number of its fresh seed.
        key: the study attribute that keeps its outcome.
    """

    trial: FrozenTrial
    repeat: int
    key: str


def in_lanes(
    problem: Any, todo: Sequence[Fresh], lanes: int | str
) -> Generator[tuple[Fresh, Mapping[str, float] | str], None, None]:
    """Train; yields what was measured, or why it failed, in the order in which the trainings end.

    Args:
        problem: has ``open_lanes``, ``confirmation_seed``, ``evaluation`` and, with a test part, ``test_evaluation``.
        todo: what to train, begun in this order.
        lanes: how many at a time, or "auto".

    Raises:
        InvalidTypeError: the problem offers no lanes. InvalidValueError: an impossible number of them.
        Exception: one that the problem does not call a failure of the configuration.
    """
    tested = getattr(problem, "evaluate_test", None) is not None
    begin = getattr(problem, "test_evaluation" if tested else "evaluation", None)
    if begin is None or not isinstance(problem, LaneObjective):
        raise InvalidTypeError(
            f"`lanes` need a problem that offers them, such as tunesmith.train.Problem, but this is {problem!r}; leave "
            "`lanes` out."
        )
    lanes = check_lanes(lanes)
    if not todo:
        return
    runner, waiting = problem.open_lanes(lanes), deque(todo)
    seed: Callable[[int], int] = problem.confirmation_seed  # type: ignore[attr-defined]
    held: dict[str, tuple[Fresh, Any]] = {}
    try:
        while waiting or held:
            while waiting and runner.room() > 0:
                fresh = waiting.popleft()
                try:
                    evaluation = begin(fresh.trial.params, seed(fresh.repeat))
                except Exception as error:
                    yield fresh, reason_of(problem, error)
                    continue
                held[fresh.key] = fresh, evaluation
                runner.start(fresh.key, evaluation)
            for event in runner.step():
                if event.item is None:
                    fresh, evaluation = held.pop(event.key)
                    yield fresh, _outcome(problem, event, evaluation, tested)
    finally:
        runner.close()


def _outcome(problem: Any, event: LaneEvent, evaluation: Any, tested: bool) -> Mapping[str, float] | str:
    if event.error is not None:
        return reason_of(problem, event.error)
    if reason := dict(event.attributes).get("fail_reason"):
        return str(reason)
    found: Mapping[str, float] = evaluation.outcome if tested else evaluation.report
    return found


def reason_of(problem: Any, error: Exception) -> str:
    """Why a training failed, if the problem says that it is the configuration's fault; else the error is raised."""
    reason = problem.fail_reason(error) if hasattr(problem, "fail_reason") else None
    if reason is None:
        raise error
    return str(reason)
