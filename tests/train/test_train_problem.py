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
from torch import nn

import tunesmith
import tunesmith as ts
from tunesmith import train
from tunesmith.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from tunesmith.exceptions import InvalidTypeError, InvalidValueError, MissingDependencyError
from tunesmith.space import Space
from tunesmith.train import Problem, job, preparation
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
    assert set(medium) > {"lr", "momentum", "weight_decay", "batch_size", "schedule", "dropout"}
    everything = Problem(space="all")
    assert everything.space.conditions["momentum"] == "optimizer in ('sgd', 'rmsprop')"
    assert {"loss", "normalize", "mixup", "patience", "activation", "pooling", "dropout"} <= set(everything.space)
    assert everything.fixed == {}
    with pytest.raises(InvalidValueError, match="known: small, medium, all"):
        Problem(space="large")


def test_fixed_values_leave_a_ready_space() -> None:
    fixed = {"batch_size": 32, "pooling": "max", "schedule": "constant", "loss": "hinge"}
    problem = Problem(space="all", optimizer="sgd", fixed=fixed)
    assert not {*fixed, "optimizer", "gamma", "focal_gamma", "beta_1"} & set(problem.space)
    assert "momentum" in problem.space
    assert "momentum" not in problem.space.conditions
    assert problem.fixed == {**fixed, "optimizer": "sgd"}
    assert "momentum" not in Problem(space="all", optimizer="adam").space


def test_what_is_not_used_is_not_written_down() -> None:
    """Hyperparameters of other optimizers are no part of a problem, so that they may change without changing it."""
    assert "momentum" not in Problem(space=None, optimizer="adam").fixed
    sgd = Problem(space=None).fixed
    assert not {"beta_1", "rho", "gamma", "focal_gamma"} & set(sgd)
    assert {"momentum", "label_smoothing", "normalize"} <= set(sgd)


def test_json_round_trip() -> None:
    for problem in (
        Problem(),
        Problem(space="all", model="cnn", data="digits", epochs=3, n_train=100, split_seed=None, threads=None),
        Problem(objective="accuracy", metrics=["f1", "val_top_3"], folds=3, fold_repeats=2, executions_per_trial=2),
        Problem(validation="official", precision="bfloat16", device="cpu"),
        Problem(validation=0.1, space={"epochs": IntDistribution(1, 9)}),
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
        Problem(objective="f1"), Problem(metrics=["f1"]), Problem(validation=100), Problem(folds=5), Problem(folds=4),
        Problem(folds=5, fold_repeats=2), Problem(executions_per_trial=3), Problem(precision="bfloat16"),
        Problem(validation="official"), Problem(fixed={"patience": 3}),
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
    problem = Problem(space="all", epochs=3, metrics=["f1"])
    assert eval(repr(problem)) == problem


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"data": "fashion"}, InvalidValueError, "known: cifar10, digits, fashion-mnist"),
        ({"model": "resnet"}, InvalidValueError, "known: cnn, lenet5"),
        ({"model": 3}, InvalidTypeError, "by its name .*got 3"),
        ({"space": {"learning_rate": FloatDistribution(0, 1)}}, InvalidValueError, "known: optimizer, lr, .*seed"),
        ({"space": {"filters_1": IntDistribution(1, 3)}}, InvalidValueError, r"lenet5 cannot use: \['filters_1'\]"),
        ({"space": {"lr": FloatDistribution(0, 1)}}, InvalidValueError, "space allows .* lr must be positive"),
        ({"space": {"batch_size": FloatDistribution(1, 9)}}, InvalidTypeError, "batch_size must be an integer"),
        (
            {"space": {"optimizer": CategoricalDistribution(["sgd", "x"])}},
            InvalidValueError,
            "known: sgd, rmsprop, adam",
        ),
        ({"space": {"data": FloatDistribution(0, 1)}}, InvalidTypeError, "choice of names"),
        ({"space": {"data": CategoricalDistribution(["x"])}}, InvalidValueError, "Unknown data set 'x'"),
        ({"space": {"model": CategoricalDistribution(["x"])}}, InvalidValueError, "Unknown model 'x'"),
        ({"space": {"seed": FloatDistribution(0, 1)}}, InvalidValueError, "non-negative integers"),
        ({"space": {"seed": IntDistribution(-1, 1)}}, InvalidValueError, "non-negative integers"),
        ({"space": 3}, InvalidTypeError, "3"),
        ({"space": {"lr": FloatDistribution(0.1, 1)}, "fixed": {"lr": 0.1}}, InvalidValueError, "both fixed"),
        ({"fixed": {"width": 3}}, InvalidValueError, r"\['width'\]; known: optimizer, lr"),
        ({"fixed": {"weight_decay": -1}}, InvalidValueError, "not negative"),
        ({"fixed": {"dropout": [0.1]}}, InvalidTypeError, "plain value"),
        ({"fixed": [("lr", 0.1)]}, InvalidTypeError, "mapping"),
        ({"fixed": {"batch_size": 8}, "batch_size": 8}, InvalidValueError, "given twice"),
        ({"optimizer": "adam", "fixed": {"momentum": 0.9}}, InvalidValueError, "no 'momentum' to set"),
        ({"optimizer": "adam", "space": {"momentum": FloatDistribution(0, 0.9)}}, InvalidValueError, "no 'momentum'"),
        ({"fixed": {"gamma": 0.9}}, InvalidValueError, "schedule 'constant' has no 'gamma'"),
        ({"space": {"epochs": IntDistribution(0, 3)}}, InvalidValueError, "'epochs' in a space must be positive"),
        ({"objective": "val_acuracy"}, InvalidValueError, "'acuracy'; known: loss, accuracy.*mean 'accuracy'"),
        ({"objective": "train_loss"}, InvalidValueError, "Unknown metric 'train_loss'"),
        ({"objective": None}, InvalidTypeError, "None"),
        ({"metrics": "f1"}, InvalidTypeError, "list of names"),
        ({"metrics": ["f1", "f2"]}, InvalidValueError, "'f2'; known"),
        ({"validation": "offical"}, InvalidValueError, "or 'official', not 'offical'"),
        ({"validation": 0}, InvalidValueError, "at least 1"),
        ({"validation": 1.5}, InvalidValueError, r"share must be in \(0, 1\)"),
        ({"validation": True}, InvalidValueError, "True"),
        ({"validation": 100, "split_seed": None}, InvalidValueError, "give a split_seed"),
        ({"validation": "official", "n_test": 5}, InvalidValueError, "no test part is left"),
        ({"folds": 1}, InvalidValueError, "folds must be at least 2"),
        ({"folds": 5, "validation": 100}, InvalidValueError, "leave validation=100 out"),
        ({"folds": 5, "split_seed": None}, InvalidValueError, "leave split_seed=None out"),
        ({"fold_repeats": 2}, InvalidValueError, "fold_repeats=2 needs folds"),
        ({"executions_per_trial": 0}, InvalidValueError, "executions_per_trial must be at least 1"),
        ({"precision": "float8"}, InvalidValueError, "known: float32, bfloat16, float16"),
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

    ranges = {name: IntDistribution(0, 1) for name in "abcd"}
    space = Space(ranges, {"c": "a > b", "d": "c == 1"})
    assert without(space, {"a": 1}).conditions == {"c": "1 > b", "d": "c == 1"}
    assert without(space, {"b": 0}).conditions == {"c": "a > 0", "d": "c == 1"}
    assert list(without(space, {"c": 1})) == ["a", "b", "d"]
    assert without(space, {"c": 1}).conditions == {}
    assert list(without(space, {"a": 0, "b": 0})) == []  # what reads c can never be active either
    assert without(space, {"a": 1, "b": 0}).conditions == {"d": "c == 1"}
    texts = Space({"a": IntDistribution(-3, 3), "b": IntDistribution(0, 1), "o": ts.Categorical(["x'y", "z"])},
                  {"b": "o == \"x'y\" and a < 0"})  # fmt: skip
    left = without(texts, {"o": "x'y"})
    assert [len(left.active({"a": a, "b": 1})) for a in (-1, 1)] == [2, 1]
    assert [len(without(texts, {"a": -2}).active({"o": o, "b": 1})) for o in ("x'y", "z")] == [2, 1]


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
    space = {name: FloatDistribution(0.0001, 0.9) for name in ("lr", "momentum", "dropout")}
    problem = Problem(**DIGITS, space=space, metrics=["f1"]).for_repeat(1)
    params = {"lr": 0.02, "momentum": 0.8, "dropout": 0.2}
    last = list(problem(FixedTrial(params, number=4)))[-1]
    result = problem.evaluate_test(params, problem.training_seed(4, params))
    assert {name: result[name] for name in problem.metrics} == last
    assert list(result)[:3] == ["test_loss", "test_accuracy", "test_f1"]
    assert problem.evaluate(params, problem.training_seed(4, params)) == last
    assert 0.5 < result["test_accuracy"] <= 1
    first = problem.evaluate_test(params, problem.training_seed(4, params), epochs=1)
    assert first["val_loss"] != last["val_loss"]


def test_the_test_part_is_touched_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    original = preparation.Prepared.test

    def test(self: preparation.Prepared, *arguments: Any) -> job.Part:
        asked.append(1)
        return original(self, *arguments)

    monkeypatch.setattr(preparation.Prepared, "test", test)
    problem = Problem(**DIGITS)
    list(problem.train(GOOD, 0))
    problem.fit(GOOD)
    assert asked == []
    problem.evaluate_test(GOOD, 0)
    assert asked == [1]


def test_test_images_do_not_change_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Problem(**DIGITS)
    before = list(problem.train(GOOD, 0))
    digits = train.load_dataset("digits")
    other = train.Dataset("digits", digits.images, digits.labels, digits.test_images * 0, digits.test_labels, 10)
    monkeypatch.setattr(preparation, "load_dataset", lambda _: other)
    assert list(problem.train(GOOD, 0)) == before
    assert problem.evaluate_test(GOOD, 0)["test_accuracy"] < 0.2


def test_conditional_parameters() -> None:
    space = Space(
        {
            "optimizer": CategoricalDistribution(["sgd", "adam"]),
            "lr": FloatDistribution(0.001, 0.1),
            "momentum": FloatDistribution(0, 0.9),
        },
        {"momentum": "optimizer == 'sgd'"},
    )
    problem = Problem(**{**DIGITS, "space": space, "epochs": 1})
    adam = FixedTrial({"lr": 0.01, "optimizer": "adam"})
    list(problem(adam))
    assert "momentum" not in adam.params
    sgd = FixedTrial({"lr": 0.01, "optimizer": "sgd", "momentum": 0.5})
    list(problem(sgd))
    assert sgd.params["momentum"] == 0.5
    with pytest.raises(InvalidValueError, match=r"\['momentum'\] are no active parameters"):
        problem.configuration({"lr": 0.01, "optimizer": "adam", "momentum": 0.5})
    with pytest.raises(InvalidValueError, match="'momentum' is missing"):
        problem.configuration({"lr": 0.01, "optimizer": "sgd"})


def test_every_configuration_of_the_largest_space_trains() -> None:
    """Or fails with its reason: nothing else comes out of a random walk through all hyperparameters."""
    for model in ("cnn", "mlp"):
        problem = Problem("digits", model, "all", epochs=1, n_train=100, n_validation=50, device="cpu")
        study = tunesmith.create_study(space=problem.space, directions=problem.directions, pruner="nop", seed=1)
        study.optimize(problem, n_trials=15)
        states = [trial.state for trial in study.trials]
        assert set(states) <= {TrialState.COMPLETE, TrialState.FAIL}
        assert states.count(TrialState.COMPLETE) >= 8
        assert all(t.user_attrs["fail_reason"] for t in study.trials if t.state is TrialState.FAIL)


def test_epochs_may_be_searched() -> None:
    problem = Problem(**{**DIGITS, "space": {"epochs": IntDistribution(1, 4)}})
    assert [len(list(problem(FixedTrial({"epochs": n})))) for n in (1, 3)] == [1, 3]
    assert problem.evaluate({"epochs": 3}, 0, epochs=1) == problem.evaluate({"epochs": 1}, 0)


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
    shapes: dict[tuple[str, str], int] = {}
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
    assert "fixed   optimizer='sgd', batch_size=64; defaults for the rest" in text
    assert "measure" not in text
    everything = Problem(space="all").describe()
    assert "momentum only if optimizer in ('sgd', 'rmsprop')" in everything
    assert "fixed   nothing" in everything
    changed = Problem(**DIGITS, fixed={"dropout": 0.5, "schedule": "cosine", "batch_size": 32}).describe()
    assert "fixed   optimizer='sgd', schedule='cosine', batch_size=32, dropout=0.5; defaults for the rest" in changed
    measured = Problem(**DIGITS, objective="accuracy", metrics=["f1"], executions_per_trial=2).describe()
    assert "measure val_accuracy (maximize), val_f1\n" in measured
    assert "measure 2 trainings with different seeds for each trial\n" in measured
    folds = Problem("digits", "cnn", folds=5, fold_repeats=3, precision="bfloat16").describe()
    assert "measure 5-fold cross-validation, repeated 3 times" in folds
    assert ", bfloat16" in folds
    assert "no test is left" in Problem("digits", "cnn", validation="official").describe()


# -- what is measured ----------------------------------------------------------------------------------------------


def test_names_and_directions_of_metrics() -> None:
    plain = Problem(**DIGITS)
    assert plain.metrics == ("val_loss", "val_accuracy", "train_loss", "train_accuracy")
    assert plain.directions == ["minimize"]
    problem = Problem(**DIGITS, objective="val_accuracy", metrics=["ece", "val_top_2", "val_loss"])
    assert problem.metrics == (
        "val_accuracy", "val_loss", "val_ece", "val_top_2", "train_loss", "train_accuracy",
    )  # fmt: skip
    assert problem.metric_names == ["val_accuracy"]
    assert problem.directions == ["maximize"]
    assert problem.metric_directions["val_ece"] == "minimize"
    (first, last) = problem.train(GOOD, 0)
    assert tuple(first) == tuple(last) == problem.metrics
    study = tunesmith.create_study(directions=problem.directions, space=problem.space)
    study.optimize(problem, n_trials=2)
    assert study.best_value == max(trial.value or 0 for trial in study.trials)
    with pytest.raises(InvalidValueError, match="'top_10' is always 1 with 10 classes"):
        next(Problem(**DIGITS, metrics=["top_10"]).train(GOOD, 0))


def test_mixed_precision_trains() -> None:
    full, half = (Problem(**DIGITS, precision=p).evaluate(GOOD, 0) for p in ("float32", "bfloat16"))
    assert half != full
    assert half["val_accuracy"] == pytest.approx(full["val_accuracy"], abs=0.1)


def test_official_validation_has_no_test() -> None:
    problem = Problem(**DIGITS, validation="official")
    assert getattr(problem, "evaluate_test", None) is None
    with pytest.raises(AttributeError, match="the test part is what is validated on"):
        problem.evaluate_test(GOOD, 0)
    usual = Problem(**DIGITS)
    assert problem.evaluate(GOOD, 0)["val_loss"] != usual.evaluate(GOOD, 0)["val_loss"]
    assert len(list(problem.train(GOOD, 0))) == 2


def test_size_of_the_validation_part() -> None:
    assert "1100 training, 400 validation" in Problem("digits", "cnn", validation=400).describe()
    assert "1350 training, 150 validation" in Problem("digits", "cnn", validation=0.1).describe()


# -- a model of one's own ------------------------------------------------------------------------------------------


def make_net(input_shape: tuple[int, int, int], n_classes: int, width: int = 8) -> nn.Module:
    """A network as a user would write it, with torch's own initialisation."""
    channels, height, wide = input_shape
    return nn.Sequential(
        nn.Flatten(), nn.Linear(channels * height * wide, width), nn.ReLU(), nn.Linear(width, n_classes)
    )


def make_other(input_shape: tuple[int, int, int], n_classes: int, width: int = 8) -> nn.Module:
    """Another one."""
    return nn.Sequential(nn.Flatten(), nn.Linear(input_shape[0] * input_shape[1] * input_shape[2], n_classes))


def test_a_function_as_the_model() -> None:
    own = {**DIGITS, "model": make_net}
    problem = Problem(**own, space={"lr": FloatDistribution(0.001, 0.5), "width": IntDistribution(4, 64)})
    params = {"lr": 0.1, "width": 32}
    assert sum(p.numel() for p in problem.network(params).parameters()) == 64 * 32 + 32 + 32 * 10 + 10
    found = problem.evaluate(params, 3)
    assert found == problem.evaluate(params, 3)
    assert found["val_accuracy"] > 0.6
    assert "make_net, 610 parameters" in problem.describe()
    assert problem == Problem.from_dict(json.loads(json.dumps(problem.to_dict())), model=make_net)
    assert pickle.loads(pickle.dumps(problem)) == problem
    assert problem.for_repeat(1).for_repeat(0) == problem
    assert problem != Problem(**{**own, "model": make_other}, space=problem.space)
    with pytest.raises(InvalidValueError, match=r"hand it in: Problem\.from_dict"):
        Problem.from_dict(problem.to_dict())
    with pytest.raises(InvalidValueError, match="its source differs"):
        Problem.from_dict(problem.to_dict(), model=make_other)
    with pytest.raises(InvalidValueError, match=r"make_net cannot use: \['depth'\]"):
        Problem(**own, space={"depth": IntDistribution(1, 2)})


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


def test_values_that_a_family_does_not_have_are_refused_at_once() -> None:
    with pytest.raises(InvalidValueError, match=r"allows .*'activation': Unknown activation 'mish'; known"):
        Problem(model="mlp", space=Space({"activation": ts.Categorical(["relu", "mish"])}))
    with pytest.raises(InvalidValueError, match="layers must be at most 5, but is 9"):
        Problem(model="mlp", space=Space({"layers": ts.Int(1, 9)}))
    with pytest.raises(InvalidValueError, match="dropout must be in"):
        Problem(model="mlp", fixed={"dropout": 1.5})
    Problem(model="cnn", space=Space({"kernel_size": ts.Int(3, 40)}))  # impossible for some images, as each trial says


def test_code_of_a_user_may_use_view() -> None:
    class Viewing(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.convolution, self.output = nn.Conv2d(1, width, 3), nn.Linear(36 * width, 10)

        def forward(self, x):  # type: ignore[no-untyped-def]
            return self.output(self.convolution(x).view(len(x), -1))

    def viewing(n_classes, width=4):  # type: ignore[no-untyped-def]
        return Viewing(width)

    problem = Problem(data="digits", model=viewing, epochs=1, n_train=64, n_validation=40, device="cpu")
    study = ts.create_study(space=problem.space, seed=0)
    study.optimize(problem, n_trials=2)
    study.optimize(problem, n_trials=2, lanes=2)
    assert {t.state.name for t in study.trials} == {"COMPLETE"}


def test_an_objective_that_is_to_be_maximized_is_not_minimized() -> None:
    problem = Problem(objective="val_accuracy", data="digits")
    with pytest.raises(InvalidValueError, match=r"\['maximize'\] but the study's directions are \['minimize'\]"):
        ts.create_study(space=problem.space).optimize(problem, n_trials=1)
