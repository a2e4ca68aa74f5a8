"""What is measured on the validation and the test part: functions of the logits and the labels.

Losses and shares are a few tensor operations and may be computed after every epoch on the device. F1 and AUC are
scikit-learn's, which is imported when one of them is asked for (it is in the extra ``train`` for the data set "digits"
anyway; torchmetrics brings 900 modules for two functions, and is an oracle in the tests instead).

Names have no part here: a problem calls ``"f1"`` on its validation part ``"val_f1"``.

Sources:
    G. Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78 (1950).
    D. Hand, R. Till, A simple generalisation of the area under the ROC curve for multiple class classification
    problems, Machine Learning 45 (2001); one-vs-rest as in F. Provost, P. Domingos, Well-trained PETs (2000).
    C. Guo et al., On calibration of modern neural networks, ICML 2017, eq. 3.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from tunesmith.exceptions import InvalidTypeError, InvalidValueError, MissingDependencyError

Direction = Literal["minimize", "maximize"]

#: What the name of a metric begins with when it was measured on the validation part, or on the test part.
VALIDATION, TEST = "val_", "test_"
#: Bins of the calibration error, of equal width; 15 as in Guo et al.
CALIBRATION_BINS = 15
_TOP = re.compile(r"top_([1-9]\d*)")


def names() -> list[str]:
    """All metrics; ``"top_k"`` stands for ``"top_2"``, ``"top_3"``, ..."""
    return [*_METRICS, "top_k"]


def check_name(name: str) -> None:
    """Whether there is such a metric.

    Raises:
        InvalidTypeError, InvalidValueError: there is none; the message lists the known ones.
    """
    if not isinstance(name, str):
        raise InvalidTypeError(f"A metric is named by a string such as 'accuracy', not {name!r}.")
    if name in _METRICS or _TOP.fullmatch(name):
        return
    close = difflib.get_close_matches(name, _METRICS, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise InvalidValueError(f"Unknown metric {name!r}; known: {', '.join(names())} with k = 2, 3, ....{hint}")


def check_classes(name: str, n_classes: int) -> None:
    """Whether a metric means something with so many classes.

    Raises:
        InvalidValueError: ``top_k`` with k >= the number of classes, which would always be 1.
    """
    found = _TOP.fullmatch(name)
    if found and int(found[1]) >= n_classes:
        raise InvalidValueError(f"{name!r} is always 1 with {n_classes} classes; ask for fewer than that.")


def direction(name: str) -> Direction:
    """Whether smaller or larger values of a metric are better.

    Raises:
        InvalidTypeError, InvalidValueError: there is no such metric.
    """
    check_name(name)
    return "minimize" if name in ("loss", "nll", "brier", "ece") else "maximize"


def undefined(name: str, labels: Tensor) -> str | None:
    """Why a metric has no value on images with these labels, whatever the logits are; None if it has one.

    Args:
        name: of the metric.
        labels: (n,) int64.
    """
    if name != "auc" or len(labels.unique()) > 1:
        return None
    return (
        f"{name!r} has no value where only one class occurs ({len(labels)} images of class {int(labels[0])}): it ranks "
        "the images of a class among those of others. Let there be more images, or choose another metric, such as "
        "'loss' or 'accuracy'."
    )


def measure(metrics: Sequence[str], logits: Tensor, labels: Tensor) -> dict[str, float]:
    """The values of some metrics.

    - ``loss`` and ``nll``: mean cross-entropy, ``-mean log p(label)``, whatever was trained with;
    - ``accuracy``: share of the images whose largest logit (the first among equals) is that of the label;
    - ``top_k``: share of the images whose label is among the k largest logits;
    - ``f1``: F1 of each class that occurs among the labels or the predictions, averaged over these classes;
    - ``auc``: area under the ROC curve of each class against the rest, averaged over the classes that the labels hold
      (and not alone); NaN when all images have one class, see :func:`undefined`;
    - ``brier``: mean squared distance of the probabilities from the one-hot label, in [0, 2];
    - ``ece``: expected calibration error, ``sum over bins of (share of the images) * |accuracy - mean confidence|``
      with 15 bins of equal width over the confidence (the largest probability).

    Args:
        metrics: names.
        logits: (n, k), n at least 1.
        labels: (n,) int64 on the same device.

    Returns:
        Name -> value, in the order of ``metrics``. Where logits are NaN or infinite, ``loss`` says so and ``auc`` is
        NaN.

    Raises:
        InvalidValueError: an unknown metric, no images, or shapes that do not fit.
        MissingDependencyError: scikit-learn is needed and not installed.
    """
    for name in metrics:
        check_name(name)
        check_classes(name, logits.shape[-1])
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise InvalidValueError(
            f"Metrics need logits (n, k) and labels (n,) with n >= 1, not {tuple(logits.shape)}, {tuple(labels.shape)}."
        )
    with torch.no_grad():
        rows = [_computed(name, logits.float(), labels) for name in metrics]
        values = torch.stack([row.to("cpu", torch.float64) for row in rows]).tolist() if rows else []
    return dict(zip(metrics, values, strict=True))


def _computed(name: str, logits: Tensor, labels: Tensor) -> Tensor:
    found = _TOP.fullmatch(name)
    return _top(logits, labels, int(found[1])) if found else _METRICS[name](logits, labels)


def _mean(rows: Tensor) -> Tensor:
    """In float64 on the CPU: exact enough for any n, and the same wherever the rows were computed."""
    return rows.to("cpu", torch.float64).mean()


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    return _mean(functional.cross_entropy(logits, labels, reduction="none"))


def _accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    return _mean(logits.argmax(1) == labels)


def _top(logits: Tensor, labels: Tensor, k: int) -> Tensor:
    if k == 1:
        return _accuracy(logits, labels)
    return _mean((logits.topk(k, dim=1).indices == labels[:, None]).any(1))


def _brier(logits: Tensor, labels: Tensor) -> Tensor:
    distance = logits.softmax(1) - functional.one_hot(labels, logits.shape[1])
    return _mean(distance.square().sum(1))


def _calibration(logits: Tensor, labels: Tensor) -> Tensor:
    confidence, predicted = logits.softmax(1).max(1)
    confidence, hit = confidence.to("cpu", torch.float64), (predicted == labels).to("cpu", torch.float64)
    bounds = torch.linspace(0, 1, CALIBRATION_BINS + 1, dtype=torch.float64)
    index = (torch.bucketize(confidence, bounds) - 1).clamp(0, CALIBRATION_BINS - 1)  # bin i holds (b_i, b_i+1]
    gap = torch.zeros(CALIBRATION_BINS, dtype=torch.float64).index_add_(0, index, hit - confidence)
    return gap.abs().sum() / len(hit)


def _f1(logits: Tensor, labels: Tensor) -> Tensor:
    f1_score = _sklearn("f1_score")
    value = f1_score(labels.cpu().numpy(), logits.argmax(1).cpu().numpy(), average="macro", zero_division=0.0)
    return torch.tensor(float(value), dtype=torch.float64)


def _auc(logits: Tensor, labels: Tensor) -> Tensor:
    roc_auc_score = _sklearn("roc_auc_score")
    if not bool(logits.isfinite().all()):
        return torch.tensor(torch.nan)
    probability, truth = logits.cpu().double().softmax(1).numpy(), labels.cpu().numpy()
    held = [c for c in range(logits.shape[1]) if 0 < (truth == c).sum() < len(truth)]
    areas = [float(roc_auc_score(truth == c, probability[:, c])) for c in held]
    return torch.tensor(areas, dtype=torch.float64).mean()


def _sklearn(function: str) -> Callable[..., float]:
    try:
        from sklearn import metrics
    except ImportError:
        raise MissingDependencyError(
            "The metrics f1 and auc are scikit-learn's, which is not installed: pip install 'tunesmith[train]'."
        ) from None
    return getattr(metrics, function)  # type: ignore[no-any-return]


_METRICS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "loss": _loss, "accuracy": _accuracy, "nll": _loss, "f1": _f1, "auc": _auc, "brier": _brier, "ece": _calibration,
}  # fmt: skip
