"""The database server is restarted again and again while studies are optimized: all workers survive.

Figure 7 of "Nothing lost", as users would see it: 20 restarts of PostgreSQL, half of them immediate, and an outage of
60 s.
"""

from __future__ import annotations

import time
from typing import Any

from crew import command, crew, new_study, states, until
from server_restarts import WAYS, running


def run(_: str = "", workers: int = 3, restarts: int = 2, outage: float = 0.0, lease: float = 6.0) -> dict[str, Any]:
    """Restart the server in both ways in turn, while the workers go on with trials of 0.1 s."""
    with running("postgresql") as server:
        study = new_study(server.url)
        with crew(server.url, "optimize", 0.1, lease, 10) as made:
            made.start(workers)
            went_on = [_all_go_on(made, workers)]
            for k in range(restarts + (outage > 0)):
                server.stop(WAYS[k % 2])
                time.sleep(outage if k == restarts else 0.0)
                server.start()
                went_on.append(_all_go_on(made, workers))
            alive = sum(process.poll() is None for process in made.processes)
            acknowledged = {int(number): float(value) for number, value in made.lines("done")}
            trials = {t.number: t for t in study.get_trials(deepcopy=False)}
            begun = [(int(number), int(attempt)) for number, attempt in made.lines("begun")]
            lost = [n for n in acknowledged if n not in trials or trials[n].state.name != "COMPLETE"]
            changed = [n for n, value in acknowledged.items() if n not in lost and trials[n].value != value]
            result = {
                "workers": workers, "restarts": restarts, "outage_seconds": outage, "workers_that_survived": alive,
                "times_that_all_went_on": sum(went_on), "of": len(went_on), "acknowledged": len(acknowledged),
                "lost": len(lost), "changed": len(changed), "attempts_made_twice": len(begun) - len(set(begun)),
                "second_attempts": sum(attempt > 1 for _, attempt in begun), "states": states(study),
            }  # fmt: skip
        study.storage.close()
    return result


def _all_go_on(made: Any, workers: int) -> bool:
    """Whether each worker ends two more trials."""
    before = _ended(made)
    return until(lambda: sum(n - before.get(w, 0) >= 2 for w, n in _ended(made).items()) >= workers, 150)


def _ended(made: Any) -> dict[str, int]:
    return {path.name: path.read_text().count("\n") for path in made.folder.glob("done-*")}


if __name__ == "__main__":
    command(__doc__ or "", run, {"workers": 8, "restarts": 20, "outage": 60.0})
