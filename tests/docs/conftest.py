"""Modules that the tests of the documentation load from their files."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent


def load(path: Path) -> ModuleType:
    """Import a file that is in no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def page_runner() -> ModuleType:
    """``tests/docs/page_runner.py``."""
    return load(HERE / "page_runner.py")


@pytest.fixture(scope="session")
def script() -> ModuleType:
    """``scripts/make_reference.py``."""
    pytest.importorskip("torch", reason="the reference describes tunesmith.train, which needs PyTorch to be imported")
    return load(HERE.parents[1] / "scripts" / "make_reference.py")
