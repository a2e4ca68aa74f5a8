"""Make the files of the import's tests, with the Optuna that is installed: ``python make_optuna_files.py FOLDER``.

One SQLite database and, since Optuna 3.1, one journal with the same studies, both compressed. Run
once in an environment each:

    pip install "optuna<3" "sqlalchemy<2" "numpy<2" setuptools cmaes
    pip install "optuna<4" cmaes
    pip install "optuna<5" cmaes
    pip install "optuna<6" cmaes
"""

import gzip
import math
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ["TZ"] = "UTC"  # Optuna wrote local times before version 5
time.tzset()

import optuna  # noqa: E402
from optuna.distributions import CategoricalDistribution  # noqa: E402
from optuna.trial import TrialState, create_trial  # noqa: E402

warnings.simplefilter("ignore")
optuna.logging.set_verbosity(optuna.logging.ERROR)
MAJOR = int(optuna.__version__.split(".")[0])


def objective(trial):
    """Every kind of parameter, and every kind of end."""
    x = trial.suggest_float("x", -5, 5)
    trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    trial.suggest_float("dropout", 0.0, 0.5, step=0.1)
    layers = trial.suggest_int("layers", 1, 3)
    trial.suggest_int("width", 16, 256, step=16)
    trial.suggest_int("batch", 8, 512, log=True)
    trial.suggest_categorical("activation", ["relu", "tanh", None, True, 1.5, 7])
    for layer in range(layers):
        trial.suggest_float(f"rate_{layer}", 0, 1)
    trial.set_user_attr("note", {"tried": [1, 2.5, None], "text": "ä\u2028'\""})
    for step in range(4):
        odd = [x, math.inf, -math.inf, math.nan if MAJOR > 2 else 0.0]  # version 2 cannot report a NaN
        trial.report(odd[step] if trial.number == 1 else x / (step + 1), step)
        if trial.number in (3, 5) and step == trial.number - 3:
            raise optuna.TrialPruned
    if trial.number == 4:
        raise ValueError("no result")
    return [x * x, math.inf, -math.inf][trial.number % 3] if trial.number < 9 else x


def constrained(study):
    """Constraints as each version keeps them."""
    if MAJOR >= 5:
        for number in range(3):
            trial = study.ask()
            trial.suggest_float("x", 0, 1)
            trial.set_constraint("size", number - 1.0)
            trial.set_constraint("time:max", -0.5)
            study.tell(trial, [number, -number])
        return
    sampler = optuna.samplers.NSGAIISampler(constraints_func=lambda trial: (trial.number - 1.0, -0.5), seed=0)
    study.sampler = sampler
    study.optimize(lambda trial: (trial.suggest_float("x", 0, 1), -trial.number), n_trials=3)


def fill(storage):
    """All studies of one storage."""
    plain = optuna.create_study(
        study_name="plain", storage=storage, direction="maximize", sampler=optuna.samplers.RandomSampler(seed=1)
    )
    plain.set_user_attr("data", ["mnist", 60000, math.nan])
    plain.optimize(objective, n_trials=10, catch=(ValueError,))
    plain.enqueue_trial({"x": 1.25, "activation": None})
    plain.enqueue_trial({"x": 99.0, "lr": 0.01})  # outside of its range: Optuna takes it
    plain.optimize(objective, n_trials=2)
    plain.enqueue_trial({"x": -1.0})

    gone = optuna.create_study(study_name="gone", storage=storage)
    gone.optimize(lambda trial: trial.suggest_float("y", 0, 1), n_trials=2)
    optuna.delete_study(study_name="gone", storage=storage)

    order = optuna.create_study(study_name="order", storage=storage, sampler=optuna.samplers.RandomSampler(seed=2))
    trials = [order.ask() for _ in range(6)]
    for trial in trials:
        trial.suggest_int("n", 0, 100)
        trial.report(0.5, 1)
    for number in (3, 0, 1, 5):
        order.tell(trials[number], float(number))
    trials[4].set_user_attr("worker", "dead")

    pareto = optuna.create_study(study_name="pareto", storage=storage, directions=["minimize", "maximize"])
    if hasattr(pareto, "set_metric_names"):
        pareto.set_metric_names(["error", "speed"])
    constrained(pareto)

    cma = optuna.create_study(
        study_name="cma", storage=storage, sampler=optuna.samplers.CmaEsSampler(seed=0, n_startup_trials=1)
    )
    cma.optimize(lambda trial: trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 1), n_trials=9)

    added = optuna.create_study(study_name="added", storage=storage)
    choices = CategoricalDistribution(("a", "b"))
    added.add_trial(create_trial(value=1.0, params={"c": "b"}, distributions={"c": choices}, user_attrs={"k": 1}))
    added.add_trial(create_trial(state=TrialState.FAIL, params={"c": "a"}, distributions={"c": choices}))
    added.add_trial(create_trial(state=TrialState.PRUNED, value=2.0, intermediate_values={0: 3.0, 7: 2.0}))


def main(folder):
    """Write the files of this version."""
    with tempfile.TemporaryDirectory() as temporary:
        database = Path(temporary) / "optuna.db"
        fill(f"sqlite:///{database}")
        (Path(folder) / f"optuna{MAJOR}.db.gz").write_bytes(gzip.compress(database.read_bytes(), mtime=0))
        if MAJOR < 3:
            return
        journal = Path(temporary) / "journal.log"
        if MAJOR == 3:
            backend = optuna.storages.JournalFileStorage(str(journal))
        else:
            backend = optuna.storages.journal.JournalFileBackend(str(journal))
        fill(optuna.storages.JournalStorage(backend))
        (Path(folder) / f"optuna{MAJOR}.log.gz").write_bytes(gzip.compress(journal.read_bytes(), mtime=0))


if __name__ == "__main__":
    main(sys.argv[1])
