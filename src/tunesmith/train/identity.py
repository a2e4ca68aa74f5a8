"""What tells one training from another, so that a state is not taken for that of a training it does not belong to."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor

from tunesmith.train.job import Job

#: Hyperparameters of the loop that cannot change in the middle of a training: what the moments mean, what the network
#: has learnt to see, and whether the best weights were kept. Rates, decay, schedule, loss and batch size can.
LASTING = ("optimizer", "normalize", "patience")
#: Differences that a message names; the rest is counted.
_SHOWN = 5


def of_job(job: Job) -> dict[str, Any]:
    """All that a training depends on, except the pixels and the code of its network, as plain values.

    The device and the number of threads have no part: a training may go on elsewhere, though not with the same bits.
    """
    return {
        "hyperparameters": asdict(job.hyperparameters),
        "epochs": job.epochs,
        "precision": job.precision,
        "metrics": ", ".join(job.metrics),
        "seeds": {name: str(seed) for name, seed in asdict(job.seeds).items()},
        "training part": _rows(job.training.rows),
        "validation part": _rows(job.validation.rows),
        "network": {name: str(tuple(tensor.shape)) for name, tensor in job.network.state_dict().items()},
    }


def lasting(of_job: Mapping[str, Any]) -> dict[str, Any]:
    """The part of :func:`of_job` that cannot change in the middle of a training."""
    kept = {name: of_job["hyperparameters"][name] for name in LASTING}
    return {**{name: value for name, value in of_job.items() if name != "seeds"}, "hyperparameters": kept}


def _rows(rows: Tensor) -> str:
    return f"{len(rows)} images ({zlib.crc32(rows.cpu().numpy().tobytes()):08x})"


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Where two nested mappings of plain values differ, in words; "" when they are equal."""
    found = list(_different(there, here, ""))
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(found[:_SHOWN]) + more


def _different(there: Mapping[str, Any], here: Mapping[str, Any], where: str) -> Iterator[str]:
    for name in dict.fromkeys([*here, *there]):
        a, b = there.get(name), here.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from _different(a, b, f"{where}{name} ")
        elif (name in there) != (name in here) or a != b:
            yield f"{where}{name} is {_shown(name, there)} there and {_shown(name, here)} here"


def _shown(name: str, values: Mapping[str, Any]) -> str:
    return repr(values[name]) if name in values else "missing"
