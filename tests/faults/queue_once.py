"""Many workers empty one queue: every trial runs, and none twice.

Figure 2 of "Nothing lost": 5,000 queued trials, 8 and 32 workers.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from crew import command, crew, new_study, states

from tunesmith.distributions import FloatDistribution
from tunesmith.trial import TrialState, create_trial


def run(url: str, trials: int = 150, workers: int = 4) -> dict[str, Any]:
    """Enqueue, start the workers, count who has run what."""
    study = new_study(url)
    space = {"x": FloatDistribution(0, 1e9)}
    study.add_trials(
        create_trial(state=TrialState.WAITING, params={"x": float(i)}, distributions=space) for i in range(trials)
    )
    begin = time.monotonic()
    with crew(url, "queue") as made:
        made.start(workers)
        made.wait(600)
        runs = Counter(int(number) for number, _ in made.lines("begun"))
    seconds = time.monotonic() - begin
    found = study.get_trials(deepcopy=False)
    return {
        "queued": trials, "workers": workers, "seconds": round(seconds, 1),
        "queued_run_twice": sum(runs[n] > 1 for n in range(trials)),
        "queued_not_run": sum(runs[n] == 0 for n in range(trials)),
        "queued_with_another_value": sum(found[n].value != float(n) for n in range(trials)), "states": states(study),
    }  # fmt: skip


if __name__ == "__main__":
    command(__doc__ or "", run, {"trials": 5000, "workers": 8})
