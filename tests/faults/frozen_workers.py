"""Workers are stopped for twice their lease and go on: nothing that they say about lost trials is accepted.

Figure 10 of "Nothing lost": 100 workers.
"""

from __future__ import annotations

import signal
import time
from typing import Any

from crew import command, crew, new_study, states, until


def run(url: str, workers: int = 4, rounds: int = 1, lease: float = 1.5) -> dict[str, Any]:
    """Freeze all of a crew in the middle of their trials, while two others work; then let them go on."""
    study = new_study(url)
    released = stale = frozen = unfinished = 0
    with crew(url, "mine", 0.1, lease) as others:
        others.start(2)
        for _ in range(rounds):
            with crew(url, "mine", 3 * lease, lease) as made:
                made.start(workers)
                until(lambda made=made: len(made.lines("begun")) >= workers, 120)
                made.signal(signal.SIGSTOP)
                pids = {process.pid for process in made.processes}
                held = {t.number: w.pid for w in study.workers() if w.pid in pids for t in w.trials}
                frozen += len(held)
                time.sleep(2 * lease)
                attempts = {t.number: t.system_attrs.get("attempt", 1) for t in study.get_trials(deepcopy=False)}
                made.signal(signal.SIGCONT)
                time.sleep(2 * lease)  # in which they come to the end of what they had begun
                until(lambda held=held: all(study.trials[n].state.is_finished() for n in held), 30)
                for number, pid in held.items():
                    trial = study.trials[number]
                    again = attempts[number] > 1 or trial.system_attrs.get("attempt", 1) > 1
                    released += again
                    stale += again and trial.value == float(pid)
                    unfinished += not trial.state.is_finished()
    return {
        "frozen": frozen, "lease_seconds": lease, "frozen_for_seconds": 2 * lease, "released": released,
        "stale_writes_accepted": stale, "unfinished": unfinished, "states": states(study),
    }  # fmt: skip


if __name__ == "__main__":
    command(__doc__ or "", run, {"workers": 20, "rounds": 5, "lease": 4.0})
