"""At which steps a rule that looks only now and then is applied."""

from __future__ import annotations

from collections.abc import Mapping


def due(reports: Mapping[int, float], n_warmup_steps: int, interval_steps: int) -> bool:
    """Whether a rule looks at the newest report of a trial.

    It does at the first report in each interval, so that a step which is left out only delays it.

    Args:
        reports: step -> value.
        n_warmup_steps: it does not look at steps below this, where the first interval begins.
        interval_steps: the length of an interval.
    """
    if not reports:
        return False
    step = max(reports)
    if step < n_warmup_steps:
        return False
    if interval_steps == 1:
        return True
    begin = step - (step - n_warmup_steps) % interval_steps
    return not any(begin <= s < step for s in reports)
