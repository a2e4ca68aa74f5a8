"""Errors of the training room; all of them are :class:`tunesmith.exceptions.TunesmithError`."""

from __future__ import annotations

from tunesmith.exceptions import InvalidValueError, TunesmithError


class DataNotFoundError(TunesmithError, FileNotFoundError):
    """The files of a data set are neither in ``TUNESMITH_DATA`` nor in the cache, and could not be downloaded."""


class DataDamagedError(TunesmithError, ValueError):
    """A data file is not what it should be: wrong hash, wrong format, or cut off."""


class TrainingDivergedError(TunesmithError, ArithmeticError):
    """The loss became NaN or infinite. ``epoch`` (1-based) tells when."""

    def __init__(self, message: str, epoch: int) -> None:
        super().__init__(message)
        self.epoch = epoch

    def __reduce__(self) -> tuple[type[TrainingDivergedError], tuple[str, int]]:
        return type(self), (str(self), self.epoch)  # both arguments survive the way back from a worker process


class UnusableDataError(InvalidValueError):
    """A data set that one of several trials cannot be trained on: its images or labels are wrong, a part is empty."""


class InvalidArchitectureError(InvalidValueError):
    """A network that cannot be built for this input: nothing would be left of the image, or the output does not fit."""
