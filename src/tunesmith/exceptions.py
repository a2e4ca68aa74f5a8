"""Every error tunesmith raises on purpose.

Each class also inherits from the built-in exception that Optuna raises in the same situation
(``ValueError``, ``TypeError``, ``KeyError``, ``RuntimeError``), so ``except ValueError`` in an existing
script goes on working. Messages show the offending value and the remedy.
"""

from __future__ import annotations


class TunesmithError(Exception):
    """Base class of all errors raised by tunesmith. ``OptunaError`` is the same class."""


OptunaError = TunesmithError


class TrialPruned(TunesmithError):
    """Raised by an objective to end its trial as PRUNED, usually after ``trial.should_prune()``."""


class InvalidValueError(TunesmithError, ValueError):
    """An argument has the right type but an impossible value."""


class InvalidTypeError(TunesmithError, TypeError):
    """An argument has the wrong type."""


class StudyNotFoundError(TunesmithError, KeyError):
    """No study of that name (or id) in the storage."""

    def __str__(self) -> str:  # KeyError would show the repr of its message
        return str(self.args[0]) if self.args else ""


class DuplicatedStudyError(TunesmithError):
    """A study of that name is already in the storage."""


class UpdateFinishedTrialError(TunesmithError, RuntimeError):
    """A finished trial cannot be changed."""


class TrialFinishedError(UpdateFinishedTrialError, ValueError):
    """A trial was told that is finished already (a ``ValueError``, as in Optuna)."""


class StaleTrialError(UpdateFinishedTrialError):
    """This worker no longer holds the trial: it was released and claimed by another one."""


class TrialDeletedError(StaleTrialError, ValueError):
    """The trial was deleted from its study, perhaps while it was running."""


class ReadOnlyStudyError(TunesmithError, AttributeError):
    """A study as it was at some time (``study.at``) cannot be changed."""


class WorkerDiedError(TunesmithError, RuntimeError):
    """A process that evaluates trials has died; the message says how. Its trial is attempted again."""


class TrialKilledError(TunesmithError):
    """A trial used more than ``optimize`` allows, and its process was ended. It is FAIL, and the loop goes on."""


class TrialTimeoutError(TrialKilledError, TimeoutError):
    """It computed for longer than ``trial_timeout``."""


class TrialMemoryError(TrialKilledError, MemoryError):
    """Its process took more memory than ``trial_memory``."""


class SearchSpaceExhaustedError(TunesmithError, RuntimeError):
    """The sampler has proposed every configuration it can (a grid that is done)."""


class StorageInternalError(TunesmithError):
    """The store failed: disk full, database error, lock not granted. What was acknowledged is intact."""


class NotALogError(StorageInternalError, ValueError):
    """The file or database exists but is not a tunesmith store."""


class LogDamagedError(StorageInternalError):
    """A complete record fails its checksum or its order; ``line`` tells which (1-based, if a file)."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class NewerFormatError(StorageInternalError):
    """The store was written by a newer tunesmith than this one."""


class MissingDependencyError(TunesmithError, ImportError):
    """An optional package is not installed; the message says which extra brings it."""


class CLIUsageError(TunesmithError):
    """The command line was called with an impossible combination of arguments."""


class ExperimentalWarning(Warning):
    """Category of warnings for features whose interface may still change."""
