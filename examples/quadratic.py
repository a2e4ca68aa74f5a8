"""A search in the words of Optuna: only the import line differs.

python examples/quadratic.py
"""

import tunesmith as optuna


def objective(trial):
    x = trial.suggest_float("x", -10, 10)
    y = trial.suggest_int("y", -10, 10)
    kind = trial.suggest_categorical("kind", ["bowl", "valley"])
    steepness = {"bowl": 1.0, "valley": 10.0}[kind]
    for step in range(5):
        trial.report((x - 2) ** 2 / (step + 1), step)
        if trial.should_prune():
            raise optuna.TrialPruned()
    return (x - 2) ** 2 + steepness * (y + 1) ** 2


def main():
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), pruner=optuna.pruners.MedianPruner())
    study.enqueue_trial({"x": 0.0, "y": 0, "kind": "bowl"})
    study.optimize(objective, n_trials=100)
    pruned = study.get_trials(states=[optuna.trial.TrialState.PRUNED])
    print(f"{len(study.trials)} trials, {len(pruned)} of them pruned")
    print(f"best value {study.best_value:.3f} with {study.best_params}")


if __name__ == "__main__":
    main()
