"""Scripts about studies that run with Optuna and with tunesmith alike: what they assert is what both do."""

from __future__ import annotations

import datetime
import logging
import math
import pickle
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tunesmith.testing._logged import logged


def quadratic(trial: Any) -> float:
    x = trial.suggest_float("x", -10, 10)
    return (x - 2) ** 2


class TestCreate:
    def test_defaults(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        assert study.study_name.startswith("no-name-")
        assert study.direction == optuna.study.StudyDirection.MINIMIZE
        assert study.directions == [optuna.study.StudyDirection.MINIMIZE]
        assert (study.trials, study.user_attrs, study.metric_names) == ([], {}, None)
        assert isinstance(study.pruner, optuna.pruners.MedianPruner)

    @pytest.mark.parametrize("word", ["maximize", "MAXIMIZE"])
    def test_directions(self, optuna: ModuleType, word: str) -> None:
        given = word if word.islower() else optuna.study.StudyDirection[word]
        assert optuna.create_study(direction=given).direction.name == "MAXIMIZE"
        several = optuna.create_study(directions=[given, "minimize"])
        assert [d.name for d in several.directions] == ["MAXIMIZE", "MINIMIZE"]
        with pytest.raises(RuntimeError):
            _ = several.direction

    @pytest.mark.parametrize(
        "wrong",
        [
            {"direction": "minimise"},
            {"direction": "minimize", "directions": ["minimize"]},
            {"directions": []},
            {"directions": ["minimize", "up"]},
            {"direction": ["minimize", "maximize"]},
            {"direction": 7},
            {"direction": ""},
            {"directions": "minimize"},
        ],
    )
    def test_impossible_directions(self, optuna: ModuleType, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValueError):
            optuna.create_study(**wrong)

    def test_names_are_unique_in_a_storage(self, optuna: ModuleType) -> None:
        storage = optuna.storages.InMemoryStorage()
        first = optuna.create_study(study_name="a", storage=storage, direction="maximize")
        first.set_user_attr("k", 1)
        with pytest.raises(optuna.exceptions.DuplicatedStudyError):
            optuna.create_study(study_name="a", storage=storage)
        again = optuna.create_study(study_name="a", storage=storage, load_if_exists=True)
        assert again.user_attrs == {"k": 1}
        assert again.direction.name == "MAXIMIZE"
        other = optuna.create_study(study_name="a")  # another storage
        assert other.user_attrs == {}

    def test_load(self, optuna: ModuleType) -> None:
        storage = optuna.storages.InMemoryStorage()
        with pytest.raises(ValueError):
            optuna.load_study(study_name=None, storage=storage)
        with pytest.raises(KeyError):
            optuna.load_study(study_name="nobody", storage=storage)
        made = optuna.create_study(study_name="a", storage=storage)
        made.optimize(quadratic, n_trials=3)
        assert optuna.load_study(study_name=None, storage=storage).study_name == "a"
        optuna.create_study(study_name="b", storage=storage)
        with pytest.raises(ValueError):
            optuna.load_study(study_name=None, storage=storage)
        loaded = optuna.load_study(study_name="a", storage=storage, sampler=optuna.samplers.RandomSampler(seed=1))
        assert loaded.trials == made.trials
        assert isinstance(loaded.sampler, optuna.samplers.RandomSampler)
        loaded.optimize(quadratic, n_trials=2)
        assert len(made.trials) == 5

    def test_delete(self, optuna: ModuleType) -> None:
        storage = optuna.storages.InMemoryStorage()
        optuna.create_study(study_name="a", storage=storage)
        optuna.create_study(study_name="b", storage=storage)
        optuna.delete_study(study_name="a", storage=storage)
        assert optuna.get_all_study_names(storage) == ["b"]
        with pytest.raises(KeyError):
            optuna.delete_study(study_name="a", storage=storage)
        assert optuna.create_study(study_name="a", storage=storage).trials == []

    def test_copy(self, optuna: ModuleType) -> None:
        one, other = optuna.storages.InMemoryStorage(), optuna.storages.InMemoryStorage()
        study = optuna.create_study(study_name="a", storage=one, direction="maximize")
        study.set_user_attr("k", [1, 2])
        study.optimize(quadratic, n_trials=3)
        optuna.copy_study(from_study_name="a", from_storage=one, to_storage=other)
        optuna.copy_study(from_study_name="a", from_storage=one, to_storage=one, to_study_name="b")
        for name, storage in (("a", other), ("b", one)):
            copied = optuna.load_study(study_name=name, storage=storage)
            assert [(t.number, t.params, t.value, t.state) for t in copied.trials] == [
                (t.number, t.params, t.value, t.state) for t in study.trials
            ]
            assert (copied.user_attrs, copied.direction.name) == ({"k": [1, 2]}, "MAXIMIZE")
        study.optimize(quadratic, n_trials=1)
        assert len(optuna.load_study(study_name="b", storage=one).trials) == 3
        with pytest.raises(optuna.exceptions.DuplicatedStudyError):
            optuna.copy_study(from_study_name="a", from_storage=one, to_storage=other)
        with pytest.raises(KeyError):
            optuna.copy_study(from_study_name="nobody", from_storage=one, to_storage=other)

    def test_summaries(self, optuna: ModuleType) -> None:
        storage = optuna.storages.InMemoryStorage()
        assert optuna.get_all_study_summaries(storage) == []
        study = optuna.create_study(study_name="a", storage=storage, direction="maximize")
        study.set_user_attr("k", 1)
        for value in (1.0, 3.0, 2.0):
            study.tell(study.ask(), value)
        study.ask()
        optuna.create_study(study_name="b", storage=storage, directions=["minimize", "maximize"])
        assert optuna.study.get_all_study_names(storage) == ["a", "b"]
        a, b = optuna.study.get_all_study_summaries(storage)
        assert (a.study_name, a.n_trials, a.best_trial.value, a.direction.name) == ("a", 4, 3.0, "MAXIMIZE")
        assert a.user_attrs == {"k": 1}
        assert a.datetime_start <= datetime.datetime.now()
        assert (b.study_name, b.n_trials, b.best_trial, b.datetime_start) == ("b", 0, None, None)
        assert [d.name for d in b.directions] == ["MINIMIZE", "MAXIMIZE"]
        with pytest.raises(RuntimeError):
            _ = b.direction
        (a, b) = optuna.get_all_study_summaries(storage, include_best_trial=False)
        assert a.best_trial is None

    def test_url_of_a_database(self, optuna: ModuleType, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path}/a.db"
        study = optuna.create_study(study_name="a", storage=url)
        study.optimize(quadratic, n_trials=2)
        again = optuna.create_study(study_name="a", storage=optuna.storages.RDBStorage(url), load_if_exists=True)
        assert again.trials == study.trials
        assert optuna.get_all_study_names(url) == ["a"]

    def test_journal_file(self, optuna: ModuleType, tmp_path: Path) -> None:
        path = str(tmp_path / "journal.log")
        journal = optuna.storages.journal
        storage = optuna.storages.JournalStorage(journal.JournalFileBackend(path))
        study = optuna.create_study(study_name="a", storage=storage)
        study.optimize(quadratic, n_trials=2)
        again = optuna.load_study(
            study_name="a", storage=optuna.storages.JournalStorage(journal.JournalFileBackend(path))
        )
        assert again.trials == study.trials

    def test_a_study_can_be_pickled(self, optuna: ModuleType, tmp_path: Path) -> None:
        study = optuna.create_study(
            study_name="a", storage=f"sqlite:///{tmp_path}/a.db", sampler=optuna.samplers.RandomSampler(seed=3)
        )
        study.optimize(quadratic, n_trials=1)
        again = pickle.loads(pickle.dumps(study))
        again.optimize(quadratic, n_trials=1)
        assert (again.study_name, len(study.trials)) == ("a", 2)
        assert isinstance(again.sampler, optuna.samplers.RandomSampler)


class TestBest:
    def test_nothing_yet(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        for name in ("best_trial", "best_value", "best_params"):
            with pytest.raises(ValueError):
                getattr(study, name)
        study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
        with pytest.raises(ValueError):
            _ = study.best_trial
        assert study.best_trials == []

    @pytest.mark.parametrize(("direction", "best"), [("minimize", 1), ("maximize", 2)])
    def test_best(self, optuna: ModuleType, direction: str, best: int) -> None:
        study = optuna.create_study(direction=direction)
        for value in (2.0, -1.0, 5.0, None, -1.0, 5.0):
            trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
            study.tell(trial, value, state=optuna.trial.TrialState.FAIL if value is None else None)
        assert study.best_trial.number == best
        assert study.best_value == study.best_trial.value == [2.0, -1.0, 5.0][best]
        assert study.best_params == study.trials[best].params

    def test_infinite_values_are_values(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        for value in (math.inf, -math.inf, 0.0):
            study.tell(study.ask(), value)
        assert [t.value for t in study.trials] == [math.inf, -math.inf, 0.0]
        assert study.best_value == -math.inf

    def test_several_objectives(self, optuna: ModuleType) -> None:
        study = optuna.create_study(directions=["minimize", "maximize"])
        for values in ((1, 1), (2, 2), (2, 1), (0, 0), (1, 1)):
            study.tell(study.ask(), values)
        assert [t.number for t in study.best_trials] == [0, 1, 3, 4]
        assert study.best_trials[0].values == [1.0, 1.0]
        for name in ("best_trial", "best_value", "best_params", "direction"):
            with pytest.raises(RuntimeError):
                getattr(study, name)
        with pytest.raises(RuntimeError):
            _ = study.trials[0].value

    def test_constraints(self, optuna: ModuleType) -> None:
        """A trial is feasible when all of its constraints are <= 0; an infeasible one is never the best."""
        study = optuna.create_study()

        def objective(trial: Any) -> float:
            trial.set_constraint("memory", [1.0, 0.0, -1.0][trial.number])
            trial.set_constraint("time", -1)
            return float(trial.number)

        study.optimize(objective, n_trials=1)
        with pytest.raises(ValueError):
            _ = study.best_trial
        study.optimize(objective, n_trials=2)
        assert study.best_trial.number == 1
        assert study.trials[0].constraints == {"memory": 1.0, "time": -1.0}

    def test_constraints_of_several_objectives(self, optuna: ModuleType) -> None:
        study = optuna.create_study(directions=["minimize", "minimize"])
        for values, bound in (((0, 0), 1.0), ((1, 2), 0.0), ((2, 1), -1.0), ((3, 3), -1.0)):
            trial = study.ask()
            trial.set_constraint("c", bound)
            study.tell(trial, values)
        assert [t.number for t in study.best_trials] == [1, 2]

    def test_odd_constraints(self, optuna: ModuleType) -> None:
        trial = optuna.create_study().ask()
        for wrong, error in ((math.nan, ValueError), ("much", TypeError), (None, TypeError)):
            with pytest.raises(error):
                trial.set_constraint("c", wrong)
        trial.set_constraint("c", "1.5")
        with pytest.warns(UserWarning, match="ignored"):
            trial.set_constraint("c", 2.0)
        assert trial.constraints == {"c": 1.5}


class TestLookingAtTrials:
    def test_states(self, optuna: ModuleType) -> None:
        states = optuna.trial.TrialState
        study = optuna.create_study()
        study.tell(study.ask(), 1.0)
        study.tell(study.ask(), state=states.PRUNED)
        study.tell(study.ask(), state=states.FAIL)
        study.ask()
        study.enqueue_trial({"x": 1})
        assert [t.state for t in study.trials] == [
            states.COMPLETE,
            states.PRUNED,
            states.FAIL,
            states.RUNNING,
            states.WAITING,
        ]
        assert [t.number for t in study.get_trials(states=(states.FAIL, states.COMPLETE))] == [0, 2]
        assert [t.number for t in study.get_trials(deepcopy=False, states=[states.WAITING])] == [4]
        assert study.get_trials(states=()) == []
        assert [(s.name, int(s)) for s in states][:5] == [
            ("RUNNING", 0),
            ("COMPLETE", 1),
            ("PRUNED", 2),
            ("FAIL", 3),
            ("WAITING", 4),
        ]
        assert [s.is_finished() for s in states][:5] == [False, True, True, True, False]

    def test_records_belong_to_the_caller(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        study.set_user_attr("nested", {"list": [1, 2]})
        trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
        trial.set_user_attr("nested", {"list": [1, 2]})
        trial.user_attrs["nested"]["list"].append(3)
        study.tell(trial, 1.0)
        for found in (study.trials[0], study.get_trials()[0], study.best_trial):
            found.user_attrs["nested"]["list"].append(3)
            found.params["x"] = "changed"
            found.values = [9.0]
        study.user_attrs["nested"]["list"].append(3)
        assert study.trials[0].user_attrs == study.user_attrs == {"nested": {"list": [1, 2]}}
        assert study.trials[0].params["x"] != "changed"
        assert study.best_value == 1.0

    def test_times(self, optuna: ModuleType) -> None:
        begin = datetime.datetime.now() - datetime.timedelta(seconds=1)
        study = optuna.create_study()
        study.optimize(quadratic, n_trials=1)
        (trial,) = study.trials
        assert begin < trial.datetime_start <= trial.datetime_complete
        assert trial.duration == trial.datetime_complete - trial.datetime_start
        study.enqueue_trial({})
        assert study.trials[1].datetime_start is None
        assert study.trials[1].duration is None
        asked = study.ask()
        assert begin < asked.datetime_start
        assert study.trials[1].datetime_complete is None

    def test_user_attributes(self, optuna: ModuleType) -> None:
        study = optuna.create_study()
        study.set_user_attr("contributors", ["Ada", "Alan"])
        study.set_user_attr("contributors", ["Grace"])
        study.set_user_attr("none", None)

        def objective(trial: Any) -> float:
            trial.set_user_attr("accuracy", 0.5)
            trial.set_user_attr("accuracy", 0.75)
            assert trial.user_attrs == {"accuracy": 0.75}
            return 0.0

        study.optimize(objective, n_trials=1)
        assert study.user_attrs == {"contributors": ["Grace"], "none": None}
        assert study.trials[0].user_attrs == {"accuracy": 0.75}
        assert study.best_trial.user_attrs["accuracy"] == 0.75

    def test_metric_names(self, optuna: ModuleType) -> None:
        study = optuna.create_study(directions=["minimize", "minimize"])
        for wrong in ([], ["a"], ["a", "b", "c"]):
            with pytest.raises(ValueError):
                study.set_metric_names(wrong)
        study.set_metric_names(["loss", "time"])
        assert study.metric_names == ["loss", "time"]


class TestDataFrames:
    @staticmethod
    def study(optuna: ModuleType, several: bool = False) -> Any:
        study = optuna.create_study(directions=["minimize"] * (2 if several else 1))
        values: Any = (1.0, 2.0) if several else 1.0
        trial = study.ask()
        trial.suggest_float("z", 0, 1)
        trial.suggest_int("a", 3, 3)
        trial.set_user_attr("note", "n")
        study.tell(trial, values)
        trial = study.ask()
        trial.suggest_categorical("m", ["only"])
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial({"z": 0.5})
        return study

    def test_empty(self, optuna: ModuleType) -> None:
        pytest.importorskip("pandas")
        frame = optuna.create_study().trials_dataframe()
        assert frame.empty
        assert list(frame.columns) == []

    def test_columns(self, optuna: ModuleType) -> None:
        pytest.importorskip("pandas")
        frame = self.study(optuna).trials_dataframe()
        assert list(frame.columns) == [
            "number",
            "value",
            "datetime_start",
            "datetime_complete",
            "duration",
            "params_a",
            "params_m",
            "params_z",
            "user_attrs_note",
            "system_attrs_fixed_params",
            "state",
        ]
        assert frame["number"].tolist() == [0, 1, 2]
        assert frame["state"].tolist() == ["COMPLETE", "FAIL", "WAITING"]
        assert frame["params_a"][0] == 3
        assert math.isnan(frame["value"][1])
        assert frame["system_attrs_fixed_params"][2] == {"z": 0.5}

    def test_several_objectives(self, optuna: ModuleType) -> None:
        pytest.importorskip("pandas")
        study = self.study(optuna, several=True)
        attrs = ("number", "value", "state")
        assert list(study.trials_dataframe(attrs).columns) == ["number", "values_0", "values_1", "state"]
        assert list(study.trials_dataframe(("values",), multi_index=True).columns) == [("values", 0), ("values", 1)]
        study.set_metric_names(["time", "loss"])
        assert list(study.trials_dataframe(attrs).columns) == ["number", "values_time", "values_loss", "state"]

    def test_failed_trials_have_columns_too(self, optuna: ModuleType) -> None:
        pytest.importorskip("pandas")
        study = optuna.create_study(directions=["minimize"] * 12)
        study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
        assert list(study.trials_dataframe(("values",)).columns) == [f"values_{i}" for i in range(12)]

    def test_one_named_objective(self, optuna: ModuleType) -> None:
        pytest.importorskip("pandas")
        study = self.study(optuna)
        study.set_metric_names(["loss"])
        assert list(study.trials_dataframe(("number", "value")).columns) == ["number", "value_loss"]

    def test_multi_index(self, optuna: ModuleType) -> None:
        pytest.importorskip("pandas")
        study = self.study(optuna)
        frame = study.trials_dataframe(("number", "value", "params", "user_attrs"), multi_index=True)
        assert list(frame.columns) == [
            ("number", ""),
            ("value", ""),
            ("params", "a"),
            ("params", "m"),
            ("params", "z"),
            ("user_attrs", "note"),
        ]

    def test_other_fields(self, optuna: ModuleType) -> None:
        pytest.importorskip("pandas")
        study = optuna.create_study()
        trial = study.ask()
        trial.report(0.5, 1)
        trial.report(0.25, 10)
        study.tell(trial, 1.0)
        frame = study.trials_dataframe(("number", "intermediate_values", "_trial_id"))
        assert list(frame.columns) == ["number", "intermediate_values_1", "intermediate_values_10", "trial_id"]


class TestLogging:
    def test_verbosity(self, optuna: ModuleType) -> None:
        before = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.DEBUG)
        assert optuna.logging.get_verbosity() == logging.DEBUG
        optuna.logging.set_verbosity(before)
        levels = ("CRITICAL", "DEBUG", "ERROR", "FATAL", "INFO", "WARN", "WARNING")
        assert [getattr(optuna.logging, n) for n in levels] == [getattr(logging, n) for n in levels]

    def test_one_line_a_trial(self, optuna: ModuleType) -> None:
        with logged("") as lines:
            optuna.logging.set_verbosity(optuna.logging.INFO)
            optuna.logging.enable_propagation()
            study = optuna.create_study(direction="maximize", study_name="a")
            study.optimize(lambda t: t.suggest_int("n", 7, 7), n_trials=1)
            optuna.logging.disable_propagation()
            study.optimize(lambda t: 1.0, n_trials=1)
        assert len(lines) == 2
        assert lines[0].startswith("A new study created in ")
        assert lines[0].endswith(" with name: a")
        assert lines[1] == "Trial 0 finished with value: 7.0 and parameters: {'n': 7}. Best is trial 0 with value: 7.0."


class TestNames:
    @pytest.mark.parametrize(
        "path",
        [
            "create_study",
            "load_study",
            "delete_study",
            "copy_study",
            "get_all_study_names",
            "get_all_study_summaries",
            "create_trial",
            "Study",
            "Trial",
            "TrialPruned",
            "exceptions.OptunaError",
            "exceptions.TrialPruned",
            "exceptions.CLIUsageError",
            "exceptions.StorageInternalError",
            "exceptions.DuplicatedStudyError",
            "exceptions.UpdateFinishedTrialError",
            "exceptions.ExperimentalWarning",
            "study.MaxTrialsCallback",
            "study.Study",
            "study.StudyDirection",
            "study.StudySummary",
            "study.create_study",
            "study.load_study",
            "study.delete_study",
            "study.copy_study",
            "study.get_all_study_names",
            "study.get_all_study_summaries",
            "trial.BaseTrial",
            "trial.FixedTrial",
            "trial.FrozenTrial",
            "trial.Trial",
            "trial.TrialState",
            "trial.create_trial",
            "distributions.FloatDistribution",
            "distributions.IntDistribution",
            "distributions.CategoricalDistribution",
            "distributions.BaseDistribution",
            "distributions.distribution_to_json",
            "distributions.json_to_distribution",
            "distributions.check_distribution_compatibility",
            "samplers.RandomSampler",
            "samplers.BaseSampler",
            "pruners.MedianPruner",
            "pruners.PercentilePruner",
            "pruners.NopPruner",
            "pruners.BasePruner",
            "storages.InMemoryStorage",
            "storages.RDBStorage",
            "storages.JournalStorage",
            "storages.BaseStorage",
            "storages.get_storage",
            "storages.journal.JournalFileBackend",
            "logging.set_verbosity",
            "logging.get_logger",
            "logging.enable_default_handler",
            "logging.disable_default_handler",
            "logging.enable_propagation",
            "logging.disable_propagation",
            "__version__",
        ],
    )
    def test_exist(self, optuna: ModuleType, path: str) -> None:
        found: Any = optuna
        for part in path.split("."):
            found = getattr(found, part)
        assert found is not None

    def test_exceptions_are_of_the_same_kinds(self, optuna: ModuleType) -> None:
        e = optuna.exceptions
        named = (
            e.TrialPruned,
            e.CLIUsageError,
            e.StorageInternalError,
            e.DuplicatedStudyError,
            e.UpdateFinishedTrialError,
        )
        assert all(issubclass(c, e.OptunaError) for c in named)
        assert issubclass(e.UpdateFinishedTrialError, RuntimeError)
        assert issubclass(e.ExperimentalWarning, Warning)
        assert not issubclass(e.OptunaError, (ValueError, RuntimeError))
