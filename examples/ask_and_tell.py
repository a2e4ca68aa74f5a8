"""A loop of your own: one process hands out configurations, another one tells their results.

Both open the same log, and each call is written at once, so they could run on different days.

python examples/ask_and_tell.py [FOLDER]
"""

import sys
import tempfile

import tunesmith as ts

SPACE = ts.Space(
    {"temperature": ts.Float(20, 90), "minutes": ts.Int(1, 60), "stirred": ts.Categorical([True, False])},
    conditions={"minutes": "temperature >= 40"},
)


def hand_out(storage, n):
    """Take ``n`` configurations; returns trial number -> parameters, as it would be written on a work sheet."""
    study = ts.create_study(
        study_name="kitchen", storage=storage, direction="maximize", space=SPACE, sampler="sobol", seed=0,
        load_if_exists=True,
    )  # fmt: skip
    return {trial.number: trial.params for trial in (study.ask(SPACE) for _ in range(n))}


def measure(params):
    """What the laboratory does: the yield in percent."""
    time = params.get("minutes", 60)
    return 100 - abs(params["temperature"] - 70) - abs(time - 20) / 2 + 5 * params["stirred"]


def give_back(storage, results):
    """Tell the results in any order; a missing one is a failure."""
    study = ts.load_study(study_name="kitchen", storage=storage)
    for number, value in reversed(results.items()):
        if value is None:
            study.tell(number, state=ts.TrialState.FAIL)
        else:
            study.tell(number, value)
    return study


def main(folder):
    storage = f"{folder}/kitchen.jsonl"
    for day in range(1, 4):
        sheet = hand_out(storage, 4)
        results = {number: measure(params) for number, params in sheet.items()}
        if day == 2:
            results[min(results)] = None  # a beaker broke
        study = give_back(storage, results)
        best = study.best_trial
        print(f"day {day}: {len(study.trials)} configurations, best {best.value:.1f} % in trial {best.number}")
    print(f"best parameters: {study.best_params}")


if __name__ == "__main__":
    ts.logging.set_verbosity(ts.logging.WARNING)
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(temporary)
