"""What a comparison tells about itself while it runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """What happened, for a progress display.

    Attributes:
        event: ``"skip"`` (a method cannot take part), ``"study"`` (one begins), ``"trial"`` (one begins), ``"epoch"``
            (a trial has yielded), ``"told"`` (a trial has ended), ``"test"`` (a test evaluation begins), ``"done"`` (a
            study has used its budget).
        method: label.
        repeat: from 0.
        trial: its number, or None.
        step: how many times the trial has yielded, or None.
        value: the objective's value so far, or None.
        done: trials that have ended, over the whole comparison; if some method has a stopping rule, steps of training.
        total: trials (or steps) there will be (grids and others that end early included as if they did not).
        message: a sentence for ``"skip"``, else "".
        unit: what ``done`` and ``total`` count: ``"trials"``, ``"epochs"`` or ``"steps"``.
    """

    event: str
    method: str
    repeat: int = 0
    trial: int | None = None
    step: int | None = None
    value: float | None = None
    done: int = 0
    total: int = 0
    message: str = ""
    unit: str = "trials"
