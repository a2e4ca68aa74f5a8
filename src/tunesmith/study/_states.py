"""The states of a study's trials: written beside the log, found again by what the log says of them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from tunesmith import logging
from tunesmith.artifacts import StateDamagedError, StateKey, States, pack, states_of, unpack
from tunesmith.events import Event
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.open_trials import OpenTrial, Saved
from tunesmith.study._log import StudyLog
from tunesmith.trial import Trial

_logger = logging.get_logger("tunesmith.study")


def folder_of(artifacts: Any) -> Path | None:
    """The argument ``artifacts`` as an absolute path.

    Raises:
        InvalidTypeError: it is no path.
    """
    if artifacts is None:
        return None
    if not isinstance(artifacts, (str, os.PathLike)):
        raise InvalidTypeError(f"`artifacts` must be the path of a folder, but is {artifacts!r}.")
    return Path(artifacts).absolute()


class TrialStates:
    """Saves, finds and removes states. What there is, and what is needed, is said by the log alone.

    Args:
        log: of the study.
        folder: where they are, if not beside the log.
    """

    def __init__(self, log: StudyLog, folder: Path | None) -> None:
        self._log = log
        self._folder = folder
        self._found: States | None = None
        self._restored: dict[int, tuple[str, int, Any]] = {}  # number -> token, step and state of a claim

    @property
    def place(self) -> States:
        """Where they are.

        Raises:
            InvalidValueError: the storage is no file, and no folder is given.
        """
        if self._found is None:
            self._found = states_of(self._log.storage, self._folder)
        return self._found

    def _key(self, saved: Saved) -> StateKey:
        return StateKey(self._log.study, saved.number, saved.attempt, saved.step, saved.token)

    def save(self, trial: Trial, state: Any, step: int) -> None:
        """Write a state of a live trial."""
        key = StateKey(self._log.study, trial.number, trial.attempt, step, trial._token)
        self.place.write(key, pack(state, key.about()))

    def read(self, saved: Saved) -> Any:
        """A state that the log knows.

        Raises:
            StateDamagedError: it is not there, damaged, or another one.
        """
        key = self._key(saved)
        where = self.place.where(key)
        content = self.place.read(key)
        if content is None:
            raise StateDamagedError(f"{where} is not there (any more).")
        about, state = unpack(content, where)
        if about != key.about():
            raise StateDamagedError(f"{where} belongs to something else: {about}.")
        return state

    def go_on(self, event: Event, saved: Saved | None) -> bool:
        """Let a claim (an ``ask`` or ``resume`` event) go on from a state, if there is one; whether it does.

        It is read now: if it is lost the claim must say that the trial begins anew, because then the reports that it
        has do not count any more.
        """
        if saved is None:
            return False
        try:
            state = self.read(saved)
        except StateDamagedError as error:
            _logger.warning("Trial %d is trained from its start: %s", event["n"], error)
            return False
        self._restored[event["n"]] = event["k"], saved.step, state
        event["from"] = saved.step
        return True

    def begin_with(self, event: Event, number: int, step: int) -> None:
        """Let the claim of a new trial begin with the last state of another one.

        Raises:
            InvalidValueError: that is of another step.
        """
        held = self._log.fold.open.get(number)
        saved = None if held is None else held.saved
        if saved is None or saved.step != step:
            raise InvalidValueError(
                f"A trial was to begin with the state of trial {number} at step {step}, but that has "
                f"{'none' if saved is None else f'one of step {saved.step}'}."
            )
        if self.go_on(event, saved):
            event["src"] = list(saved)

    def hand_over(self, trial: Trial, held: OpenTrial) -> None:
        """Give the handle of a trial that was claimed what its claim begins with."""
        trial._saved = None if held.saved is None else held.saved.step
        token, *found = self._restored.pop(trial.number, ("",))
        if token == trial._token:  # or that claim was lost
            trial._from, trial._state = found
            trial._last_step = max(trial._last_step, trial._from)

    def load(self, trial: Trial) -> Any:
        """The state that a live trial began with, or has saved since; None if there is none."""
        found, trial._state = trial._state, None
        if found is not None:
            return found
        with self._log.lock:
            held = self._log.fold.open.get(trial.number)
            saved = None if held is None or held.token != trial._token else held.state_of
        return None if saved is None else self.read(saved)

    def tidy(self, number: int, source: Saved | None = None) -> None:
        """Remove what a trial of this process has saved and nobody needs any more.

        Args:
            number: of the trial.
            source: the state it began with, which nobody may need any more either.
        """
        with self._log.lock, contextlib.suppress(InvalidValueError):  # a place that is not known here
            self.place.tidy(self._log.study, number, self._needed(number))
            if source is not None and source.number not in self._log.fold.open:
                self.place.tidy(self._log.study, source.number, self._needed(source.number))

    def tidy_finished(self) -> None:
        """Remove what finished trials have left behind, and is not needed; those of open trials are their worker's."""
        with self._log.lock, contextlib.suppress(InvalidValueError):
            for number in self.place.trials(self._log.study):
                if number not in self._log.fold.open and number < self._log.fold.n_trials:
                    self.place.tidy(self._log.study, number, self._needed(number))

    def _needed(self, number: int) -> set[str]:
        """Names of the states of a trial that it, or one that began with them, goes on from if it is interrupted."""
        needed = (held.state_of for held in self._log.fold.open.values())
        return {self._key(saved).name for saved in needed if saved is not None and saved.number == number}


def gained(held: OpenTrial) -> bool:
    """Whether the trial has saved a state in the attempt that it is at."""
    return held.saved is not None and held.saved.token == held.token
