"""The same searches in another process, whose strings have other hash values. For the conformance kit of samplers."""

from __future__ import annotations

import base64
import json
import os
import pickle
import subprocess
import sys
from typing import Any

from tunesmith import logging
from tunesmith.distributions import Categorical, Float
from tunesmith.samplers import BaseSampler
from tunesmith.space import Space
from tunesmith.testing._process import command
from tunesmith.testing._searches import SPACES, branching, facts, load, new_study, on, run, stored

#: So many names that two hash seeds do not give their set the same order by chance.
MANY = Space({name: Float(0, 1) for name in "abcdefg"} | {"choice": Categorical(["relu", "tanh", "gelu", None])})
_RESUMED = SPACES["conditional"]


def here(sampler: BaseSampler, trials: int) -> tuple[dict[str, list[str]], list[Any]]:
    """What becomes of the searches in this process, and a log in which half of the last one stands."""
    found = _searches(sampler, trials)
    whole = run(new_study(sampler, _RESUMED), on(_RESUMED), trials)
    found["resumed"] = [repr(fact) for fact in facts(whole)]
    records = whole.storage.read(whole._log.study)
    return found, records[: len(records) // 2]


def elsewhere(sampler: BaseSampler, trials: int, records: list[Any], patience: int = 300) -> dict[str, list[str]]:
    """The same in another process, which resumes the log."""
    line = command("tunesmith.testing._elsewhere:work", type(sampler), patience)
    other = "1" if os.environ.get("PYTHONHASHSEED") == "0" else "0"
    text = json.dumps([base64.b64encode(pickle.dumps(sampler)).decode(), trials, records])
    done = subprocess.run(
        line, input=text, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONHASHSEED": other}
    )
    assert done.returncode == 0, f"a search in another process failed with status {done.returncode}"
    return json.loads(done.stdout.splitlines()[-1])


def work(sampler_class: type[BaseSampler]) -> None:
    """What runs there; the class was imported, so that the pickled sampler finds it."""
    logging.set_verbosity(logging.WARNING)
    pickled, trials, records = json.load(sys.stdin)
    sampler = pickle.loads(base64.b64decode(pickled))
    found = _searches(sampler, trials)
    found["resumed"] = [repr(fact) for fact in facts(run(load(stored(records), sampler), on(_RESUMED), trials))]
    print(json.dumps(found))


def _searches(sampler: BaseSampler, trials: int) -> dict[str, list[str]]:
    studies = {
        "declared": run(new_study(sampler, MANY), on(MANY), trials),
        "branches": run(new_study(sampler), branching, trials),
    }
    return {name: [repr(fact) for fact in facts(study)] for name, study in studies.items()}
