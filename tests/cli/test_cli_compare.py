"""``tunesmith compare``: the experiment file, the progress, and the whole from end to end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from cli.cli_helpers import COMMAND, bad, cli, environment, good, process, seen, terminal

import tunesmith
from tunesmith.cli import experiment, progress
from tunesmith.compare import ComparisonResult, Progress
from tunesmith.compare.methods import parse_methods
from tunesmith.distributions import FloatDistribution
from tunesmith.trial import TrialState

TINY = """
problem: {data: fashion-mnist-small, model: lenet5, n_train: 100, n_validation: 50, n_test: 50}
space:
  lr: {type: float, low: 1e-3, high: 1e-1, log: true}
  momentum: {type: float, low: 0.0, high: 0.9}
methods: [random, sobol]
trials: 3
repeats: 2
epochs: 1
"""


def written(folder: Path, text: str) -> str:
    file = folder / "experiment.yaml"
    file.write_text(text)
    return str(file)


# -- the file ------------------------------------------------------------------------------------------------------


def test_an_experiment_is_read(tmp_path: Path) -> None:
    found = experiment.load(written(tmp_path, TINY + "seed: 3\nout: there\njobs: 2\n"))
    assert found["space"]["lr"] == FloatDistribution(1e-3, 1e-1, log=True)
    assert {k: found[k] for k in ("methods", "trials", "repeats", "epochs", "seed", "out", "jobs")} == {
        "methods": ["random", "sobol"], "trials": 3, "repeats": 2, "epochs": 1, "seed": 3, "out": "there", "jobs": 2,
    }  # fmt: skip


def test_flags_override_the_file(tmp_path: Path) -> None:
    entries = experiment.load(written(tmp_path, TINY))
    flags = {"data": None, "model": "cnn", "space": "medium", "methods": "pso", "trials": 9, "repeats": None, "seed": 5}
    found = experiment.merged(entries, flags)
    assert found["problem"] == {**entries["problem"], "model": "cnn"}
    assert (found["space"], found["methods"], found["trials"], found["repeats"]) == ("medium", "pso", 9, 2)
    problem = experiment.make_problem(found)
    assert (problem.model, problem.data, problem.epochs, problem.n_train) == ("cnn", "fashion-mnist-small", 1, 100)
    assert (problem.seed, problem.split_seed) == (5, 5)
    assert set(problem.space) > {"lr", "weight_decay", "dropout"}
    assert experiment.budget(found) == {"trials": 9, "repeats": 2, "seed": 5}
    given = experiment.merged(entries, {"space": '{"lr": {"type": "float", "low": 0.1, "high": 0.2}}'})
    assert list(given["space"]) == ["lr"]


def test_rules_in_a_file(tmp_path: Path) -> None:
    text = TINY.replace(
        "[random, sobol]", "[random+median, {name: tpe, rule: asha, rule_options: {reduction_factor: 2}}]"
    )
    entries = experiment.load(written(tmp_path, text + "steps: 3\n"))
    assert [s.label for s in parse_methods(experiment.methods_of(entries))] == [
        "random+median", "tpe+asha(reduction_factor=2)",
    ]  # fmt: skip
    assert experiment.budget(experiment.merged(entries, {"steps": 4}))["steps"] == 4
    example = Path(__file__).parents[2] / "examples" / "compare_rules.yaml"
    found = experiment.load(str(example))
    assert [s.rule for s in parse_methods(experiment.methods_of(found))] == [None, "median", "asha", None, "asha"]
    assert experiment.make_problem(experiment.merged(found, {})).epochs == 9


def test_the_problem_may_keep_seeds_of_its_own(tmp_path: Path) -> None:
    entries = experiment.load(written(tmp_path, "problem: {seed: 8, split_seed: null}\nseed: 3\n"))
    problem = experiment.make_problem(experiment.merged(entries, {}))
    assert (problem.seed, problem.split_seed) == (8, None)


def test_the_example_is_valid() -> None:
    path = Path(__file__).parents[2] / "examples" / "compare.yaml"
    entries = experiment.load(str(path))
    assert set(entries) == set(experiment._TYPES) - {"lanes", "steps"}
    problem = experiment.make_problem(experiment.merged(entries, {}))
    assert list(problem.space) == ["lr", "momentum"]
    assert experiment.methods_of(entries) == ["grid", "random", "sobol", "pso"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trails: 3", "Unknown key 'trails'; known: problem, space, methods, trials, repeats, epochs, steps, seed, "
                      "out, jobs, lanes. Did you mean 'trials'?"),
        ("a: 1\nb: 2", "Unknown keys 'a', 'b'; known: problem"),
        ("problem: {dta: digits}", "Unknown key 'problem.dta'; known in 'problem': data, model, batch_size"),
        ("problem: {epochs: 3}", "Unknown key 'problem.epochs'"),
        ("space: {lr: {type: float, hgih: 1}}", "Unknown key 'space.lr.hgih'; known in 'space.lr': type, low, high"),
        ("space: {lr: {type: float, low: 2, high: 1}}", "space.lr: `low <= high` must hold"),
        ("steps: 0", "'steps' must be an integer of at least 1, but is 0"),
        ("trials: many", "'trials' must be an integer of at least 1, but is 'many'"),
        ("trials: 2.5", "'trials' must be an integer of at least 1, but is 2.5"),
        ("repeats: true", "'repeats' must be an integer of at least 1, but is True"),
        ("problem: digits", "'problem' must be a mapping"),
        ("space: [1]", "'space' must be small, medium, all, or a mapping"),
        ("methods: 3", "'methods' must be a list"),
        ("out: 3", "'out' must be the path of a folder"),
        ("trials: 3\ntrials: 4", "line 2: the key 'trials' stands twice"),
        ("- 1", "an experiment is a mapping with the keys problem"),
        ("", "it is empty; known keys: problem"),
        ("a: [1", "no valid YAML"),
    ],
)  # fmt: skip
def test_mistakes_in_a_file_name_the_file_and_the_path(text: str, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    found = bad("compare", path)
    assert message in found
    assert found.startswith(path)
    assert "\n" not in found
    assert sorted(p.name for p in tmp_path.iterdir()) == ["experiment.yaml"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data", "digts"], "Unknown data set 'digts'"),
        (["--model", "lenet"], "Unknown model 'lenet'"),
        (["--space", "tiny"], "Unknown size of a space 'tiny'; known: small, medium, all"),
        (["--space", '{"lr": {"type": "float", "low": -1, "high": 1}}'], "lr must be positive"),
        (["--space", '{"lrr": {"type": "float", "low": 0.1, "high": 1}}'], "'lrr'"),
        (["--methods", "randm"], "Unknown sampler 'randm'"),
        (["--methods", "random,random"], "methods: The methods ['random'] appear twice"),
        (["--methods", ""], "`methods` is empty"),
        (["--methods", "pso(inertia)"], "cannot be read"),
        (["--methods", "random+ahsa"], "Unknown pruner 'ahsa'"),
        (["--methods", "random+asha+median"], "has 2 stopping rules"),
        (["--methods", "tpe+pbt"], "schedule of hyperparameters"),
        (["--methods", "tpe+asha", "--steps", "3"], "reports 10 times; leave `steps` out"),
        (["--methods", "tpe+asha", "--lanes", "2"], "leave `lanes` out"),
        (["--steps", "0"], "--steps takes an integer of at least 1, not '0'"),
        (["--jobs", "0"], "--jobs takes an integer of at least 1 (or -1), not '0'"),
    ],
)
def test_impossible_flags(flags: list[str], message: str, tmp_path: Path) -> None:
    assert message in bad("compare", "--out", str(tmp_path / "out"), *flags)
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "There is no file" in bad("compare", str(tmp_path / "none.yaml"))
    assert cli("compare", "--trials", "0").exit_code == 2


@pytest.mark.parametrize("kind", ["file", "below a file"])
def test_a_folder_that_cannot_be_made(kind: str, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    folder = tmp_path / "taken" if kind == "file" else tmp_path / "taken" / "below"
    message = bad("compare", "--trials", "1", "--repeats", "1", "--epochs", "1", "--quiet", "--out", str(folder))
    assert str(folder) in message
    assert "name another" in message.lower()
    assert (tmp_path / "taken").read_text() == "mine"


# -- progress ------------------------------------------------------------------------------------------------------


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def test_the_tally_counts_and_estimates() -> None:
    clock = Clock()
    tally = progress.Tally(epochs=4, trials=5, now=clock)
    tally.take(Progress("skip", "x", message="no"))
    tally.take(Progress("study", "a", 0, done=10, total=20))
    assert tally.summary() == "10/20 trials"
    tally.take(Progress("trial", "a", 0, 0, done=10, total=20))
    for step in (1, 2):
        clock.time += 10
        tally.take(Progress("epoch", "a", 0, 0, step, 0.5, done=10, total=20))
    assert tally.running == {("a", 0): "trial 0, epoch 2/4"}
    assert tally.fraction_done == 10.5
    assert tally.rate == "0.1 it/s"
    assert tally.left == "6:20 left"  # 20 s for half a trial; 9.5 trials are left
    clock.time += 20
    tally.take(Progress("told", "a", 0, 0, value=0.5, done=11, total=20))
    assert tally.summary() == "11/20 trials  0.1 it/s  6:00 left"
    tally.take(Progress("told", "a", 0, 1, value=None, done=12, total=20))
    assert "1 failed" in tally.summary()


def test_the_tally_knows_methods_that_end_early() -> None:
    tally = progress.Tally(epochs=1, trials=5, now=Clock())
    for number in range(3):
        tally.take(Progress("trial", "grid", 0, number, done=number, total=20))
        tally.take(Progress("told", "grid", 0, number, value=1.0, done=number + 1, total=20))
    tally.take(Progress("done", "grid", 0, done=3, total=20))
    assert (tally.done, tally.total) == (3, 18)
    tally.take(Progress("trial", "pso", 0, 0, done=3, total=20))
    assert (tally.done, tally.total) == (3, 18)


def test_the_tally_counts_epochs_where_methods_have_rules() -> None:
    clock = Clock()
    tally = progress.Tally(epochs=4, trials=5, now=clock)
    for done, number in ((21, 7), (22, 8)):
        clock.time += 10
        tally.take(Progress("trial", "a", 0, number, done=done - 1, total=40, unit="epochs"))
        tally.take(Progress("epoch", "a", 0, number, 1, 0.5, done=done, total=40, unit="epochs"))
    assert tally.fraction_done == 22
    assert tally.summary() == "22/40 epochs  0.2 it/s  1:30 left"
    tally.take(Progress("done", "a", 0, done=22, total=40, unit="epochs"))
    assert (tally.done, tally.total) == (22, 40)  # it is the comparison that counts what is not needed


def test_hours_are_shown_as_hours() -> None:
    clock = Clock()
    tally = progress.Tally(epochs=1, trials=9, now=clock)
    tally.take(Progress("study", "a", 0, done=0, total=9))
    clock.time += 1800
    tally.take(Progress("told", "a", 0, 0, value=1.0, done=1, total=9))
    assert tally.left == "4:00:00 left"


def test_plain_lines_come_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    listener = progress.Plain(progress.Tally(epochs=2, trials=3), "The plan.", seconds=0.0)
    listener(Progress("skip", "optuna:tpe", message="not installed"))
    listener(Progress("study", "a", 0, done=1, total=6))
    listener(Progress("epoch", "a", 0, 1, 1, done=1, total=6))
    lines = capsys.readouterr().err.splitlines()
    assert lines[:3] == [
        "warning: optuna:tpe takes no part: not installed", "The plan.", "1 of 6 trials were done before; going on.",
    ]  # fmt: skip
    assert lines[-1].startswith("1/6 trials")
    assert lines[-1].endswith("a, repeat 0: trial 1, epoch 1/2")
    rare = progress.Plain(progress.Tally(epochs=2, trials=3), "The plan.", seconds=1000.0)
    for step in range(50):
        rare(Progress("epoch", "a", 0, 1, step, done=0, total=6))
    assert capsys.readouterr().err == "The plan.\n"


def test_long_labels_are_cut() -> None:
    assert progress.name_of("sobol", 3) == "sobol, repeat 3"
    name = progress.name_of("pso(inertia=0.7, topology=ring)", 12)
    assert name.endswith("..., repeat 12")
    assert len(name) <= 24


# -- from end to end -----------------------------------------------------------------------------------------------


def times(out: Path) -> dict[str, list[Any]]:
    """When every trial began and ended, by study."""
    storage = str(out / "studies.jsonl")
    names = tunesmith.get_all_study_names(storage)
    studies = {name: tunesmith.load_study(study_name=name, storage=storage) for name in names}
    return {name: [(t.datetime_start, t.datetime_complete) for t in study.trials] for name, study in studies.items()}


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A folder with a tiny comparison made by another process, and what it printed."""
    folder = tmp_path_factory.mktemp("compare")
    written(folder, TINY)
    found = process("compare", "experiment.yaml", "--out", "out", cwd=folder)
    assert found.returncode == 0, found.stderr
    return folder, found.stdout, found.stderr


def test_compare_prints_the_tables_and_writes_the_files(compared: tuple[Path, str, str]) -> None:
    folder, out, err = compared
    order = ["Table I", "Paired tests", "Table II", "Best configuration", "Files", "Report"]
    positions = [out.index(f"\n{word}") for word in order]
    assert positions == sorted(positions)
    assert out.splitlines()[-1] == "Report  out/report.html"
    first, *progress = err.splitlines()
    assert first == (
        "Comparing random, sobol on lenet5 and fashion-mnist-small: 3 trials each in 2 repeats, 1 epoch a trial. "
        "Folder: out/"
    )
    assert all("/12 trials" in line for line in progress)  # a line in ten seconds
    assert "\x1b" not in out
    files = {path.name for path in (folder / "out").iterdir()}
    assert {"result.json", "report.html", "tables.md", "trials.csv", "runs.csv", "tests.csv", "studies.jsonl"} <= files
    result = ComparisonResult.load(folder / "out")
    assert result.complete
    assert [len(run.trials) for run in result.runs] == [3, 3, 3, 3]
    assert all(run.test for run in result.runs)


def test_compared_again_it_does_nothing_new(compared: tuple[Path, str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, out, _ = compared
    before = times(folder / "out")
    monkeypatch.chdir(folder)
    again = cli("compare", "experiment.yaml", "--out", "out")
    assert again.exit_code == 0
    assert again.stderr.splitlines()[1:] == ["All 12 trials were done before."]
    assert times(folder / "out") == before
    assert again.stdout == out
    assert "Trials: 3\n" in good("show", "sobol/repeat-01", "-s", str(folder / "out" / "studies.jsonl"))


def test_another_comparison_in_the_same_folder_is_refused(compared: tuple[Path, str, str]) -> None:
    folder, _, _ = compared
    message = bad("compare", str(folder / "experiment.yaml"), "--epochs", "2", "--out", str(folder / "out"))
    assert "holds another comparison" in message
    assert "epochs: there 1, now 2" in message


def test_methods_with_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, TINY.replace("sobol", "tpe+asha(reduction_factor=2)"))
    monkeypatch.chdir(tmp_path)
    args = ["compare", "experiment.yaml", "--epochs", "4", "--repeats", "1", "--out", "out"]
    first = cli(*args)
    assert first.exit_code == 0, first.stderr
    assert first.stderr.startswith(
        "Comparing random, tpe+asha(reduction_factor=2) on lenet5 and fashion-mnist-small: the training of 3 whole "
        "trials each in 1 repeat, 4 epochs a trial. Folder: out/"
    )
    assert "the same budget of training: 12 epochs, which 3 whole trainings of 4 epochs" in " ".join(
        first.stdout.split()
    )
    result = ComparisonResult.load(tmp_path / "out")
    spent = [sum(len(trial.curves["val_loss"]) for trial in run.trials) for run in result.runs]
    assert spent == [12, 12]
    again = cli(*args)
    assert "All 24 epochs were done before." in again.stderr
    assert again.stdout == first.stdout


@pytest.mark.slow
def test_on_a_terminal_it_draws_bars(compared: tuple[Path, str, str]) -> None:
    folder, _, _ = compared
    args = ["compare", "experiment.yaml", "--epochs", "12", "--methods", "random", "--repeats", "1"]
    code, sent = terminal(*args, "--out", "on-terminal", cwd=folder)
    lines = seen(sent)
    assert code == 0
    assert max(len(line.rstrip()) for line in lines if "Comparing" not in line) <= 80
    assert any(re.match(r"all trials +━*[╸╺]?━+ \d/3 trials +[\d.]+ it/s +\d+:\d\d left", line) for line in lines)
    assert any(re.match(r"random, repeat 0 +━*[╸╺]?━+ trial \d, epoch \d+/12", line) for line in lines)
    assert lines[-1] == "Report  on-terminal/report.html"
    assert "Comparing random on lenet5" in sent


def test_quiet_says_nothing_but_the_result(compared: tuple[Path, str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, out, _ = compared
    monkeypatch.chdir(folder)
    found = cli("compare", "experiment.yaml", "--out", "out", "--quiet")
    assert (found.exit_code, found.stderr, found.stdout) == (0, "", out)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    tally = progress.Tally(epochs=1, trials=1)
    assert type(progress.choose(tally, True, "plan")) is progress.Silent
    assert type(progress.choose(tally, False, "plan")) is progress.Bars
    monkeypatch.setenv("TERM", "dumb")
    assert type(progress.choose(tally, False, "plan")) is progress.Plain


@pytest.mark.slow
def test_killed_in_the_middle_of_a_rule_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, TINY.replace("trials: 3", "trials: 4").replace("repeats: 2", "repeats: 1"))
    args = ["compare", "experiment.yaml", "--epochs", "9", "--methods", "tpe+asha(reduction_factor=3)", "--quiet"]
    running = subprocess.Popen(
        [*COMMAND, *args, "--out", "cut"], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    storage = str(tmp_path / "cut" / "studies.jsonl")
    end, paused = time.monotonic() + 60, 0
    while paused < 2 and time.monotonic() < end and running.poll() is None:
        time.sleep(0.01)
        if os.path.exists(storage) and tunesmith.get_all_study_names(storage):
            paused = [t.state for t in _first_study(storage).trials].count(TrialState.PAUSED)
    running.kill()
    running.communicate(timeout=60)
    assert running.returncode == -signal.SIGKILL
    monkeypatch.chdir(tmp_path)
    for folder in ("cut", "whole"):
        good(*args, "--out", folder)
    cut, whole = (ComparisonResult.load(tmp_path / name).to_dict(timings=False) for name in ("cut", "whole"))
    assert json.dumps(cut, sort_keys=True) == json.dumps(whole, sort_keys=True)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_and_resumed_it_is_what_it_would_have_been(
    how: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, TINY.replace("trials: 3", "trials: 5").replace("repeats: 2", "repeats: 1"))
    args = ["compare", "experiment.yaml", "--epochs", "12", "--methods", "random"]
    running = subprocess.Popen(
        [*COMMAND, *args, "--out", "cut"], cwd=tmp_path, env=environment(), text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    storage = str(tmp_path / "cut" / "studies.jsonl")
    end = time.monotonic() + 60
    done = 0
    while not done and time.monotonic() < end and running.poll() is None:
        time.sleep(0.01)
        if os.path.exists(storage) and tunesmith.get_all_study_names(storage):
            states = [t.state for t in _first_study(storage).trials]
            done = states.count(TrialState.COMPLETE)
    running.send_signal(how)
    if how is signal.SIGTERM:  # timeout(1) sends it twice
        running.send_signal(how)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 128 + how, (out, err)
    assert out == ""
    assert "Traceback" not in err
    assert re.search(r"Interrupted: \d of 5 trials are done and kept in cut/\. The same command goes on", err)
    assert f"  tunesmith {' '.join(args)} --out cut\n" in err
    kept = [(t.number, t.value) for t in _first_study(storage).trials if t.state is TrialState.COMPLETE]
    assert 1 <= len(kept) < 5
    monkeypatch.chdir(tmp_path)
    resumed = cli(*args, "--out", "cut")
    assert resumed.exit_code == 0, resumed.stderr
    assert f"{len(kept)} of 5 trials were done before; going on." in resumed.stderr
    trials = _first_study(storage).trials
    assert [(t.number, t.value) for t in trials[: len(kept)]] == kept
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 5
    good(*args, "--out", "whole", "--quiet")
    cut, whole = (ComparisonResult.load(tmp_path / name).to_dict(timings=False) for name in ("cut", "whole"))
    assert json.dumps(cut, sort_keys=True) == json.dumps(whole, sort_keys=True)


def test_an_interrupted_extension_leaves_no_old_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in the folder agrees with itself, also when the second session did not end."""
    written(tmp_path, TINY.replace("repeats: 2", "repeats: 1"))
    args = ["compare", "experiment.yaml", "--methods", "random", "--out", "more"]
    monkeypatch.chdir(tmp_path)
    good(*args, "--quiet")
    running = subprocess.Popen(
        [*COMMAND, *args, "--repeats", "40", "--quiet"], cwd=tmp_path, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    storage = str(tmp_path / "more" / "studies.jsonl")
    end = time.monotonic() + 60
    while time.monotonic() < end and running.poll() is None and len(tunesmith.get_all_study_names(storage)) < 40:
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=60)
    assert running.returncode == 143
    result = ComparisonResult.load(tmp_path / "more")
    assert not result.complete
    assert result.repeats == 40
    tables = (tmp_path / "more" / "tables.md").read_text()
    assert "UNFINISHED" in tables
    assert f"{sum(run.finished for run in result.runs)} of 40" in tables


def _first_study(storage: str) -> Any:
    name = tunesmith.get_all_study_names(storage)[0]
    for _ in range(200):  # just made: its first record may be on its way
        try:
            return tunesmith.load_study(study_name=name, storage=storage)
        except KeyError:
            time.sleep(0.01)
    raise AssertionError(f"{name} stays empty")
