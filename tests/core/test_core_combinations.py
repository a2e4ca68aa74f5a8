"""Things that go together rarely: copies cut short, lost machines, repeated Ctrl-C, odd names, handles and input."""

from __future__ import annotations

import copy
import inspect
import math
import os
import pickle
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tunesmith
from tunesmith import TrialState, copy_study, create_study, create_trial, load_study
from tunesmith.distributions import FloatDistribution
from tunesmith.exceptions import (
    InvalidTypeError,
    InvalidValueError,
    StaleTrialError,
    StorageInternalError,
    TrialFinishedError,
)
from tunesmith.pruners import BasePruner, Verdict
from tunesmith.samplers import GridSampler, RandomSampler
from tunesmith.storages import InMemoryStorage
from tunesmith.study import _worker

WHOLE = FloatDistribution(0, 1)


def bowl(trial: Any) -> float:
    return float(trial.suggest_float("x", 0, 1))


class Full(InMemoryStorage):
    """Takes so many appends, then none."""

    def __init__(self, room: int, error: type[BaseException]) -> None:
        super().__init__()
        self.room, self.error = room, error

    def append(self, study_id: str, events: Any) -> int:
        self.room -= 1
        if self.room < 0:
            raise self.error("no more")
        return super().append(study_id, events)


@pytest.mark.parametrize("error", [KeyboardInterrupt, StorageInternalError])
def test_a_copy_that_is_cut_short_leaves_nothing(error: type[BaseException]) -> None:
    source, target = InMemoryStorage(), Full(5, error)
    create_study(study_name="s", storage=source, seed=1).optimize(bowl, n_trials=10)
    with pytest.raises(error, match="no more"):
        copy_study(from_study_name="s", from_storage=source, to_storage=target)
    assert tunesmith.get_all_study_names(target) == []
    target.room = 1000
    copy_study(from_study_name="s", from_storage=source, to_storage=target)
    assert len(load_study(study_name="s", storage=target).trials) == 10


@pytest.fixture
def as_host(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let this process be on another machine."""

    def be(name: str) -> None:
        monkeypatch.setattr(_worker, "_host", lambda: name)

    return be


def test_trials_of_a_lost_machine_are_released_when_somebody_says_so(
    as_host: Callable[[str], None], tmp_path: Path
) -> None:
    storage = str(tmp_path / "s.jsonl")
    as_host("lost")
    lost = create_study(study_name="s", storage=storage, seed=1)
    (claimed,) = lost._session.claim(by_ask=False)  # its loop runs it when the machine goes down
    number, x = claimed.number, claimed.suggest_float("x", 0, 1)
    as_host("other")
    study = load_study(study_name="s", storage=storage)
    study.optimize(bowl, n_trials=2)
    assert [t.state.name for t in study.trials] == ["RUNNING", "COMPLETE", "COMPLETE"]
    assert study.release_running() == 1
    assert study.release_running() == 0
    study.optimize(bowl, n_trials=1)
    assert [t.state.name for t in study.trials] == ["COMPLETE"] * 3
    assert study.trials[number].system_attrs["attempt"] == 2
    with pytest.raises(TrialFinishedError, match="it is COMPLETE already"):
        lost.tell(claimed, x)


def test_what_ask_handed_out_is_not_released(tmp_path: Path) -> None:
    storage = str(tmp_path / "s.jsonl")
    first = create_study(study_name="s", storage=storage)
    trial = first.ask()
    assert load_study(study_name="s", storage=storage).release_running() == 0
    first.tell(trial, 1.0)
    assert first.trials[0].state is TrialState.COMPLETE


def test_ctrl_c_is_no_failed_attempt() -> None:
    study = create_study(seed=1)

    def impatient(trial: Any) -> float:
        x = bowl(trial)
        if trial.attempt < 6:
            raise KeyboardInterrupt
        return x

    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            study.optimize(impatient, n_trials=1)
        assert study.trials[0].state is TrialState.WAITING
    study.optimize(impatient, n_trials=1)
    assert study.trials[0].state is TrialState.COMPLETE


def test_a_yielded_name_must_be_the_objective_s() -> None:
    study = create_study(direction="maximize")
    study.set_metric_names(["accuracy"])

    def epochs(trial: Any) -> Any:
        yield {"val_loss": 0.1, "val_accuracy": 0.9}

    with pytest.raises(InvalidValueError, match=r"yielded 'val_loss', 'val_accuracy', but .* called 'accuracy'"):
        study.optimize(epochs, n_trials=1)
    assert study.trials[0].state is TrialState.FAIL
    study.set_metric_names(["val_accuracy"])
    study.optimize(epochs, n_trials=1)
    assert study.trials[1].value == 0.9


def test_a_running_trial_is_a_handle() -> None:
    """Copies of what holds one hold the same one; another process is told what to do instead."""
    trial = create_study().ask()
    holder = {"trial": trial}
    assert copy.deepcopy(holder)["trial"] is copy.copy(trial) is trial
    with pytest.raises(InvalidTypeError, match=r"send trial.number and trial.params"):
        pickle.dumps(trial)


def test_a_told_trial_cannot_be_changed() -> None:
    study = create_study()
    trial = study.ask()
    study.tell(trial, 1.0)
    with pytest.raises(StaleTrialError, match="Trial 0 is finished already and cannot be changed"):
        trial.set_user_attr("a", 1)
    assert study.trials[0].value == 1.0


def test_warnings_point_at_the_line_that_caused_them() -> None:
    study = create_study()
    study.enqueue_trial({"x": 99.0})

    def objective(trial: Any) -> float:
        x = trial.suggest_float("x", 0, 1)
        trial.suggest_float("x", 0, 2)
        return float(x)

    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        study.optimize(objective, n_trials=1)
    texts = [str(w.message)[:25] for w in found]
    assert texts == ["The given value 99.0 of '", "Trial 0 asked for 'x' bef"]
    assert {w.filename for w in found} == {__file__}


def test_a_grid_outside_the_range_is_said_once() -> None:
    study = create_study(sampler=GridSampler({"x": [0.0, 5.0, 1.0]}, shuffle=False), space={"x": WHOLE})
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("default")
        study.optimize(bowl)
    assert [t.params["x"] for t in study.trials] == [0.0, 5.0, 1.0]
    assert [str(w.message).partition(" are outside")[0] for w in found] == ["The grid's values [5.0] of 'x'"]


class TestDataFrames:
    def test_metrics_are_columns_with_their_last_values(self) -> None:
        pytest.importorskip("pandas")
        study = create_study()

        def epochs(trial: Any) -> Any:
            for epoch in range(3):
                yield {"loss": 1.0, "accuracy": epoch / 10}

        study.optimize(epochs, n_trials=1)
        frame = study.trials_dataframe(attrs=("number", "metrics"))
        assert frame.to_dict("records") == [{"number": 0, "metrics_accuracy": 0.2}]

    def test_constraints(self) -> None:
        pytest.importorskip("pandas")
        study = create_study()
        trial = study.ask()
        trial.set_constraint("memory", 2.0)
        study.tell(trial, 1.0)
        assert study.trials_dataframe(attrs=("number", "constraints")).to_dict("records") == [
            {"number": 0, "constraints_memory": 2.0}
        ]

    @pytest.mark.parametrize("attrs", ["number", [1]])
    def test_what_is_no_list_of_fields(self, attrs: Any) -> None:
        pytest.importorskip("pandas")
        with pytest.raises(InvalidTypeError, match="`attrs` must be a list"):
            create_study().trials_dataframe(attrs=attrs)


class TestInput:
    def test_attributes_are_dictionaries(self) -> None:
        study = create_study()
        with pytest.raises(InvalidTypeError, match=r"`user_attrs` must be a dictionary, but is \[1\]"):
            study.enqueue_trial({"x": 1}, user_attrs=[1])  # type: ignore[arg-type]
        for what in ("user_attrs", "intermediate_values"):
            with pytest.raises(InvalidTypeError, match=rf"`{what}` must be a dictionary, but is \[1\]"):
                study.add_trial(create_trial(value=1.0, **{what: [1]}))  # type: ignore[arg-type]
        assert study.trials == []

    @pytest.mark.parametrize("text", ["1", b"1"])
    def test_a_value_is_no_text(self, text: Any) -> None:
        with pytest.raises(InvalidTypeError, match="but is the text"):
            create_trial(value=text)

    def test_states_are_a_list(self) -> None:
        with pytest.raises(InvalidTypeError, match="`states` must be a list of states"):
            create_study().get_trials(states=TrialState.COMPLETE)  # type: ignore[arg-type]


def test_the_storage_takes_every_argument_that_optuna_s_takes() -> None:
    optuna = pytest.importorskip("optuna")
    from tunesmith.storages import RDBStorage

    theirs = set(inspect.signature(optuna.storages.RDBStorage).parameters)
    assert theirs - set(inspect.signature(RDBStorage).parameters) == set()


@pytest.mark.parametrize("room", [tunesmith.samplers, tunesmith.pruners], ids=lambda room: room.__name__)
def test_type_checkers_let_plug_ins_be_made_with_their_arguments(room: Any) -> None:
    """A script that makes one passes a type checker, though no file lists what the room holds."""
    assert inspect.signature(room.__getattr__).return_annotation == "Any"
    imported = "".join(line for line in inspect.getsource(room).splitlines() if "import" in line)
    assert [name for name in room.available() if name in imported] == []


@dataclass(frozen=True)
class Enqueues(RandomSampler):
    """Somebody enqueues a configuration while the third proposal is being made."""

    hook: Any = None

    def propose(self, space: Any, history: Any, rng: Any, n: int) -> Any:
        if history.n_trials == 2:
            self.hook()
        return super().propose(space, history, rng, n)

    def spec(self) -> dict[str, Any]:
        return RandomSampler().spec()


@pytest.mark.parametrize("kind", ["jsonl", "sqlite"])
def test_what_is_enqueued_while_a_proposal_is_made_is_evaluated(kind: str, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/s.db" if kind == "sqlite" else str(tmp_path / "s.jsonl")
    create_study(study_name="s", storage=storage, space={"x": WHOLE}, seed=1)
    other = load_study(study_name="s", storage=storage)
    hook = lambda: other.enqueue_trial({"x": 0.125}, user_attrs={"who": "me"})  # noqa: E731
    study = load_study(study_name="s", storage=storage, sampler=Enqueues(hook=hook))
    study.optimize(bowl, n_trials=4)
    assert [t.user_attrs.get("who") for t in study.trials] == [None, None, "me", None]
    assert study.trials[2].params == {"x": 0.125}
    alone = create_study(space={"x": WHOLE}, seed=1, sampler="random")
    alone.optimize(bowl, n_trials=4)
    assert [study.trials[n].params for n in (0, 1, 3)] == [alone.trials[n].params for n in (0, 1, 3)]


@pytest.mark.parametrize("method", sorted(set(tunesmith.samplers.known_names()) - {"bruteforce", "brute-force"}))
def test_partly_enqueued_configurations_differ(method: str) -> None:
    """What they leave open is not the method's next step for all of them, and takes nothing from it."""
    space = {"x": WHOLE, "y": WHOLE, "c": tunesmith.Categorical(list("abcdefgh"))}
    study = create_study(sampler=method, space=space, seed=5)
    for _ in range(4):
        study.enqueue_trial({"x": 0.25})

    def objective(trial: Any) -> float:
        return float(tunesmith.study.suggest_all(trial, study.space)["x"])

    study.optimize(objective, n_trials=6)
    configurations = [tuple(t.params.values()) for t in study.trials]
    assert {x for x, *_ in configurations[:4]} == {0.25}
    assert len(set(configurations)) == 6
    if method in ("random", "sobol", "halton", "qmc", "sobol-unscrambled", "halton-unscrambled"):
        # others learn of them
        alone = create_study(sampler=method, space=space, seed=5)
        alone.optimize(objective, n_trials=6)
        if method == "random":
            assert [t.params for t in study.trials[4:]] == [t.params for t in alone.trials[4:]]
        else:
            assert [t.params for t in study.trials[4:]] == [t.params for t in alone.trials[:2]]


def test_a_grid_completes_what_is_enqueued_with_free_cells() -> None:
    axes = {"a": [0.1, 0.2], "b": ["u", "v"], "c": [1, 2]}
    space = {"a": FloatDistribution(0, 1), "b": tunesmith.Categorical(["u", "v"]), "c": tunesmith.Int(1, 2)}
    study = create_study(sampler=GridSampler(axes), space=space, seed=1)
    for _ in range(5):
        study.enqueue_trial({"a": 0.1})
    study.optimize(lambda trial: float(len(tunesmith.study.suggest_all(trial, study.space))))
    cells = [tuple(t.params.values()) for t in study.trials]
    assert len(set(cells)) == 8
    assert len(cells) == 9  # the fifth has no free cell left
    assert {a for a, _, _ in cells[:5]} == {0.1}


@pytest.mark.parametrize("machine", ["this one", "another one"])
def test_trials_from_before_the_last_boot(machine: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    storage = str(tmp_path / "s.jsonl")
    monkeypatch.setattr(_worker, "_host", lambda: "node/first boot/1")
    monkeypatch.setattr(_worker, "_machine", lambda: "this one")
    create_study(study_name="s", storage=storage, seed=1)._session.claim(by_ask=False)
    monkeypatch.setattr(_worker, "_host", lambda: "node/second boot/1")
    monkeypatch.setattr(_worker, "_machine", lambda: machine)
    study = load_study(study_name="s", storage=storage)
    study.optimize(bowl, n_trials=2)
    assert study.trials[0].state is (TrialState.COMPLETE if machine == "this one" else TrialState.RUNNING)


def test_paused_trials_of_a_dead_process_end_with_the_study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class OneReport(BasePruner):
        def verdict(self, history: Any, trial: Any) -> Verdict:
            return Verdict.PAUSE

    def epochs(trial: Any) -> Any:
        for epoch in range(3):
            yield bowl(trial) + epoch

    storage = str(tmp_path / "s.jsonl")
    study = create_study(study_name="s", storage=storage, pruner=OneReport(), seed=1)
    study.optimize(epochs, n_trials=3, keep_paused=True)
    assert [t.state.name for t in study.trials] == ["PAUSED"] * 3
    other = load_study(study_name="s", storage=storage, pruner=OneReport())
    monkeypatch.setattr(_worker, "_started", lambda pid: "another process of this number")
    other.optimize(epochs, n_trials=0, keep_paused=True)
    assert [t.state.name for t in other.trials] == ["PAUSED"] * 3
    other.optimize(epochs, n_trials=0)
    assert [(t.state.name, t.value) for t in other.trials] == [("PRUNED", t.params["x"]) for t in other.trials]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("kind", [None, "jsonl", "sqlite"])
def test_a_forked_child_can_use_the_study(kind: str | None, tmp_path: Path) -> None:
    """Also when the fork came while another thread held the study's lock."""
    storage = {None: None, "jsonl": str(tmp_path / "s.jsonl"), "sqlite": f"sqlite:///{tmp_path}/s.db"}[kind]
    study = create_study(storage=storage, seed=1)
    children = []

    def objective(trial: Any) -> float:
        x = bowl(trial)
        if trial.number % 8 == 7:
            pid = os.fork()
            if pid == 0:
                os._exit(0 if study.best_value <= 1 and len(study.trials) >= 1 else 1)
            children.append(pid)
        return x

    study.optimize(objective, n_trials=96, n_jobs=4)
    codes = []
    end = time.monotonic() + 30
    for pid in children:
        found = (0, 0)
        while found[0] == 0 and time.monotonic() < end:
            found = os.waitpid(pid, os.WNOHANG)
            time.sleep(0.005)
        if found[0] == 0:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        codes.append(os.waitstatus_to_exitcode(found[1]) if found[0] else "hung")
    assert codes == [0] * 12


def test_a_grid_completes_what_is_on_no_axis() -> None:
    """Values off the axes, names that are none, and integers beyond all floats: the trial runs, and the next ones."""
    space = {"x": tunesmith.Int(1, 9), "y": WHOLE, "c": tunesmith.Categorical(["u", "v"])}
    study = create_study(sampler=GridSampler({"x": [1, 2, 3], "c": ["u", "v"]}), space=space, seed=1)
    for given in ({"x": 7}, {"y": 0.5}, {"x": 10**400}):
        study.enqueue_trial(given)
    study.optimize(
        lambda t: t.suggest_int("x", 1, 9) + len(t.suggest_categorical("c", ["u", "v"])), catch=(ValueError,)
    )
    assert [t.state.name for t in study.trials[:2]] == ["COMPLETE", "COMPLETE"]
    assert study.trials[0].params["x"] == 7
    assert study.trials[2].state.is_finished()
    cells = [tuple(t.params.values()) for t in study.trials if t.params.get("x") in (1, 2, 3)]
    assert len(set(cells)) == len(cells) == 6


def test_a_cut_grid_completes_with_its_own_values() -> None:
    space = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}
    study = create_study(sampler="grid", space=space, seed=1)
    for _ in range(7):
        study.enqueue_trial({"x": 0.123})
    study.optimize(lambda t: float(tunesmith.study.suggest_all(t, study.space)["x"]), n_trials=7)
    assert {t.params["y"] for t in study.trials} <= {0.0, 0.25, 0.5, 0.75, 1.0}


def test_cells_that_agree_are_found_by_arithmetic() -> None:
    """The same as looking at each of them, with conditions among the axes."""
    from tunesmith.samplers._cells import Cells, lattice

    axes = {"a": (1, 2, 3), "b": ("u", "v"), "c": (0.1, 0.2, 0.3, 0.4), "d": (True, False)}
    cells = Cells(lattice(axes, {"c": "a >= 2", "d": "b == 'u'"}))
    everything = np.arange(cells.n)
    for given in (
        {},
        {"a": 2},
        {"c": 0.1},
        {"c": 0.1, "d": True},
        {"a": 1, "c": 0.1},
        {"b": "w"},
        {"zz": 1, "b": "v"},
    ):
        slow = [
            all(cells.params(k).get(n, "-") == v for n, v in given.items() if n in axes) for k in everything.tolist()
        ]
        assert cells.agreeing(everything, given).tolist() == slow, given


@pytest.mark.parametrize("given", [{"n": None}, {"n": "2"}, {"n": None, "k": 3}, {"n": math.nan}])
@pytest.mark.parametrize("method", ["random", "sobol", "pso", "grid"])
def test_an_impossible_enqueued_configuration_fails_alone(method: str, given: dict[str, Any]) -> None:
    space = tunesmith.Space({"n": tunesmith.Int(1, 3), "k": tunesmith.Int(1, 3)}, {"k": "n >= 2"})
    study = create_study(sampler=method, space=space, seed=1)
    study.enqueue_trial(given)
    study.optimize(
        lambda t: float(t.suggest_int("n", 1, 3)), n_trials=4 if method != "grid" else 3, catch=(ValueError, TypeError)
    )
    assert study.trials[0].state is (TrialState.COMPLETE if given["n"] == "2" else TrialState.FAIL)  # "2" becomes 2
    assert [t.state.name for t in study.trials[1:3]] == ["COMPLETE"] * 2


def test_paused_trials_of_a_lost_machine_are_released_too(as_host: Callable[[str], None], tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Pauses(BasePruner):
        def verdict(self, history: Any, trial: Any) -> Verdict:
            return Verdict.PAUSE if trial.number < 2 else Verdict.GO

    def epochs(trial: Any) -> Any:
        for epoch in range(2):
            yield bowl(trial) + epoch

    storage = str(tmp_path / "s.jsonl")
    as_host("lost")
    create_study(study_name="s", storage=storage, pruner=Pauses(), seed=1).optimize(epochs, 2, keep_paused=True)
    as_host("other")
    study = load_study(study_name="s", storage=storage, pruner="nop")
    assert study.release_running() == 2
    study.optimize(epochs, n_trials=2)
    assert [t.state.name for t in study.trials] == ["COMPLETE"] * 2


def test_a_log_from_before_claims_said_what_they_answer(tmp_path: Path) -> None:
    """It reads as it did."""
    storage = str(tmp_path / "s.jsonl")
    study = create_study(study_name="s", storage=storage, space={"x": WHOLE}, seed=1)
    study.enqueue_trial({"x": 0.5})
    store, log = study.storage, study._log
    space = log.fold.meta["space"]
    log.append([{"e": "space", "id": study.space.id, "d": space}])
    log.append([{"e": "ask", "n": 0, "k": "w.1", "t": 1, "at": 2, "s": study.space.id, "p": [0.5]}])
    log.append([{"e": "tell", "n": 0, "k": "w.1", "t": 2, "st": 1, "y": [0.5]}])
    store.close()
    assert [(t.state.name, t.value) for t in load_study(study_name="s", storage=storage).trials] == [("COMPLETE", 0.5)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
class TestForks:
    def forked(self) -> None:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)

    def test_a_busy_handle_does_not_hold_a_fork_up_for_long(self) -> None:
        storage = InMemoryStorage()
        with storage._lock:
            begin = time.monotonic()
            self.forked()
        assert time.monotonic() - begin < 2.0
        self.forked()
        assert not storage._lock.locked()

    def test_ctrl_c_during_the_wait_is_not_lost(self) -> None:
        storage = InMemoryStorage()
        storage._lock.acquire()
        timer = threading.Timer(0.05, os.kill, args=(os.getpid(), signal.SIGINT))

        def fork() -> None:
            self.forked()
            time.sleep(1)

        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            timer.start()
            with pytest.raises(KeyboardInterrupt):
                fork()
        finally:
            signal.signal(signal.SIGINT, before)
            storage._lock.release()
            timer.join()

    def test_handles_are_made_meanwhile(self) -> None:
        done = threading.Event()

        def make() -> None:
            while not done.is_set():
                InMemoryStorage()

        makers = [threading.Thread(target=make) for _ in range(2)]
        for maker in makers:
            maker.start()
        errors: list[Any] = []
        hook, sys.unraisablehook = sys.unraisablehook, errors.append
        try:
            for _ in range(50):
                self.forked()
        finally:
            done.set()
            sys.unraisablehook = hook
            for maker in makers:
                maker.join()
        assert errors == []
