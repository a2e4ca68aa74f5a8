"""Workers are killed again and again: nothing that was acknowledged is lost or changed, and nothing stays RUNNING.

Figure 1 of "Nothing lost": 1,000 times ``kill -9`` over 8 workers, on SQLite and on PostgreSQL.
"""

from __future__ import annotations

import random
import time
from typing import Any

from crew import command, crew, new_study, states, until

SECONDS = 0.1  # of a trial


def run(
    url: str, kills: int = 8, workers: int = 3, every: float = 0.5, lease: float = 3.0, base: float = 4.0
) -> dict[str, Any]:
    """Kill at random moments, and start another worker in the place of the dead one.

    Args:
        url: of an empty storage.
        kills: how many.
        workers: at work at any time.
        every: seconds between two kills, on average.
        lease: of the workers.
        base: seconds of work without kills at the beginning, to compare with.
    """
    study, chance = new_study(url), random.Random(1)
    with crew(url, "optimize", SECONDS, lease, 10) as made:
        made.start(workers)
        until(lambda: len(made.lines("done")) >= workers, 60)
        begin, before = time.monotonic(), len(made.lines("done"))
        time.sleep(base)
        undisturbed = (len(made.lines("done")) - before) / (time.monotonic() - begin)
        begin, before = time.monotonic(), len(made.lines("done"))
        for _ in range(kills):
            time.sleep(chance.expovariate(1 / every))
            made.kill(chance.randrange(workers))
            made.start()
        disturbed = (len(made.lines("done")) - before) / (time.monotonic() - begin)
        last = time.monotonic()
        acknowledged = {int(number): float(value) for number, value in made.lines("done")}
        orphans = {t.number for t in study.get_trials(deepcopy=False) if t.state.name == "RUNNING"}
        until(lambda: not _left(study, made, orphans), lease)
        noticed = time.monotonic() - last
        left = len(_left(study, made, orphans))
        trials = {t.number: t for t in study.get_trials(deepcopy=False)}
        attempts = [(int(n), int(a)) for n, a in made.lines("begun")]
    lost = [n for n in acknowledged if n not in trials or trials[n].state.name != "COMPLETE"]
    changed = [n for n, value in acknowledged.items() if n not in lost and trials[n].value != value]
    return {
        "kills": kills, "workers": workers, "every_seconds": every, "lease_seconds": lease, "trial_seconds": SECONDS,
        "acknowledged": len(acknowledged), "lost": len(lost), "changed": len(changed),
        "running_one_lease_after_the_last_kill": left, "noticed_after_seconds": round(noticed, 2),
        "attempts_made_twice": len(attempts) - len(set(attempts)), "states": states(study),
        "trials_per_second_undisturbed": round(undisturbed, 2), "trials_per_second_with_kills": round(disturbed, 2),
        "throughput_kept": round(disturbed / undisturbed, 3),
    }  # fmt: skip


def _left(study: Any, made: Any, orphans: set[int]) -> set[int]:
    """Of the trials that ran at the last kill, those that a dead worker still holds."""
    alive = {process.pid for process in made.processes}
    held = {t.number for w in study.workers() if w.pid not in alive for t in w.trials}
    return held & orphans


if __name__ == "__main__":
    command(__doc__ or "", run, {"kills": 1000, "workers": 8, "lease": 5.0, "base": 60.0})
