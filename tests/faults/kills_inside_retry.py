"""Workers die while they give back or attempt again what dead workers have left: one successor for each loss.

Figure 3 of "Nothing lost": 200 kills inside expiry and retry.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from crew import command, crew, new_study, states, until


def run(url: str, kills: int = 12, workers: int = 3, lease: float = 1.5) -> dict[str, Any]:
    """Replace whoever dies, until so many have died in the critical moments; then let a healthy crew finish.

    An attempt is lost with its worker. The log must have exactly one release for each loss, and one claim for each
    release; a trial that was claimed twice at a time would have two executions of one attempt.
    """
    study = new_study(url)
    begin, seed = time.monotonic(), 0
    with crew(url, "fragile", 0.05, lease) as made:
        while len(made.lines("killed")) < kills:
            made.buried()
            while len(made.processes) < workers:
                seed += 1
                made.start(1, seed)
            time.sleep(0.05)
        when = Counter(word for (word,) in made.lines("killed"))
        made.end()
        executions = Counter((int(n), int(a)) for n, a in made.lines("begun"))
    with crew(url, "optimize", 0.01, lease, 1000) as healthy:
        healthy.start(2)
        before = study.get_trials(deepcopy=False)
        open_then = [t.number for t in before if not t.state.is_finished()]
        until(lambda: all(study.trials[n].state.is_finished() for n in open_then), 60)
        executions += Counter((int(n), int(a)) for n, a in healthy.lines("begun"))
    unfinished = sum(not study.trials[n].state.is_finished() for n in open_then)
    claims, releases = _valid(study)
    return {
        "kills_inside_expiry_or_retry": when["before"] + when["after"], "kills_inside_trials": when["inside"],
        "seconds": round(time.monotonic() - begin, 1), "trials": len(before), "losses": sum(releases.values()),
        "losses_without_one_successor": sum(claims[n] - 1 != releases[n] for n in claims if n in releases) - unfinished,
        "attempts_executed_twice": sum(n > 1 for n in executions.values()), "never_finished": unfinished,
        "states": states(study),
    }  # fmt: skip


def _valid(study: Any) -> tuple[Counter[int], Counter[int]]:
    """Number -> valid claims, and valid releases, as a plain reading of the log tells."""
    claims: Counter[int] = Counter()
    releases: Counter[int] = Counter()
    holder: dict[int, str | None] = {}
    for record in study.storage.read(study._log.study):
        for event in record:
            number = event.get("n")
            if event["e"] == "ask" and holder.get(number) is None and event.get("a", 0) in (0, claims[number] + 1):
                if event.get("a", 0) == 0 and number in holder:
                    continue
                holder[number] = event["k"]
                claims[number] += 1
            elif event["e"] == "release" and holder.get(number) == event["k"]:
                holder[number] = None
                releases[number] += 1
    return claims, releases


if __name__ == "__main__":
    command(__doc__ or "", run, {"kills": 300, "workers": 8, "lease": 2.0})
