"""The states of trials: what a problem saves by ``trial.save``, and how a trial goes on from it.

A trial goes on from its own state after an interruption or a pause: then it must be the same training, and ends with
the same bits. Or a stopping rule has made it from another trial (population-based training): then it takes over
weights, moments and the number of epochs, and goes on with its own hyperparameters and its own seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tunesmith.exceptions import InvalidValueError
from tunesmith.train import hyperparameters, identity, planning
from tunesmith.train.evaluation import Evaluation, Keep
from tunesmith.train.loop import Training
from tunesmith.train.model_families import family_of
from tunesmith.train.suggesting import SuggestingTrial

if TYPE_CHECKING:
    from tunesmith.train.problem import Problem


def begin(problem: Problem, trial: SuggestingTrial, params: Mapping[str, Any]) -> Evaluation:
    """What is to be trained and reported; if the trial has a state to go on from, what is left of it.

    Raises:
        InvalidValueError: the state is of another training, or of a trial that this one cannot go on from; the message
            says what differs.
    """
    evaluation = problem.evaluation(params, problem.training_seed(trial.number, params))
    state = trial.load() if hasattr(trial, "load") else None
    if state is not None:
        _restore(problem, trial.number, params, evaluation, state)
    return evaluation


def keeper(problem: Problem, trial: SuggestingTrial, params: Mapping[str, Any], evaluation: Evaluation) -> Keep | None:
    """What :meth:`Evaluation.run <tunesmith.train.evaluation.Evaluation.run>` calls to save the trial's states.

    Between two reports (of a trial with several trainings) a state belongs to the report before, so nothing is saved
    before the first one.

    Args:
        problem: says how often; see ``save_every`` there.
        trial: whose states.
        params, evaluation: of the trial.

    Returns:
        None if nothing is to be saved.
    """
    every = problem.save_every or (1 if _needing_rule(trial) else None)
    if every is None or not hasattr(trial, "save"):
        return None
    save = trial.save
    about: dict[str, Any] = {}

    def keep(training: Training, reports: bool) -> None:
        if not (training.finished or training.epochs_done % every == 0):
            return
        done = len(evaluation.results)
        if not reports and (done == 0 or len(evaluation) == 1):
            return
        if not about:
            about.update(_about(problem, params))
        state = {"trial": trial.number, "about": about, "evaluation": evaluation.state(training)}
        save(state, None if reports else done)

    return keep


def check_lane(trial: Any) -> None:
    """Whether a trial may be trained in a lane.

    Raises:
        InvalidValueError: the study's rule has trials that begin with the states of others.
    """
    if rule := _needing_rule(trial):
        raise InvalidValueError(
            f"{rule} copies the states of trials, but trainings in lanes do not save theirs; leave `lanes` out."
        )


def _needing_rule(trial: Any) -> str:
    """Name of the stopping rule of the trial's study if it needs states, else ""."""
    pruner = getattr(getattr(trial, "study", None), "pruner", None)
    return type(pruner).__name__ if getattr(pruner, "needs_states", False) else ""


def _restore(problem: Problem, number: int, params: Mapping[str, Any], evaluation: Evaluation, state: Any) -> None:
    """Bring an evaluation that has not begun to where a state is."""
    if not isinstance(state, Mapping) or set(state) != {"trial", "about", "evaluation"}:
        raise InvalidValueError(
            f"The state of trial {number} was not saved by a tunesmith.train.Problem; optimize the study with the "
            "objective that it was begun with."
        )
    inherit = state["trial"] != number
    there, here = state["about"], _about(problem, params)
    if inherit:
        there, here = (_lasting(problem, about) for about in (there, here))
    if text := identity.differences(there, here):
        raise InvalidValueError(_refused(number, state["trial"], text))
    evaluation.restore(state["evaluation"], inherit=inherit)


def _refused(number: int, other: int, text: str) -> str:
    if number == other:
        return (
            f"Trial {number} has saved the state of another training: {text}. Go on with the problem that the study "
            "was begun with, or begin a new study."
        )
    return (
        f"Trial {number} is to go on with the weights of trial {other}, but this cannot change in the middle of a "
        f"training: {text}. Fix it in the problem, or name in `params` of the stopping rule what may change."
    )


def _about(problem: Problem, params: Mapping[str, Any]) -> dict[str, Any]:
    """What the training is, in words of the user, but for its seed; the data by their content."""
    configuration = problem.configuration(params)
    about = planning.identity_of(problem, params, 0, configuration.get("epochs", problem.epochs))
    return {name: value for name, value in about.items() if name not in ("training_seed", "seed")}


def _lasting(problem: Problem, about: Mapping[str, Any]) -> dict[str, Any]:
    """The part of :func:`_about` that a trial must have in common with the one whose weights it takes over.

    Of a network's parameters that is all but its dropout. What a model of one's own calls them is not known, so there
    the shapes of the weights decide, see :meth:`Training.restore <tunesmith.train.loop.Training.restore>`.
    """
    free = {name for name in hyperparameters.NAMES if name not in identity.LASTING} | {"dropout"}
    model = about["model"]
    own = problem.family.source is not None and model == problem.family.id
    if own:
        free |= set(family_of(problem.model).DEFAULTS)
    return {name: value for name, value in about.items() if name not in free}
