"""The house: what an import costs, rooms that find their plug-ins by name, and layers that hold."""

from __future__ import annotations

import ast
import importlib
import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from core.helpers import Place, study_in

import tunesmith
from tunesmith import pruners, samplers, storages
from tunesmith.exceptions import InvalidValueError

ROOT = Path(__file__).parents[2]
HEAVY = {
    "torch", "sqlalchemy", "pandas", "rich", "typer", "scipy", "plotly", "sklearn", "yaml", "optuna", "matplotlib",
    "sqlite3", "jinja2", "pooch", "multiprocessing", "asyncio", "concurrent.futures.process",
}  # fmt: skip


def modules_after(code: str) -> set[str]:
    """The modules that a fresh process has after running ``code``."""
    script = f"{code}\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd="/")
    return set(json.loads(done.stdout.splitlines()[-1]))


class TestImports:
    def test_the_package_alone_is_next_to_nothing(self) -> None:
        found = modules_after("import tunesmith")
        assert not found & HEAVY
        assert {m for m in found if m.startswith("tunesmith")} == {"tunesmith", "tunesmith._version"}
        assert "numpy" not in found

    @pytest.mark.parametrize(
        "code",
        [
            "import tunesmith, tunesmith.samplers, tunesmith.pruners, tunesmith.storages, tunesmith.executors",
            "from tunesmith import *",
            "import tunesmith as ts; ts.create_study, ts.Float, ts.TrialPruned, ts.logging, ts.distributions",
            "import tunesmith as ts\n"
            "ts.logging.set_verbosity(40)\n"
            "study = ts.create_study(seed=1, sampler='random')\n"
            "study.optimize(lambda t: t.suggest_float('x', 0, 1), n_trials=3, n_jobs=1)\n"
            "study.best_value, study.trials, study.history.X",
        ],
        ids=["rooms", "star", "names", "a study"],
    )
    def test_a_study_in_memory_needs_numpy_alone(self, code: str) -> None:
        assert not modules_after(code) & HEAVY

    def test_a_file_needs_no_database(self, tmp_path: Path) -> None:
        code = f"import tunesmith; tunesmith.create_study(storage={str(tmp_path / 's.jsonl')!r})"
        assert not modules_after(code) & {"sqlalchemy", "sqlite3", "torch", "pandas"}

    def test_star_and_dir(self) -> None:
        names: dict[str, Any] = {}
        exec("from tunesmith import *", names)
        assert set(tunesmith.__all__) <= set(names) | {"__version__"}
        assert set(tunesmith.__all__) <= set(dir(tunesmith))
        for name in dir(tunesmith):
            if name not in (
                "cli",
                "compare",
                "integrations",
                "numerics",
                "testing",
                "train",
                "visualization",
                "importance",
            ):
                assert getattr(tunesmith, name) is not None
        with pytest.raises(AttributeError, match="nonsense"):
            _ = tunesmith.nonsense
        for room in (samplers, pruners, storages):
            with pytest.raises(AttributeError, match="Nonsense"):
                _ = room.NonsenseSampler  # type: ignore[attr-defined]
            assert [n for n in dir(room) if not hasattr(room, n)] == []


SAMPLER = '''
"""Always the middle."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tunesmith.samplers._base import BaseSampler, Proposal
from tunesmith.space import Space


@dataclass(frozen=True)
class MiddleSampler(BaseSampler):
    """The middle of every range, moved by ``shift``."""

    aliases: ClassVar = {"off-centre": {"shift": 0.25}}
    shift: float = 0.0
    seed: int | None = None

    def propose(self, space, history, rng, n):
        raw = space.decode(np.full((n, len(space)), 0.5 + self.shift))
        return [Proposal(space.to_params(row), {"middle.shift": self.shift}) for row in raw]

    def independent(self, name, distribution, history, rng):
        return self.propose(Space({name: distribution}), history, rng, 1)[0].params[name]
'''

PRUNER = '''
"""Stops everything at its first report."""

from dataclasses import dataclass

from tunesmith.pruners._base import BasePruner, Verdict


@dataclass(frozen=True)
class ImpatientPruner(BasePruner):
    """Never satisfied."""

    patience: int = 0

    def verdict(self, history, trial):
        return Verdict.STOP if len(trial.reports) > self.patience else Verdict.GO
'''


@pytest.fixture
def rooms(tmp_path: Path) -> Iterator[Path]:
    """Folders that belong to the rooms ``samplers`` and ``pruners`` for the time of the test."""
    packages = {"samplers": samplers, "pruners": pruners}
    for name, package in packages.items():
        (tmp_path / name).mkdir()
        package.__path__.append(str(tmp_path / name))
    importlib.invalidate_caches()
    yield tmp_path
    for name, package in packages.items():
        package.__path__.remove(str(tmp_path / name))
        for module in [
            m for m in sys.modules if m.startswith(f"tunesmith.{name}.") and m.endswith(("middle", "impatient"))
        ]:
            del sys.modules[module]
            delattr(package, module.rpartition(".")[2])
    importlib.invalidate_caches()


class TestOneNewFile:
    def test_is_a_new_sampler(self, rooms: Path, place: Place) -> None:
        """No list is edited: it has its name, its alias, its place in the log, and what every sampler must do."""
        assert "MiddleSampler" not in samplers.available()
        (rooms / "samplers" / "middle.py").write_text(SAMPLER)
        importlib.invalidate_caches()
        assert "MiddleSampler" in samplers.available()
        assert {"middle", "off-centre"} <= set(samplers.known_names())
        assert samplers.get_sampler("Off_Centre").shift == 0.25  # type: ignore[attr-defined]
        assert samplers.get_sampler("middle", shift=0.1) == samplers.MiddleSampler(shift=0.1)
        study = study_in(place, sampler="middle")
        study.optimize(lambda t: t.suggest_float("x", 0, 1) + t.suggest_int("n", 1, 9), n_trials=2)
        assert [t.params for t in study.trials] == [{"x": 0.5, "n": 5}] * 2
        loaded = study_in(place)
        assert loaded.sampler == samplers.MiddleSampler()
        loaded.optimize(lambda t: t.suggest_float("x", 0, 1) + t.suggest_int("n", 1, 9), n_trials=1)
        assert loaded.history.tag("middle.shift").tolist()[1:] == [0.0, 0.0]
        with pytest.raises(InvalidValueError, match="middle"):
            tunesmith.create_study(sampler="middel")
        with pytest.raises(InvalidValueError, match="speed"):
            samplers.get_sampler("middle", speed=9)

    def test_is_a_new_pruner(self, rooms: Path) -> None:
        (rooms / "pruners" / "impatient.py").write_text(PRUNER)
        importlib.invalidate_caches()
        assert "ImpatientPruner" in pruners.available()
        study = tunesmith.create_study(pruner="impatient")
        study.optimize(lambda t: (v for v in (1.0, 2.0)), n_trials=2)
        assert [t.state.name for t in study.trials] == ["PRUNED"] * 2
        assert study.pruner == pruners.ImpatientPruner()

    def test_one_that_is_gone_says_so(self, rooms: Path, disk: Place) -> None:
        """A study made with a plug-in that is not there any more can be read, and asks for it when it should go on."""
        study_in(disk, sampler=samplers.from_spec({"name": "RandomSampler", "args": {"seed": None}}))
        study = study_in(disk)
        study._log.append([{"e": "config", "sampler": {"name": "GoneSampler", "args": {}}}])
        again = study_in(disk)
        assert again.trials == []
        with pytest.raises(InvalidValueError, match=r"'GoneSampler'.*pass `sampler=`"):
            again.ask()

    def test_one_whose_arguments_have_changed_says_so(self, disk: Place) -> None:
        study = study_in(disk)
        study._log.append([{"e": "config", "sampler": {"name": "RandomSampler", "args": {"speed": 3}}}])
        with pytest.raises(InvalidValueError, match="speed"):
            study_in(disk).ask()


def test_a_sampler_of_the_same_name_from_elsewhere() -> None:
    """The log knows that it is not the one of the room, and the study does not go on with the wrong one."""
    other = type("RandomSampler", (samplers.RandomSampler,), {"__module__": "elsewhere"})
    storage = storages.InMemoryStorage()
    tunesmith.create_study(study_name="s", storage=storage, sampler=other())
    with pytest.raises(InvalidValueError, match="cannot be rebuilt"):
        tunesmith.load_study(study_name="s", storage=storage).ask()


def test_the_layers_hold() -> None:
    """Rooms import lower rooms only, and there is no cycle."""
    tool = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    if tool is None:
        pytest.skip("import-linter is not installed (it is in the extra 'dev')")
    done = subprocess.run([tool, "--no-cache"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_but_testing_needs_pytest() -> None:
    """The kits do, and nothing imports them."""
    code = textwrap.dedent(
        """
        import sys
        sys.modules["pytest"] = None
        import tunesmith.study, tunesmith.samplers, tunesmith.storages, tunesmith.pruners
        tunesmith.samplers.available(), list(tunesmith.storages.discover())
        """
    )
    assert not {m for m in modules_after(code) if m.startswith("tunesmith.testing")}


@pytest.mark.parametrize(
    "room", ["samplers", "pruners", "storages", "executors", "integrations", "train.data", "train.families"]
)
def test_plug_ins_know_nothing_of_each_other(room: str) -> None:
    """A public file of a room imports no other public file of it."""
    folder = ROOT.joinpath("src", "tunesmith", *room.split("."))
    public = {path.stem for path in folder.glob("[!_]*")}
    assert len(public) > 1 or room == "integrations"
    for path in folder.glob("[!_]*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                named |= {f"{node.module}.{alias.name}" for alias in node.names}
        siblings = {name.removeprefix(f"tunesmith.{room}.").split(".")[0] for name in named if f".{room}." in name}
        assert not siblings & (public - {path.stem}), path.name
