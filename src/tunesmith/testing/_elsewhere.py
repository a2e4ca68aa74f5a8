"""The same searches in another process, whose strings have other hash values. For the conformance kit of samplers."""

from __future__ import annotations

import atexit
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
from tunesmith.testing._process import found, give_up_after, place, python
from tunesmith.testing._searches import SPACES, branching, drop_caches, facts, load, new_study, on, run, stored

#: So many names that two hash seeds do not give their set the same order by chance.
MANY = Space({name: Float(0, 1) for name in "abcdefg"} | {"choice": Categorical(["relu", "tanh", "gelu", None])})
_RESUMED = SPACES["conditional"]


def here(sampler: BaseSampler, trials: int) -> tuple[dict[str, list[str]], list[Any]]:
    """What becomes of the searches in this process, and a log in which half of the last one stands."""
    results = _searches(sampler, trials)
    whole = run(new_study(sampler, _RESUMED), on(_RESUMED), trials)
    results["resumed"] = [repr(fact) for fact in facts(whole)]
    records = whole.storage.read(whole._log.study)
    return results, records[: len(records) // 2]


def elsewhere(sampler: BaseSampler, trials: int, records: list[Any], patience: int = 300) -> dict[str, list[str]]:
    """The same in another process, which resumes the log."""
    pickled = base64.b64encode(pickle.dumps(sampler)).decode()
    return _OTHER.ask([sys.path, place(type(sampler)), pickled, trials, records, patience])


class _Other:
    """A process of :func:`serve` that answers all questions of this one; it costs a second to start."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def ask(self, question: list[Any]) -> Any:
        if self._process is None or self._process.poll() is not None:
            self._process = self._started()
        print(json.dumps(question), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline() if self._process.stdout else ""
        assert answer, f"a search in another process failed with status {self._process.wait()}"
        return json.loads(answer)

    def _started(self) -> subprocess.Popen[str]:
        seed = "1" if os.environ.get("PYTHONHASHSEED") == "0" else "0"
        process = subprocess.Popen(
            python("from tunesmith.testing._elsewhere import serve; serve()"), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONHASHSEED": seed},
        )  # fmt: skip
        atexit.register(_end, process, os.getpid())
        return process


def _end(process: subprocess.Popen[str], owner: int) -> None:
    """Closes its standard input, which ends it; forked children of the owner leave it alone."""
    if os.getpid() == owner:
        process.communicate()


_OTHER = _Other()


def serve() -> None:
    """What runs there: a question is a line of standard input, its answer a line of standard output. Each search finds
    the caches empty; a search that fails ends the process."""
    logging.set_verbosity(logging.WARNING)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a sampler prints is no answer
    for line in sys.stdin:
        sys.path[:], subject, pickled, trials, records, patience = json.loads(line)
        watch = give_up_after(patience)
        found(*subject)  # imports its module, so that the pickled sampler finds its class
        sampler = pickle.loads(base64.b64decode(pickled))
        drop_caches(sampler)
        results = _searches(sampler, trials)
        resumed = run(load(stored(records), sampler), on(_RESUMED), trials)
        results["resumed"] = [repr(fact) for fact in facts(resumed)]
        watch.cancel()
        print(json.dumps(results), file=answers, flush=True)


def _searches(sampler: BaseSampler, trials: int) -> dict[str, list[str]]:
    studies = {
        "declared": run(new_study(sampler, MANY), on(MANY), trials),
        "branches": run(new_study(sampler), branching, trials),
    }
    return {name: [repr(fact) for fact in facts(study)] for name, study in studies.items()}
