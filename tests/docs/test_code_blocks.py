"""The code blocks of the README and the documentation run, and give what the pages show."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGES = [ROOT / "README.md", *sorted(p for p in (ROOT / "docs").glob("*.md") if p.name != "reference.md")]

#: What a page needs besides tunesmith itself.
NEEDS = {
    "README.md": ("torch",),
    "quickstart.md": ("torch", "pandas"),
    "optuna.md": ("optuna",),
    "clusters.md": ("ray",),
    "pattern.md": ("torch", "pytest"),
}


def _marked(page: Path) -> object:
    """The pages take minutes together; the README is what everybody sees first."""
    return page if page.name == "README.md" else pytest.param(page, marks=pytest.mark.slow)


@pytest.mark.parametrize("page", [_marked(page) for page in PAGES], ids=lambda p: p.name)
def test_page(page: Path, tmp_path: Path) -> None:
    """Every block of the page, in a process and a folder of its own."""
    if missing := [m for m in NEEDS.get(page.name, ()) if importlib.util.find_spec(m) is None]:
        pytest.skip(f"{page.name} shows code that needs {', '.join(missing)}")
    command = [sys.executable, str(HERE / "page_runner.py"), str(page)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-3000:]}"
    assert int(done.stdout.split()[0]) > 0
