"""Where the time of one random-search trial goes: 10 float parameters, by storage. Prints cProfile's top rows."""

import cProfile
import io
import pstats
import sys
import tempfile
from pathlib import Path

import tunesmith


def objective(trial):
    return sum(trial.suggest_float(f"x{i}", -5, 5) for i in range(10))


tunesmith.logging.set_verbosity(tunesmith.logging.WARNING)
with tempfile.TemporaryDirectory() as name:
    for storage in (None, str(Path(name) / "s.jsonl"), f"sqlite:///{name}/s.db"):
        study = tunesmith.create_study(seed=1, storage=storage)
        study.optimize(objective, 50)
        profile = cProfile.Profile()
        profile.enable()
        study.optimize(objective, 5000)
        profile.disable()
        text = io.StringIO()
        pstats.Stats(profile, stream=text).strip_dirs().sort_stats("tottime").print_stats(16)
        kind = "memory" if storage is None else storage.rpartition(".")[2]
        sys.stdout.write(f"== {kind}, 5,000 trials\n" + "\n".join(text.getvalue().splitlines()[2:]) + "\n")
