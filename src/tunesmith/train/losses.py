"""Losses of a classification, as functions of logits z and target rows t that sum to 1 (one-hot, smoothed, or mixed).

With p = softmax(z), for one image:

- cross-entropy, and nll, which is the same on logits: ``-sum_c t_c log p_c``.
- squared-error: ``sum_c (p_c - t_c)**2``, the Brier score (G. Brier, "Verification of forecasts expressed in terms of
  probability", 1950).
- focal: ``-sum_c t_c (1 - p_c)**gamma log p_c`` (T.-Y. Lin et al., "Focal loss for dense object detection", ICCV 2017,
  eq. 4); ``1 - p_c`` is taken as at least 2**-24, so that its power has a derivative.
- hinge: one against the rest, ``sum_c t_c max(0, 1 - z_c) + (1 - t_c) max(0, 1 + z_c)`` (R. Rifkin, A. Klautau, "In
  defense of one-vs-all classification", JMLR 5, 2004). It is linear in t, as the cross-entropy is, so that blended
  labels have the blended loss.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tunesmith.exceptions import InvalidValueError
from tunesmith.train.hyperparameters import LOSSES

#: The least 1 - p of the focal loss: what is next to 1 in float32.
FOCAL_FLOOR = 2.0**-24


def targets(labels: Tensor, n_classes: int, smoothing: float | Tensor = 0.0) -> Tensor:
    """Target rows: ``(1 - smoothing) * one-hot + smoothing / n_classes`` (C. Szegedy et al., "Rethinking the Inception
    architecture for computer vision", CVPR 2016, section 7).

    Args:
        labels: (..., b) integers.
        n_classes: k.
        smoothing: in [0, 1); of lanes a float64 tensor that broadcasts against (..., b, k), with the same bits.

    Returns:
        (..., b, k) float32.
    """
    hit = labels.unsqueeze(-1) == torch.arange(n_classes, device=labels.device)
    if not isinstance(smoothing, Tensor) and smoothing == 0.0:
        return hit.to(torch.float32)
    rest = smoothing / n_classes
    return torch.where(hit, 1.0 - smoothing + rest, rest).to(torch.float32)


def loss(name: str, logits: Tensor, targets: Tensor, gamma: float | Tensor = 2.0) -> Tensor:
    """The loss of each image.

    Args:
        name: one of :data:`~tunesmith.train.hyperparameters.LOSSES`.
        logits: (..., b, k).
        targets: (..., b, k), each row sums to 1.
        gamma: of the focal loss; of lanes a tensor that broadcasts against (..., b, k).

    Returns:
        (..., b).

    Raises:
        InvalidValueError: an unknown name.
    """
    if name in ("cross-entropy", "nll"):
        return -(targets * torch.log_softmax(logits, -1)).sum(-1)
    if name == "squared-error":
        return (torch.softmax(logits, -1) - targets).square().sum(-1)
    if name == "focal":
        log_p = torch.log_softmax(logits, -1)
        power = (gamma * (1.0 - log_p.exp()).clamp_min(FOCAL_FLOOR).log()).exp()
        return -(targets * power * log_p).sum(-1)
    if name == "hinge":
        return (targets * (1.0 - logits).relu() + (1.0 - targets) * (1.0 + logits).relu()).sum(-1)
    raise InvalidValueError(f"Unknown loss {name!r}; known: {', '.join(LOSSES)}.")
