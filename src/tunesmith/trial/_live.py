"""The live handle of a running trial."""

from __future__ import annotations

import datetime
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, Protocol

from tunesmith.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_same_kind,
)
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.trial._base import (
    BaseTrial,
    check_constraint,
    check_name,
    check_report,
    clean_attr,
    own_attrs,
    warn_changed,
)
from tunesmith.trial._pending import Pending

_NOTHING = object()


class TrialOwner(Protocol):
    """What a trial needs of whoever runs it (the study injects itself through this)."""

    def draw(self, trial: Trial, name: str, distribution: BaseDistribution) -> Any:
        """A value for a name (or range) that the joint proposal does not cover."""

    def changed(self, trial: Trial) -> None:
        """Something was added to ``trial.pending``; flush it now, or later with the next append."""

    def should_prune(self, trial: Trial) -> bool:
        """Ask the stopping rule."""

    @property
    def objectives(self) -> int:
        """How many the study has."""

    def save(self, trial: Trial, state: Any, step: int) -> None:
        """Write a state to the disk; the log hears of it by ``pending.saved``."""

    def load(self, trial: Trial) -> Any:
        """The state that the trial goes on from, or has saved last; None if there is none."""


class Trial(BaseTrial):
    """A running trial, as an objective sees it. Made by ``study.ask()`` and ``study.optimize()``.

    Attributes:
        number: the trial's number in its study, from 0.
        attempt: 1, or more when earlier attempts were interrupted.
        study: the :class:`~tunesmith.study.Study` it belongs to.
    """

    study: Any = None

    def __init__(
        self,
        owner: TrialOwner,
        number: int,
        token: str,
        proposal: dict[str, Any],
        distributions: Mapping[str, BaseDistribution],
        *,
        start: int = 0,
        attempt: int = 1,
        user_attrs: dict[str, Any] | None = None,
        enqueued: dict[str, Any] | None = None,
    ) -> None:
        self.number = number
        self.attempt = attempt
        self._trial_id = number
        self._owner = owner
        self._token = token
        self._proposal = proposal  # name -> value, jointly proposed and already in the log
        self._proposed = distributions  # name -> distribution, of the proposal
        self._enqueued = enqueued or {}  # name -> value the user asked for, distribution not known yet
        self._params: dict[str, Any] = {}  # what the objective asked for
        self._distributions: dict[str, BaseDistribution] = {}
        self._start = start
        self._user_attrs: dict[str, Any] = user_attrs or {}
        self._reported: dict[int, float] = {}
        self._last_step = 0  # the largest one reported
        self._metrics: dict[str, dict[int, float]] = {}
        self._history: Any = None  # what was known when it was claimed
        self._ruled_at: int | None = None  # where in the log the stopping rule looked when it last said PAUSE or STOP
        self._last_values: list[float] | None = None  # of the last yield
        self._computed = 0.0  # seconds, up to the last pause
        self._since = time.monotonic()  # when it went on
        self._constraints: dict[str, float] = {}
        self._yields = False  # whether the objective is a generator
        self._from: int | None = None  # the step of the state that it goes on from
        self._state: Any = None  # that state, until it is asked for
        self._loaded = False  # whether it was asked for
        self._saved: int | None = None  # the step of the last state that the log knows, or will with the next append
        self._awaited: int | None = None  # that of a state whose report is to come
        self._pausable = False  # whether the rule said PAUSE to a function that has saved its state
        self.pending = Pending()
        self._mutex = threading.Lock()  # another thread may write what is pending while the objective adds to it

    def __copy__(self) -> Trial:
        """See :meth:`__deepcopy__`."""
        return self

    def __deepcopy__(self, memo: Any) -> Trial:
        """The trial itself: it is a handle, and two of them for one running trial would not know of each other."""
        return self

    def __reduce__(self) -> NoReturn:
        raise InvalidTypeError(
            f"Trial {self.number} is running in this process and cannot be sent to another. Suggest its parameters "
            "here and send trial.number and trial.params, then study.tell(number, value); or let the other process "
            "load the study and ask for a trial of its own."
        )

    def take_pending(self) -> Pending:
        """What is not in the log yet; the caller writes it, or puts it back."""
        with self._mutex:
            pending, self.pending = self.pending, Pending()
            return pending

    def put_back(self, pending: Pending) -> None:
        """It could not be written."""
        with self._mutex:
            self.pending = self.pending.after(pending)

    # -- suggest: the fast path compares the bounds with the proposal's own distribution ------------------------

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A float in ``[low, high]``; see :class:`~tunesmith.distributions.FloatDistribution` for the arguments."""
        known = self._proposed.get(name) if type(name) is str else None
        if (
            type(known) is FloatDistribution
            and known.low == low
            and known.high == high
            and known.step == step
            and known.log == log
            and name not in self._params
        ):
            value = self._params[name] = self._proposal[name]  # as _take, without the cost of a call
            self._distributions[name] = known
            return value
        return self._suggest(name, FloatDistribution(low, high, log=log, step=step))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """An integer in ``[low, high]``; see :class:`~tunesmith.distributions.IntDistribution` for the arguments."""
        known = self._proposed.get(name) if type(name) is str else None
        if (
            type(known) is IntDistribution
            and known.low == low
            and known.high == high
            and known.step == step
            and known.log == log
            and name not in self._params
        ):
            return self._take(name, known)
        return self._suggest(name, IntDistribution(low, high, log=log, step=step))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of ``choices``; see :class:`~tunesmith.distributions.CategoricalDistribution`."""
        return self._suggest(name, CategoricalDistribution(choices))

    def _take(self, name: str, distribution: BaseDistribution) -> Any:
        value = self._params[name] = self._proposal[name]
        self._distributions[name] = distribution
        return value

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        check_name(name)
        if name in self._params:
            first = self._distributions[name]
            if first != distribution:
                check_same_kind(name, first, distribution)
                warn_changed(self.number, name, first, distribution)
            return self._params[name]
        value = self._of_proposal(name, distribution)
        late = value is _NOTHING
        if late:
            value = self._owner.draw(self, name, distribution)
        self._params[name] = value
        self._distributions[name] = distribution
        if late:
            with self._mutex:
                self.pending.late[name] = distribution
            self._owner.changed(self)
        return value

    def _of_proposal(self, name: str, distribution: BaseDistribution) -> Any:
        """What the joint proposal has for a parameter, if it was made for this very distribution."""
        if self._proposed.get(name) != distribution:
            return _NOTHING
        value = self._proposal[name]
        if not isinstance(distribution, CategoricalDistribution):
            return value
        index = distribution._find(value)  # the caller's own object, not its name in the log
        return _NOTHING if index is None else distribution.choices[index]

    # -- reports, attributes ------------------------------------------------------------------------------------

    def report(self, value: float, step: int) -> None:
        """Record the objective's value at a step; a step that was reported before is ignored with a warning.

        Args:
            value: the intermediate value; NaN is allowed.
            step: a non-negative integer such as the epoch.

        Raises:
            InvalidTypeError: ``value`` is no float or ``step`` no integer. InvalidValueError: ``step`` is negative; the
                trial goes on from a state and has not loaded it; a state was saved for another step.
        """
        number, at = check_report(value, step)
        self._check_state(at)
        if at in self._reported:
            warnings.warn(
                f"Trial {self.number} already reported {self._reported[at]} at step {at}; {number} is ignored.",
                stacklevel=2,
            )
            return
        self._reported[at] = number
        self._last_step = max(self._last_step, at)
        with self._mutex:
            self.pending.reports.append([at, number])
        if not self._yields:
            self._settle()
        self._owner.changed(self)

    def report_metric(self, name: str, value: float, step: int) -> None:
        """Record another quantity beside the objective (accuracy, training loss) at a step."""
        check_name(name)
        number, at = check_report(value, step)
        self._also_reported(name, name, number, at)

    def report_objective(self, index: int, value: float, step: int) -> None:
        """Record another objective than the first one at a step (:meth:`report` records the first one).

        Args:
            index: of the objective, from 1.
            value, step: as in :meth:`report`.

        Raises:
            InvalidValueError: the study has no such objective.
        """
        if not 1 <= index < self._owner.objectives:
            raise InvalidValueError(
                f"Trial {self.number} reports objective {index} at step {step}, but its study has "
                f"{self._owner.objectives}, counted from 0; make it with create_study(directions=[...]), or report "
                "another metric by its name."
            )
        number, at = check_report(value, step)
        self._also_reported(f"values_{index}", index, number, at)

    def _also_reported(self, name: str, which: str | int, value: float, step: int) -> None:
        self._metrics.setdefault(name, {}).setdefault(step, value)
        with self._mutex:
            self.pending.reports.append([step, value, which])
        self._owner.changed(self)

    # -- states -------------------------------------------------------------------------------------------------

    def save(self, state: Any, step: int | None = None) -> None:
        """Write down what the evaluation needs to go on later, in another process too; :meth:`load` gives it back.

        The file is beside the study's log (see ``artifacts`` of :func:`~tunesmith.create_study`), is on the disk when
        this returns, and is removed when the trial has ended. The state before it is kept until the log has the report
        that this one belongs to.

        Args:
            state: nested dictionaries (keys: texts or integers), lists and tuples of numbers, texts, None, NumPy arrays
                and PyTorch tensors, such as the ``state_dict()`` of a network and of its optimizer. Nothing is pickled.
            step: the step after which the state is as it is. Default: in a generator that of the next ``yield``, so
                save before you yield; in a function that of the last report, so save after it.

        Raises:
            InvalidTypeError: there is something else in the state (the message says where), or ``step`` is no integer.
            InvalidValueError: ``step`` is negative; the storage is no file, and no ``artifacts`` are given.
            StorageInternalError: the disk is full; the state before it is intact.
            StaleTrialError: the trial has ended, or another worker holds it.
        """
        at = self._last_step + (1 if self._yields else 0) if step is None else check_report(0.0, step)[1]
        self._owner.save(self, state, at)
        self._awaited = at
        if at not in self._reported and (at > self._last_step or self._yields):
            return  # its report will follow
        self._settle()
        self._owner.changed(self)

    def load(self) -> Any:
        """The state to go on from: the last one of the trial's earlier attempts; None if it has to begin.

        The reports up to its step are kept, and a generator's next ``yield`` is the step after it. A trial that a
        stopping rule has made from another one (population-based training) gets the other's state. Once this attempt
        has saved a state, that one.

        Raises:
            StateDamagedError: the file was there when the trial was taken, and is not any more.
        """
        self._loaded = True
        return self._owner.load(self)

    def _check_state(self, at: int) -> None:
        """Whether a report of step ``at`` fits what was loaded and saved."""
        if self._from is not None and not self._loaded:
            raise InvalidValueError(
                f"Trial {self.number} goes on from the state of step {self._from}, but the objective reports step {at} "
                "without having asked for it: call trial.load() before it begins to train."
            )
        if self._awaited is not None and at != self._awaited and at not in self._reported:
            raise InvalidValueError(
                f"Trial {self.number} saved a state for step {self._awaited}, but the next report is that of step "
                f"{at}; write trial.save(state, step={at})."
            )

    def _settle(self) -> None:
        """The report that a state belongs to is there: let the log know of both."""
        if self._awaited is not None:
            with self._mutex:
                self.pending.saved = self._saved = self._awaited
                self._awaited = None

    def should_prune(self) -> bool:
        """Whether the study's stopping rule wants this trial to end now; then ``raise TrialPruned()``."""
        return self._owner.should_prune(self)

    def set_user_attr(self, key: str, value: Any) -> None:
        """Keep a JSON-able value with the trial; it is written with the trial's next append."""
        cleaned = clean_attr(key, value)
        self._user_attrs[key] = cleaned
        with self._mutex:
            self.pending.user_attrs[key] = cleaned
        self._owner.changed(self)

    def set_constraint(self, key: str, value: float) -> None:
        """Record a constraint; the trial is feasible when all of its constraints are <= 0.

        Raises:
            InvalidTypeError: ``value`` is no float. InvalidValueError: it is NaN.
        """
        number = check_constraint(key, value, self._constraints)
        if number is None:
            return
        self._constraints[key] = number
        with self._mutex:
            self.pending.constraints[key] = number
        self._owner.changed(self)

    @property
    def params(self) -> dict[str, Any]:
        """What was suggested so far."""
        return dict(self._params)

    @property
    def relative_params(self) -> dict[str, Any]:
        """The joint proposal this trial started with."""
        return dict(self._proposal)

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Name -> distribution of what was suggested so far."""
        return dict(self._distributions)

    @property
    def user_attrs(self) -> dict[str, Any]:
        """Attributes set so far (a copy)."""
        return own_attrs(self._user_attrs)

    @property
    def system_attrs(self) -> dict[str, Any]:
        """Always empty while the trial runs; the record has them."""
        return {}

    @property
    def constraints(self) -> dict[str, float]:
        """Constraints set so far (a copy)."""
        return dict(self._constraints)

    @property
    def datetime_start(self) -> datetime.datetime | None:
        """Naive local time of the claim."""
        return datetime.datetime.fromtimestamp(self._start / 1e6) if self._start else None

    def __repr__(self) -> str:
        return f"<Trial {self.number} {self._params!r}>"
