"""The scripts in examples/ run, in seconds, and print what they promise."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"
NEEDS_TORCH = {"pytorch_generator.py"}
PROMISED = {
    "quadratic.py": ["100 trials, ", "best value ", "'kind': "],
    "ask_and_tell.py": ["day 1: 4 configurations", "day 3: 12 configurations", "best parameters: {'temperature'"],
    "compare_function.py": [
        "Table I: ",
        "grid ",
        "random ",
        "sobol ",
        "pso(topology=ring) ",
        "Table II: ",
        "Written: ",
    ],
    "pytorch_generator.py": ["COMPLETE  6 epochs", "PRUNED", "best: trial "],
}


def run(script: str, folder: Path) -> str:
    command = [sys.executable, str(EXAMPLES / script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return done.stdout


def test_all_examples_are_known() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(PROMISED)


@pytest.mark.parametrize("script", sorted(PROMISED))
def test_example(script: str, tmp_path: Path) -> None:
    if script in NEEDS_TORCH and importlib.util.find_spec("torch") is None:
        pytest.skip(f"{script} trains with PyTorch, which is not installed")
    output = run(script, tmp_path)
    for text in PROMISED[script]:
        assert text in output, output
