"""The fields of a problem: its arguments, checked together and in their final forms."""

from __future__ import annotations

from typing import Any

from tunesmith.train import arguments, resolve
from tunesmith.train import device as devices
from tunesmith.train.arguments import whole
from tunesmith.train.dataset import data_of

#: Integer -> its least value, and whether it may be None.
_WHOLE = {
    "epochs": (1, False), "folds": (2, True), "fold_repeats": (1, False), "executions_per_trial": (1, False),
    "n_train": (1, True), "n_validation": (1, True), "n_test": (1, True), "split_seed": (0, True), "seed": (0, False),
    "repeat": (0, False), "threads": (1, True), "save_every": (1, True),
}  # fmt: skip


def checked(**given: Any) -> dict[str, Any]:
    """The fields of :class:`tunesmith.train.Problem`, from the arguments of the same names.

    Raises:
        InvalidTypeError, InvalidValueError: an argument that is impossible, alone or beside the others.
    """
    data, model = data_of(given["data"]), arguments.model_of(given["model"])
    space, fixed = resolve.resolve(data, model, given["space"], given["fixed"])
    devices.check_precision(given["precision"], devices.choose(given["device"]))
    fields = {**given, "data": data, "model": model, "space": space, "fixed": fixed}
    for name, (lowest, optional) in _WHOLE.items():
        fields[name] = whole(name, given[name], lowest, optional)
    several = fields["folds"] is not None or fields["executions_per_trial"] > 1
    fields["objective"] = arguments.metric_name(given["objective"])
    fields["metrics"] = arguments.metrics_of(given["objective"], given["metrics"], several)
    fields["validation"] = arguments.validation_of(
        given["validation"], fields["folds"], fields["fold_repeats"], fields["split_seed"], fields["n_test"]
    )
    return fields
