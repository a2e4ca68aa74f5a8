"""A search whose process is killed (SIGKILL) in the midst of trials ends as if nothing had happened."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tunesmith.samplers import get_sampler
from tunesmith.study import create_study, load_study
from tunesmith.testing._searches import branching, facts, run

CODE = """
import os, signal, sys
from tunesmith.study import create_study
from tunesmith.testing._searches import branching
import tunesmith
tunesmith.logging.set_verbosity(tunesmith.logging.ERROR)

def objective(trial):
    value = branching(trial)
    if trial.number == int(sys.argv[2]) and trial.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return value

study = create_study(study_name="s", storage=sys.argv[1], sampler="pso", seed=5, load_if_exists=True)
study.optimize(objective, n_trials=40)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")
def test_killed_process(tmp_path: Path) -> None:
    expected = facts(run(create_study(sampler=get_sampler("pso"), seed=5), branching, 20))
    path = str(tmp_path / "study.jsonl")
    for number in (0, 9, 17):
        process = subprocess.run([sys.executable, "-c", CODE, path, str(number)], check=False)
        assert process.returncode == -signal.SIGKILL
    study = load_study(study_name="s", storage=path)
    assert [t.state.name for t in study.trials].count("RUNNING") == 1
    assert facts(run(study, branching, 20)) == expected
