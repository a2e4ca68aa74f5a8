"""Checkpoints: a training that is interrupted goes on from a file, and ends with the same bits.

The file holds the state after the last epoch that was written (weights, the optimizer's moments, the schedule, the best
weights), the metrics of the epochs before it, and what the training is: its configuration, seed, data (by a hash of
their content) and model. It is a safetensors file that replaces the one before it in one step, so a process may be
killed at any moment. The file of a finished training stays; with it the same call returns at once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.train import identity
from tunesmith.train.arguments import whole
from tunesmith.train.errors import DataDamagedError
from tunesmith.train.loop import Training
from tunesmith.train.saving import PathLike, load_state, save_state

_REMEDY = "Give the training another file, or remove this one to begin anew"


@dataclass(frozen=True)
class Checkpoint:
    """A file for the state of one training.

    Attributes:
        path: of the file.
        every: epochs from one writing to the next.
    """

    path: Path
    every: int

    def resume(self, training: Training, about: Mapping[str, Any]) -> list[dict[str, float]]:
        """Bring a training that has not begun to where the file is, if there is one.

        Args:
            training: its job is changed in place.
            about: what the training is, as plain values.

        Returns:
            The metrics of the epochs that are done.

        Raises:
            InvalidValueError: the file is of another training; the message says what differs.
            DataDamagedError: it is no checkpoint, or damaged.
        """
        if not self.path.exists():
            return []
        kept = load_state(self.path)
        if set(kept) != {"about", "history", "training"} or not isinstance(kept["about"], dict):
            raise DataDamagedError(f"{self.path} holds no checkpoint of a training. {_REMEDY}.")
        if text := identity.differences(kept["about"], about):
            raise InvalidValueError(f"{self.path} is the checkpoint of another training: {text}. {_REMEDY}.")
        try:
            training.restore(kept["training"])
        except InvalidValueError as error:
            raise InvalidValueError(f"{self.path}: {error} {_REMEDY}.") from None
        return [dict(metrics) for metrics in kept["history"]]

    def after_epoch(self, training: Training, about: Mapping[str, Any], history: list[dict[str, float]]) -> None:
        """Write the file if it is time to; always at the end of a training."""
        if training.finished or training.epochs_done % self.every == 0:
            save_state({"about": about, "history": history, "training": training.state()}, self.path)


def open_at(path: PathLike | None, every: int = 1) -> Checkpoint | None:
    """A checkpoint at a place where a file can be; None for None.

    Raises:
        InvalidTypeError, InvalidValueError: no path, a folder, or a file in a folder that is not there.
    """
    every = whole("checkpoint_every", every, 1)
    if path is None:
        return None
    if not isinstance(path, (str, os.PathLike)):
        raise InvalidTypeError(f"checkpoint must be the path of a file, not {path!r}.")
    found = Path(path)
    if found.is_dir() or not found.absolute().parent.is_dir():
        what = "is a folder" if found.is_dir() else f"would be in {found.parent}, which is no folder"
        raise InvalidValueError(f"The checkpoint {os.fspath(path)!r} {what}; give the path of a file.")
    return Checkpoint(found, every)
