"""A search that is interrupted ends as if nothing had happened, bit by bit, whatever the method.

Figure 8 of "Nothing lost": every sampler; 50 trials straight, 25 + restart + 25, and 20 random kill points.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crew import command, crew, new_study
from worker import exact_objective

import tunesmith
from tunesmith.distributions import Categorical, Float, Int
from tunesmith.exceptions import TunesmithError
from tunesmith.samplers import available

SPACE = tunesmith.Space(
    {
        "lr": Float(1e-4, 1e-1, log=True),
        "width": Int(1, 64, log=True),
        "optimizer": Categorical(["sgd", "adam"]),
        "momentum": Float(0, 1),
    },
    {"momentum": "optimizer == 'sgd'"},
)


def methods() -> list[str]:
    """All samplers that need no arguments, and search a continuum."""
    found = []
    for name, kind in available().items():
        if getattr(kind, "countable_only", False):
            continue
        try:
            kind()
        except (TypeError, TunesmithError):
            continue
        found.append(name)
    return found


def run(
    url: str, names: Sequence[str] = ("TPESampler", "PSOSampler"), trials: int = 12, kills: int = 3
) -> dict[str, Any]:
    """Compare the three ways for each method."""
    del url  # every study has a store of its own
    result: dict[str, Any] = {"trials": trials, "kills": kills, "methods": {}}
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            result["methods"][name] = _one(name, Path(folder), trials, kills)
    found = result["methods"].values()
    result["all_equal"] = all(each["restart_equal"] and each["kills_equal"] for each in found)
    return result


def _one(name: str, folder: Path, trials: int, kills: int) -> dict[str, Any]:
    straight = _study(f"sqlite:///{folder}/straight.db", name)
    straight.optimize(exact_objective, n_trials=trials)
    expected = _facts(straight)

    restarted = f"sqlite:///{folder}/restarted.db"
    study = _study(restarted, name)
    for total in (trials // 2, trials):
        with crew(restarted, "exact", total) as made:
            made.start()
            made.wait(300)
    restart_equal = _facts(study) == expected

    killed, chance, deaths = f"sqlite:///{folder}/killed.db", random.Random(name), 0
    study = _study(killed, name)
    for _ in range(kills):  # one after the other, spread over the whole search
        share = max(1, 2 * trials // kills)
        with crew(killed, "exact", trials, chance.choice(["before", "after"]), chance.randint(1, share)) as made:
            made.start()
            made.processes[0].wait(300)
            deaths += made.processes[0].returncode != 0
    with crew(killed, "exact", trials) as made:
        made.start()
        made.wait(300)
    return {
        "restart_equal": restart_equal,
        "deaths": deaths,
        "kills_equal": _facts(study) == expected,
        "trials": len(expected),
    }


def _study(url: str, name: str) -> Any:
    return new_study(url, sampler=available()[name](), pruner="nop", seed=7, space=SPACE, budget=50)


def _facts(study: Any) -> list[Any]:
    """Everything but times and attempts, trial by trial."""
    return [
        (t.number, t.state.name, t.params, t.values, t.intermediate_values, t.system_attrs.get("tags"))
        for t in study.trials
    ]


if __name__ == "__main__":
    command(__doc__ or "", run, {"names": methods(), "trials": 50, "kills": 20})
