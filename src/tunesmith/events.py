"""The events of a study's log: how they are written and what their fields mean.

A study is a list of events; one append writes one record, a list of events that become visible together. Every event
is a JSON object whose ``"e"`` names its type. Numbers that JSON cannot hold (NaN, infinities) are strings in places
where a number is expected. Times are microseconds since 1970 in UTC.

- ``study``: ``v`` format version, ``directions``, ``seed``, ``budget``, ``space``, ``versions``, ``t``; first and once.
- ``config``: ``sampler``, ``pruner``, each ``{"name", "args"}``; the last one counts.
- ``attr``: ``k``, ``v``, ``system``: an attribute of the study.
- ``metrics``: ``names`` of the objectives.
- ``space``: ``id``, ``d``: a set of named distributions; later events refer to it by this content hash.
- ``worker``: ``w``, ``host``, ``pid``, ``start``: who the tokens ``w.*`` belong to.
- ``wait``: ``n``, ``p``, ``ua``, ``t``: enqueue a trial with fixed parameters.
- ``ask``: ``n``, ``k`` token, ``t``: claim a trial. ``at`` is the position the proposal was computed from, ``s`` its
  space id and ``p`` its values (numbers; of a choice its index), ``f`` fixed values without a known distribution,
  ``g`` tags, ``o`` 1 if made by ``study.ask()`` (then it is never released on its own).
- ``up``: ``n``, ``k`` and a change of a running trial: ``l`` late parameters (``[space id, values]``), ``r`` reports
  (``[step, value]`` or ``[step, value, metric]``), ``ua`` user attributes, ``c`` constraints.
- ``tell``: as ``up``, and ``st`` state, ``y`` values, ``t``, ``x`` names proposed but not used, ``why`` it failed.
- ``pause``: as ``up``: the trial is PAUSED.
- ``resume``: ``n``, ``k`` the new token: a PAUSED trial runs again (``again`` 1: from its start).
- ``release``: ``n``, ``k``, ``t``: an interrupted trial goes back to WAITING.
- ``add``: ``n`` the first number, ``trials``: whole trials with ``st``, ``y``, ``t0``, ``t``, ``s``, ``p``, ``r``,
  ``ua``, ``c`` and ``sa`` (system attributes); all or none are added.

Validity is decided by the fold (:mod:`tunesmith.fold`): the first claim of a number wins, and an event with a stale
token is void.
"""

from __future__ import annotations

import json
import math
import time
from typing import Any

from tunesmith.space import Space

Event = dict[str, Any]

#: Version of the event vocabulary. A reader refuses a newer one.
VERSION = 1


def now() -> int:
    """Microseconds since 1970 in UTC."""
    return time.time_ns() // 1000


def number_to_json(value: float) -> float | str:
    """A float, or "nan", "inf", "-inf"."""
    return value if math.isfinite(value) else repr(value)


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
