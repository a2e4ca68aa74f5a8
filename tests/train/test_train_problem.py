"""Problems: values that can be kept and sent, objectives that a study can drive, exact re-training."""

from __future__ import annotations

import importlib
import json
import math
import pickle
import subprocess
import sys
from typing import Any

import pytest

import tunesmith
from tunesmith import train
from tunesmith.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from tunesmith.exceptions import InvalidTypeError, InvalidValueError, MissingDependencyError
from tunesmith.space import Space
from tunesmith.train import Problem, loop, preparation
from tunesmith.trial import FixedTrial, TrialState

GOOD = {"lr": 0.03, "momentum": 0.9}
DIGITS: dict[str, Any] = {"data": "digits", "model": "cnn", "epochs": 2, "n_train": 300, "n_validation": 100}


# -- as a value --------------------------------------------------------------------------------------------------


def test_default_space_is_two_continuous_parameters() -> None:
    space = Problem().space
    assert list(space) == ["lr", "momentum"]
    assert all(isinstance(d, FloatDistribution) for d in space.values())
    assert list(Problem(optimizer="adam").space) == ["lr", "weight_decay"]


def test_ready_spaces() -> None:
    medium = Problem(model="cnn", space="medium").space
    assert list(medium) == ["lr", "momentum", "weight_decay", "batch_size", "dropout"]
    large = Problem(space="large")
    assert large.space.conditions == {"momentum": "optimizer == 'sgd'"}
    assert {"activation", "pooling", "dropout"} <= set(large.space)
    assert large.fixed == {}
    with pytest.raises(InvalidValueError, match="known: small, medium, large"):
        Problem(space="tiny")


def test_fixed_values_leave_a_ready_space() -> None:
    problem = Problem(space="large", optimizer="sgd", fixed={"batch_size": 32, "pooling": "max"})
    assert not {"optimizer", "batch_size", "pooling"} & set(problem.space)
    assert problem.space.conditions == {}
    assert "momentum" in problem.space
    assert problem.fixed == {"batch_size": 32, "pooling": "max", "optimizer": "sgd"}
    assert "momentum" not in Problem(space="large", optimizer="adam").space


def test_json_round_trip() -> None:
    for problem in (
        Problem(),
        Problem(space="large", model="cnn", data="digits", epochs=3, n_train=100, split_seed=None, threads=None),
        Problem(space=None, fixed={"lr": 0.1, "dropout": 0.5}, optimizer="adam"),
        Problem(space={"lr": {"type": "float", "low": 0.1, "high": 0.2}}, repeat=4, seed=3),
        Problem(space={"model": CategoricalDistribution(["cnn", "lenet5"]), "seed": IntDistribution(0, 5)}),
    ):
        again = Problem.from_dict(json.loads(json.dumps(problem.to_dict())))
        assert again == problem
        assert hash(again) == hash(problem)
        assert again.to_dict() == problem.to_dict()
        assert pickle.loads(pickle.dumps(problem)) == problem
        assert problem.id in {problem.id: 1}


def test_equality_sees_every_field() -> None:
    base = Problem()
    changed = [
        Problem(data="digits"), Problem(model="cnn"), Problem(space="medium"), Problem(epochs=11),
        Problem(batch_size=32), Problem(n_train=100), Problem(n_validation=100), Problem(n_test=100),
        Problem(split_seed=1), Problem(seed=1), Problem(repeat=1), Problem(device="cpu"), Problem(threads=2),
    ]  # fmt: skip
    assert len({base, *changed}) == 1 + len(changed)
    assert Problem(data="fashion_mnist_small") == base
    assert base != "fashion-mnist-small"


def test_problems_cannot_be_changed() -> None:
    problem = Problem()
    with pytest.raises(AttributeError):
        problem.epochs = 3  # type: ignore[misc]
    with pytest.raises(TypeError):
        problem.fixed["lr"] = 1  # type: ignore[index]


def test_repr_shows_what_makes_it() -> None:
    problem = Problem(space="large", epochs=3)
    assert eval(repr(problem)) == problem


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"data": "fashion"}, InvalidValueError, "known: cifar10, digits, fashion-mnist"),
        ({"model": "resnet"}, InvalidValueError, "known: cnn, lenet5"),
        ({"model": None}, InvalidTypeError, "by its name"),
        ({"space": {"learning_rate": FloatDistribution(0, 1)}}, InvalidValueError, "known: lr, momentum, .*seed"),
        ({"space": {"filters_1": IntDistribution(1, 3)}}, InvalidValueError, r"lenet5 cannot use: \['filters_1'\]"),
        ({"space": {"lr": FloatDistribution(0, 1)}}, InvalidValueError, "space allows .* lr must be positive"),
        ({"space": {"batch_size": FloatDistribution(1, 9)}}, InvalidTypeError, "batch_size must be an integer"),
        ({"space": {"optimizer": CategoricalDistribution(["sgd", "x"])}}, InvalidValueError, "known: sgd, adam"),
        ({"space": {"data": FloatDistribution(0, 1)}}, InvalidTypeError, "choice of names"),
        ({"space": {"data": CategoricalDistribution(["x"])}}, InvalidValueError, "Unknown data set 'x'"),
        ({"space": {"model": CategoricalDistribution(["x"])}}, InvalidValueError, "Unknown model 'x'"),
        ({"space": {"seed": FloatDistribution(0, 1)}}, InvalidValueError, "non-negative integers"),
        ({"space": {"seed": IntDistribution(-1, 1)}}, InvalidValueError, "non-negative integers"),
        ({"space": 3}, InvalidTypeError, "3"),
        ({"space": {"lr": FloatDistribution(0.1, 1)}, "fixed": {"lr": 0.1}}, InvalidValueError, "both fixed"),
        ({"fixed": {"width": 3}}, InvalidValueError, r"\['width'\]; known: lr"),
        ({"fixed": {"weight_decay": -1}}, InvalidValueError, "not negative"),
        ({"fixed": {"dropout": [0.1]}}, InvalidTypeError, "plain value"),
        ({"fixed": [("lr", 0.1)]}, InvalidTypeError, "mapping"),
        ({"fixed": {"batch_size": 8}, "batch_size": 8}, InvalidValueError, "given twice"),
        ({"optimizer": "adam", "fixed": {"momentum": 0.9}}, InvalidValueError, "no momentum"),
        ({"optimizer": "adam", "space": {"momentum": FloatDistribution(0, 0.9)}}, InvalidValueError, "no momentum"),
        ({"epochs": 0}, InvalidValueError, "epochs must be at least 1"),
        ({"epochs": 2.5}, InvalidTypeError, "epochs must be an integer"),
        ({"epochs": True}, InvalidTypeError, "epochs must be an integer"),
        ({"n_train": 0}, InvalidValueError, "n_train"),
        ({"seed": -1}, InvalidValueError, "seed"),
        ({"split_seed": "a"}, InvalidTypeError, "or None"),
        ({"threads": 0}, InvalidValueError, "threads"),
        ({"device": "gpu"}, InvalidValueError, "there are: auto, cpu"),
    ],
)
def test_impossible_problems(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Problem(**arguments)


def test_from_dict_refuses_unknown_keys() -> None:
    with pytest.raises(InvalidValueError, match=r"\['epoch'\] of a problem; known: data, model, space, epochs"):
        Problem.from_dict({"epoch": 3})
    with pytest.raises(InvalidTypeError, match="mapping"):
        Problem.from_dict([])  # type: ignore[arg-type]
    assert Problem.from_dict({"model": "cnn", "batch_size": 16}).fixed["batch_size"] == 16


def test_conditions_that_mix_fixed_and_searched() -> None:
    from tunesmith.train.resolve import without

    space = Space({"a": IntDistribution(0, 1), "b": IntDistribution(0, 1), "c": IntDistribution(0, 1)}, {"c": "a > b"})
    with pytest.raises(InvalidValueError, match=r"'a > b' of 'c'.*without \['a'\]"):
        without(space, {"a": 1})
    assert list(without(space, {"c": 1})) == ["a", "b"]
    assert list(without(space, {"a": 0, "b": 0})) == []


# -- seeds -------------------------------------------------------------------------------------------------------


def test_training_seeds_are_a_function_of_seed_repeat_and_number() -> None:
    problem = Problem()
    seeds = {Problem(seed=s).for_repeat(r).training_seed(n) for s in range(3) for r in range(3) for n in range(10)}
    assert len(seeds) == 90
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert problem.training_seed(3) == Problem(space="medium", epochs=1).training_seed(3)  # methods and spaces share it
    assert problem.training_seed(3) == problem.training_seed(3, GOOD)
    assert problem.for_repeat(0) == problem
    assert problem.for_repeat(2).for_repeat(1) == problem.for_repeat(1)
    assert (
        problem.training_seed(0) == 8_407_437_806_151_696_170
    )  # written down, because published comparisons rely on it


def test_repeats_have_their_own_split() -> None:
    problem = Problem(data="digits")
    splits = {problem.for_repeat(r).split_seed_of_repeat for r in range(5)}
    assert len(splits) == 5
    assert Problem(split_seed=None).for_repeat(3).split_seed_of_repeat is None


# -- as an objective ---------------------------------------------------------------------------------------------


def test_generator_protocol() -> None:
    problem = Problem(**DIGITS)
    assert problem.directions == ["minimize"]
    assert problem.metric_names == ["val_loss"]
    trial = FixedTrial(GOOD, number=2)
    epochs = list(problem(trial))
    assert len(epochs) == 2
    assert all(tuple(metrics) == problem.metrics for metrics in epochs)
    assert all(isinstance(value, float) for metrics in epochs for value in metrics.values())
    assert next(iter(problem.metrics)) == "val_loss"
    assert trial.distributions == dict(problem.space)
    assert epochs == list(problem.train(GOOD, problem.training_seed(2)))
    assert epochs != list(problem(FixedTrial(GOOD, number=3)))


def test_learning_happens_on_the_shipped_subset() -> None:
    metrics = list(Problem(epochs=3).train(GOOD, 0))
    assert metrics[-1]["val_accuracy"] > 0.7  # chance is 0.1
    assert metrics[-1]["val_loss"] < metrics[0]["val_loss"]


def test_evaluate_test_repeats_the_training_exactly() -> None:
    problem = Problem(**{**DIGITS, "space": "medium"}).for_repeat(1)
    params = {"lr": 0.02, "momentum": 0.8, "weight_decay": 1e-5, "batch_size": 32, "dropout": 0.2}
    last = list(problem(FixedTrial(params, number=4)))[-1]
    result = problem.evaluate_test(params, problem.training_seed(4, params))
    assert {name: result[name] for name in problem.metrics} == last
    assert list(result)[:2] == ["test_loss", "test_accuracy"]
    assert 0.5 < result["test_accuracy"] <= 1
    first = problem.evaluate_test(params, problem.training_seed(4, params), epochs=1)
    assert first["val_loss"] != last["val_loss"]


def test_the_test_part_is_touched_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    original = preparation.Prepared.test

    def test(self: preparation.Prepared) -> loop.Part:
        asked.append(1)
        return original(self)

    monkeypatch.setattr(preparation.Prepared, "test", test)
    problem = Problem(**DIGITS)
    list(problem.train(GOOD, 0))
    assert asked == []
    problem.evaluate_test(GOOD, 0)
    assert asked == [1]


def test_test_images_do_not_change_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Problem(**DIGITS)
    before = list(problem.train(GOOD, 0))
    digits = train.load_dataset("digits")
    other = train.Dataset("digits", digits.images, digits.labels, digits.test_images * 0, digits.test_labels, 10)
    monkeypatch.setattr(preparation, "load_dataset", lambda _: other)
    preparation._cache.clear()
    try:
        assert list(problem.train(GOOD, 0)) == before
        assert problem.evaluate_test(GOOD, 0)["test_accuracy"] < 0.2
    finally:
        preparation._cache.clear()


def test_conditional_parameters() -> None:
    problem = Problem(**{**DIGITS, "space": "large", "epochs": 1})
    rest = {"lr": 0.01, "weight_decay": 1e-5, "batch_size": 32, "filters_1": 4, "filters_2": 8, "dropout": 0.0}
    adam = FixedTrial({**rest, "optimizer": "adam"})
    list(problem(adam))
    assert "momentum" not in adam.params
    sgd = FixedTrial({**rest, "optimizer": "sgd", "momentum": 0.5})
    list(problem(sgd))
    assert sgd.params["momentum"] == 0.5
    with pytest.raises(InvalidValueError, match=r"\['momentum'\] are no active parameters"):
        problem.configuration({**rest, "optimizer": "adam", "momentum": 0.5})
    with pytest.raises(InvalidValueError, match="'momentum' is missing"):
        problem.configuration({**rest, "optimizer": "sgd"})


def test_a_condition_may_come_before_what_it_reads() -> None:
    space = Space(
        {"momentum": FloatDistribution(0, 0.9), "optimizer": CategoricalDistribution(["sgd", "adam"])},
        {"momentum": "optimizer == 'sgd'"},
    )
    problem = Problem(**{**DIGITS, "space": space})
    assert problem.suggest(FixedTrial({"optimizer": "adam"})) == {"optimizer": "adam"}
    assert list(problem.suggest(FixedTrial({"optimizer": "sgd", "momentum": 0.5}))) == ["momentum", "optimizer"]


def test_axes() -> None:
    space = {
        "data": CategoricalDistribution(["digits", "fashion-mnist-small"]),
        "model": CategoricalDistribution(["cnn", "lenet5"]),
        "seed": IntDistribution(0, 9),
        "lr": FloatDistribution(0.001, 0.1),
        "filters_1": IntDistribution(2, 20),  # lenet5 has no such thing and is built without it
    }
    problem = Problem(**{**DIGITS, "epochs": 1, "n_train": 100, "n_validation": 50, "space": space})
    shapes = {}
    for data, shape in (("digits", (1, 8, 8)), ("fashion-mnist-small", (1, 28, 28))):
        for model in ("cnn", "lenet5"):
            params = {"data": data, "model": model, "seed": 1, "lr": 0.01, "filters_1": 5}
            shapes[data, model] = sum(p.numel() for p in problem.network(params).parameters())
            assert train.load_dataset(data).shape == shape
    assert shapes["digits", "lenet5"] == 61_706
    assert len(set(shapes.values())) == 3  # lenet5 pads both to 32x32
    params = {"data": "digits", "model": "cnn", "seed": 1, "lr": 0.01, "filters_1": 5}
    first, second = (list(problem(FixedTrial(params, number=n))) for n in (0, 1))
    assert first == second  # the seed is a parameter, so the trial's number is not asked
    assert first != list(problem(FixedTrial({**params, "seed": 2})))
    assert problem.training_seed(0, params) == problem.training_seed(9, params)
    assert "one of digits, fashion-mnist-small" in problem.describe()


def test_divergence_fails_the_trial_with_its_reason() -> None:
    problem = Problem(**{**DIGITS, "space": {"lr": FloatDistribution(1e29, 1e30)}})
    study = tunesmith.create_study(directions=problem.directions)
    study.optimize(problem, n_trials=2)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL] * 2
    assert "Training diverged in epoch 1" in study.trials[0].user_attrs["fail_reason"]
    trial = FixedTrial({"lr": 1e29})
    generator = problem(trial)
    with pytest.raises(StopIteration) as end:
        next(generator)
    assert math.isnan(end.value.value)
    with pytest.raises(train.TrainingDivergedError, match="epoch 1") as caught:
        problem.evaluate_test({"lr": 1e29}, 0)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.epoch) == (str(caught.value), 1)


def test_a_study_in_threads_gives_the_values_of_single_trainings() -> None:
    problem = Problem(**DIGITS)
    study = tunesmith.create_study(directions=problem.directions, seed=1)
    study.optimize(problem, n_trials=6, n_jobs=2)
    for trial in study.trials:
        last = list(problem.train(trial.params, problem.training_seed(trial.number, trial.params)))[-1]
        assert trial.value == last["val_loss"]
        assert trial.intermediate_values[2] == last["val_loss"]


def test_wrong_parameters() -> None:
    problem = Problem(**DIGITS)
    with pytest.raises(InvalidValueError, match="'momentum' is missing"):
        problem.train({"lr": 0.1}, 0)
    with pytest.raises(InvalidValueError, match=r"\['width'\] are no active parameters"):
        problem.evaluate_test({**GOOD, "width": 3}, 0)
    with pytest.raises(InvalidTypeError, match="mapping"):
        problem.train([0.1, 0.9], 0)  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="training_seed"):
        problem.train(GOOD, -1)
    with pytest.raises(InvalidValueError, match="epochs"):
        problem.train(GOOD, 0, epochs=0)
    with pytest.raises(InvalidValueError, match=r"n_train=5000 is not in 1\.\.1200"):
        Problem(data="digits", n_train=5000).train(GOOD, 0)


def test_describe() -> None:
    text = Problem(**DIGITS).describe()
    for part in ("'digits': 300 training, 100 validation, 297 test", "cnn, 10,290 parameters", "lr: Float", "2 epochs"):
        assert part in text
    assert "momentum only if optimizer == 'sgd'" in Problem(space="large").describe()
    assert "fixed   nothing" in Problem(space="large").describe()


def test_metrics_are_the_loops() -> None:
    assert Problem(**DIGITS).metrics == loop.METRICS


# -- the room ----------------------------------------------------------------------------------------------------


def test_everything_exported_exists() -> None:
    for name in train.__all__:
        assert getattr(train, name) is not None
    assert set(train.__all__) <= set(dir(train))
    with pytest.raises(AttributeError, match="no attribute 'Probem'"):
        _ = train.Probem


def test_importing_the_room_does_not_import_torch() -> None:
    code = (
        "import sys, tunesmith.train as t\n"
        "t.datasets(), t.load_dataset('fashion-mnist-small')\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_without_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import tunesmith.train as t\n"
        "from tunesmith.exceptions import MissingDependencyError\n"
        "assert t.split(t.load_dataset('fashion-mnist-small'), 0)\n"
        "for name in ('Problem', 'models', 'build_model'):\n"
        "    try: getattr(t, name)\n"
        "    except MissingDependencyError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("pip install 'tunesmith[train]'") == 3


def test_other_missing_modules_are_not_called_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        raise ModuleNotFoundError("No module named 'x'", name="x")

    monkeypatch.delitem(vars(train), "Problem", raising=False)
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ModuleNotFoundError) as caught:
        _ = train.Problem
    assert not isinstance(caught.value, MissingDependencyError)
