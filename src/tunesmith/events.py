"""The events of a study's log: how they are written and what their fields mean.

A study is a list of events; one append writes one record, a list of events that become visible together. Every event
is a JSON object whose ``"e"`` names its type. Numbers that JSON cannot hold (NaN, infinities) are strings in places
where a number is expected. Times are microseconds since 1970 in UTC.

- any event: ``ver`` the version of the vocabulary it needs, where that is newer than 1; an older reader refuses it.
  Version 2 has brought ``edit``, ``delete``, ``import`` and ``next``; a study without them says 1 and is read by all.
- ``study``: ``v`` format version, ``directions``, ``seed``, ``budget``, ``space``, ``versions``, ``t``; first and once.
- ``config``: ``sampler``, ``pruner``, each ``{"name", "args"}``, of the worker ``w``; the last one counts for who opens
  the study without any.
- ``attr``: ``k``, ``v``, ``system``: an attribute of the study.
- ``metrics``: ``names`` of the objectives.
- ``space``: ``id``, ``d``: a set of named distributions; later events refer to it by this content hash.
- ``worker``: ``w``, ``host``, ``machine`` (if known), ``pid``, ``start``: who the tokens ``w.*`` belong to; ``lease``:
  seconds without a heartbeat (a side record of the store) after which others may take it for dead.
- ``wait``: ``n``, ``p``, ``ua``, ``t``: enqueue a trial with fixed parameters.
- ``ask``: ``n``, ``k`` token, ``t``: claim a trial. ``at`` is the position the proposal was computed from (late values
  too), ``s`` its space id and ``p`` its values (numbers; of a choice its index; null where a parameter is not active),
  ``f`` fixed values without a known distribution, ``g`` tags (numbers or lists of numbers), ``o`` 1 if made by
  ``study.ask()`` (then it is never released on its own), ``gv`` 1 if the stopping rule gave its values, ``from`` as in
  ``resume``. ``src`` (``[number, attempt, step, token]``) is the state of another trial that this one begins with;
  ``from`` is its step then. ``a`` is 0 for a new trial, and of one that waits the attempt that this will be: the claim
  is void if that is not so (any more).
- ``up``: ``n``, ``k``, ``t`` and a change of a running trial: ``l`` late parameters (``[space id, values]``), ``r``
  reports (``[step, value]``; ``[step, value, i]`` of objective ``i > 0``; ``[step, value, name]`` of another metric),
  ``ua`` user attributes, ``c`` constraints, ``sv`` the step that the trial's state was saved at (the file is beside the
  log; its name is made of the trial's number, attempt and token, and the step).
- ``tell``: as ``up``, and ``st`` state, ``y`` values, ``x`` names proposed but not used, ``why`` it failed, ``next``
  a trial (as in ``add``) that takes its place under the next number.
- ``pause``: as ``up``: the trial is PAUSED.
- ``resume``: ``n``, ``k`` the new token, ``t``: a PAUSED trial runs again; ``again`` 1: another attempt, which begins
  with the state of step ``from`` (void if that is not its last one) and keeps the reports up to it (default: from the
  start, keeping none).
- ``release``: as ``up``: an interrupted trial goes back to WAITING; ``free`` 1: the attempt does not count.
- ``add``: ``n`` the first number, ``trials``: whole trials with ``st``, ``y``, ``t0``, ``t``, ``s``, ``p``, ``r``,
  ``ua``, ``c``, ``f``, ``g`` as above, ``a`` the attempt, and ``sa`` (system attributes); all or none are added.
- ``edit``: ``n``, ``t``, ``w`` the worker, ``why``: a change of a trial that its worker has not made. ``ua`` user
  attributes, and of a finished trial ``c`` constraints, and ``st`` with ``y``: state and values, always both, so that
  the last of two edits counts as a whole. What was told before stays in the log.
- ``delete``: ``n``, ``t``, ``w``, ``why``: the trial is gone; its number is not given out again.
- ``import``: ``records`` that a log which is copied from elsewhere will have; it does not count as a study before.

In ``tell``, ``pause`` and ``resume`` ``at`` says that the stopping rule wanted it, and the position it looked at.

Validity is decided by the fold (:mod:`tunesmith.fold`): the first claim of a number wins, and an event with a stale
token is void.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from typing import Any

from tunesmith.exceptions import InvalidTypeError
from tunesmith.space import Space

Event = dict[str, Any]

#: Version of the event vocabulary. A reader refuses a newer one.
VERSION = 2

#: What a new study says it needs; events of a later version say so themselves (``ver``).
FIRST_VERSION = 1


#: Type of event -> its fields -> the types that they may have. What follows from a field at once is not here: it shows
#: itself when it is folded. Of hot events there is little, since each is looked at whenever a log is read.
FORMS: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "study": {"v": (int,), "directions": (list,), "seed": (int,)},
    "attr": {"k": (str,)},
    "metrics": {"names": (list,)},
    "space": {"id": (str,), "d": (dict,)},
    "worker": {"w": (str,), "host": (str,), "pid": (int,)},
    "wait": {"n": (int,)},
    "ask": {"n": (int,), "k": (str,)},
    "resume": {"k": (str,)},
}


#: The last time that a clock can say: the end of the year 9998, for any zone.
LATEST = 253_370_764_800_000_000


def check_component(spec: Any) -> None:
    """Refuse what describes no sampler or rule."""
    args = spec["args"]
    if not isinstance(spec["name"], str) or not isinstance(args, (dict, type(None))):
        raise TypeError(f"{spec!r} is no sampler or rule")


def now() -> int:
    """Microseconds since 1970 in UTC."""
    return time.time_ns() // 1000


def number_to_json(value: float) -> float | str:
    """A float, or "nan", "inf", "-inf"."""
    return value if math.isfinite(value) else repr(float(value))


def attr_to_json(value: Any) -> Any:
    """An attribute that is JSON-able in Python's sense; NaN and infinities survive inside ``{"$json": text}``."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return {"$json": json.dumps(value)}
    return {"$json": json.dumps(value)} if isinstance(value, dict) and "$json" in value else value


def attr_from_json(value: Any) -> Any:
    """Inverse of :func:`attr_to_json`."""
    return json.loads(value["$json"]) if isinstance(value, dict) and "$json" in value else value


def space_event(space: Space) -> Event:
    """Define a space, so that later events can refer to it by ``space.id``."""
    return {"e": "space", "id": space.id, "d": space.to_dict()}


def tags_to_json(tags: Mapping[str, Any]) -> dict[str, Any]:
    """Bookkeeping as the log keeps it: name -> number or flat list of numbers.

    Raises:
        InvalidTypeError: a tag is anything else.
    """
    return {str(name): _tag_to_json(name, value) for name, value in tags.items()}


def _tag_to_json(name: Any, value: Any) -> Any:
    if type(value).__module__ == "numpy":
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_tag_number(name, v) for v in value]
    return _tag_number(name, value)


def _tag_number(name: Any, value: Any) -> Any:
    if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidTypeError(f"The tag {name!r} must be a number or a flat list of numbers, but holds {value!r}.")
    if isinstance(value, float):
        return number_to_json(value)
    if abs(value) >= 1 << 1000:
        raise InvalidTypeError(f"The tag {name!r} holds {value!r}, which is too large for a float.")
    return value


def changes_to_json(
    reports: list[list[Any]], user_attrs: dict[str, Any], constraints: dict[str, float]
) -> dict[str, Any]:
    """The fields ``r``, ``ua`` and ``c`` of an event; empty ones are left out."""
    fields: dict[str, Any] = {}
    if reports:
        fields["r"] = [[r[0], number_to_json(r[1]), *r[2:]] for r in reports]
    if user_attrs:
        fields["ua"] = {k: attr_to_json(v) for k, v in user_attrs.items()}
    if constraints:
        fields["c"] = {k: number_to_json(v) for k, v in constraints.items()}
    return fields
