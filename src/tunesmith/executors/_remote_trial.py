"""The trial as an objective sees it in another process than its study's: every question goes to the real one."""

from __future__ import annotations

import datetime
import os
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, cast

from tunesmith._choices import OpaqueChoice, choice_key
from tunesmith.distributions import BaseDistribution, CategoricalDistribution
from tunesmith.exceptions import InvalidTypeError, StaleTrialError
from tunesmith.executors._messages import Answer, Call, Method, Raised, WorkerChannel, pack, unpack
from tunesmith.trial._base import BaseTrial, check_number, check_report, clean_attr

#: How Python names an object that says nothing about itself.
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


class Line:
    """The connection to the study's process, for one question at a time; the objective may have several threads."""

    def __init__(self, channel: WorkerChannel) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._process = os.getpid()

    def tell(self, message: Any) -> None:
        """Say something that has no answer."""
        with self._lock:
            self._channel.send(pack(message))

    def ask(
        self, message: Any, check: Callable[[], None] | None = None, then: Callable[[Any], None] | None = None
    ) -> Any:
        """Say something, and wait for the answer.

        Args:
            message: what.
            check: called when it is this thread's turn; may raise.
            then: called with the answer, before it is another thread's turn.

        Raises:
            InvalidTypeError: it cannot be pickled, or this is a forked child of the worker.
        """
        if os.getpid() != self._process:
            raise InvalidTypeError(
                "A trial can be asked only by the process that evaluates it, but this is a child of that process; "
                "suggest what the child needs before it is forked."
            )
        data = _packed(message)
        with self._lock:
            if check is not None:
                check()
            self._channel.send(data)
            answer = unpack(self._channel.receive())
            if then is not None:
                then(answer)
            return answer

    def wait(self) -> Any:
        """The study's next message, between two conversations."""
        return unpack(self._channel.receive())


def _packed(message: Any) -> bytes:
    try:
        return pack(message)
    except Exception as error:
        what = f"The arguments of `{message.name}`" if isinstance(message, Call) else f"{type(message).__name__}"
        raise InvalidTypeError(
            f"{what} cannot be sent to the study's process ({type(error).__name__}: {error}); use numbers, texts and "
            "containers of them."
        ) from error


class RemoteTrial(BaseTrial):
    """A running trial of a study in another process; it has the methods and attributes of :class:`Trial`.

    Each of them is a question to that process and takes some 0.1 ms. Between a pause and the continuation, and after
    the end, nobody listens: then they raise :class:`StaleTrialError`.

    Attributes:
        number, attempt: as of :class:`Trial`.
        study: answers for the study; see :class:`RemoteStudy`.
    """

    def __init__(self, line: Line, number: int, attempt: int) -> None:
        self.number = number
        self.attempt = attempt
        self.study = RemoteStudy(self)
        self._trial_id = number
        self._line = line
        self._heard = True  # whether the study's process listens

    def _ask(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return self._question(Call(name, (args, kwargs)))

    def _question(self, call: Call) -> Any:
        reply = self._line.ask(call, self._check_heard)
        if isinstance(reply, Raised):
            raise reply.exception()
        if isinstance(reply, Method):
            return lambda *args, **kwargs: self._question(Call(call.name, (args, kwargs), call.of_study))
        return cast(Answer, reply).value

    def _check_heard(self) -> None:
        if not self._heard:
            raise StaleTrialError(f"Trial {self.number} is paused or has ended, and cannot be asked or changed.")

    # -- suggest --------------------------------------------------------------------------------------------------

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        if not isinstance(distribution, CategoricalDistribution):
            return self._ask("_suggest", name, distribution)
        there = CategoricalDistribution(_lasting(distribution))
        return _own(self._ask("_suggest", name, there), distribution, there)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return cast(float, self._ask("suggest_float", name, low, high, step=step, log=log))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return cast(int, self._ask("suggest_int", name, low, high, step=step, log=log))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of ``choices``. Objects are known to the study by their names, as in its log, and stay here.

        An object whose name would have its address in this process goes by its position instead, so that it is the same
        choice in all workers: ``<net.Block object #1>``.
        """
        here = CategoricalDistribution(choices)
        there = CategoricalDistribution(_lasting(here))
        return _own(self._ask("suggest_categorical", name, there.choices), here, there)

    # -- reports, attributes --------------------------------------------------------------------------------------

    def report(self, value: float, step: int) -> None:
        self._ask("report", *check_report(value, step))

    def report_metric(self, name: str, value: float, step: int) -> None:
        """See :meth:`Trial.report_metric`."""
        self._ask("report_metric", name, *check_report(value, step))

    def report_objective(self, index: int, value: float, step: int) -> None:
        """See :meth:`Trial.report_objective`."""
        self._ask("report_objective", index, *check_report(value, step))

    def should_prune(self) -> bool:
        return cast(bool, self._ask("should_prune"))

    def set_user_attr(self, key: str, value: Any) -> None:
        self._ask("set_user_attr", key, clean_attr(key, value))

    def set_constraint(self, key: str, value: float) -> None:
        self._ask("set_constraint", key, check_number(value, f"The constraint {key!r}"))

    # -- states ---------------------------------------------------------------------------------------------------

    def save(self, state: Any, step: int | None = None) -> None:
        """See :meth:`Trial.save`; tensors arrive at the study's process as copies in main memory."""
        self._ask("save", portable(state), step)

    def load(self) -> Any:
        """See :meth:`Trial.load`."""
        return self._ask("load")

    # -- what it knows --------------------------------------------------------------------------------------------

    @property
    def params(self) -> dict[str, Any]:
        """What was suggested so far."""
        return cast(dict[str, Any], self._question(Call("params", None)))

    @property
    def relative_params(self) -> dict[str, Any]:
        """The joint proposal this trial started with."""
        return cast(dict[str, Any], self._question(Call("relative_params", None)))

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Name -> distribution of what was suggested so far."""
        return cast(dict[str, BaseDistribution], self._question(Call("distributions", None)))

    @property
    def user_attrs(self) -> dict[str, Any]:
        """Attributes set so far."""
        return cast(dict[str, Any], self._question(Call("user_attrs", None)))

    @property
    def system_attrs(self) -> dict[str, Any]:
        """Always empty while the trial runs; the record has them."""
        return {}

    @property
    def constraints(self) -> dict[str, float]:
        """Constraints set so far."""
        return cast(dict[str, float], self._question(Call("constraints", None)))

    @property
    def datetime_start(self) -> datetime.datetime | None:
        """Naive local time of the claim."""
        return cast("datetime.datetime | None", self._question(Call("datetime_start", None)))

    def __copy__(self) -> RemoteTrial:
        return self

    def __deepcopy__(self, memo: Any) -> RemoteTrial:
        return self

    def __reduce__(self) -> NoReturn:
        raise InvalidTypeError(
            f"Trial {self.number} is evaluated in this process and cannot be sent to another; send trial.number and "
            "trial.params."
        )

    def __repr__(self) -> str:
        return f"<Trial {self.number}>"


def _lasting(distribution: CategoricalDistribution) -> tuple[Any, ...]:
    """The choices by names that do not depend on this process; those from another one have theirs already."""
    pairs = zip(distribution.choices, distribution.logged(), strict=True)
    return tuple(
        _placed(named, position) if choice_key(choice) == choice_key(named) else named
        for position, (choice, named) in enumerate(pairs)
    )


def _placed(named: Any, position: int) -> Any:
    if isinstance(named, tuple):
        return tuple(_placed(entry, position) for entry in named)
    return OpaqueChoice(_ADDRESS.sub(f" #{position}", named.name)) if isinstance(named, OpaqueChoice) else named


def _own(value: Any, here: CategoricalDistribution, there: CategoricalDistribution) -> Any:
    """The choice of this process that the study's answer stands for."""
    found = there._find(value)
    return value if found is None else here.choices[found]


class RemoteStudy:
    """``trial.study`` in a worker process: attributes and methods of the real study, asked for one by one.

    What comes back is a copy (records of trials, attributes, the stopping rule). Methods such as ``stop`` and
    ``set_user_attr`` have their effect on the real study; attributes cannot be set.
    """

    def __init__(self, trial: RemoteTrial) -> None:
        object.__setattr__(self, "_trial", trial)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"The study is in another process, which answers for public names, not for {name!r}.")
        return self._trial._question(Call(name, None, of_study=True))

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"The study is in another process, and its `{name}` cannot be set from a trial.")

    def __reduce__(self) -> NoReturn:
        raise InvalidTypeError(
            "`trial.study` cannot be sent to another process; open the study there with load_study(study_name=..., "
            "storage=...)."
        )

    def __repr__(self) -> str:
        return f"<study of {self._trial!r} in another process>"


def portable(value: Any) -> Any:
    """A state as it is sent: PyTorch tensors as detached copies in main memory, so that no graph and no device is."""
    return _mapped(value, lambda tensor: tensor.detach().cpu())


def numbers(value: Any) -> Any:
    """A report or a result as it is sent: tensors of one element as numbers, so the study need not import PyTorch."""
    return _mapped(value, lambda tensor: tensor.item() if tensor.numel() == 1 else tensor.detach().cpu())


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """``value`` with its tensors changed, also those in dictionaries, lists and tuples."""
    if isinstance(value, dict):
        return {key: _mapped(entry, change) for key, entry in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_mapped(entry, change) for entry in value)
    is_tensor = hasattr(value, "detach") and hasattr(value, "numel")
    return change(value) if is_tensor else value
