"""Fixtures of the core's tests: a place for a study in every kind of storage, and the two libraries to compare."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from core.helpers import KINDS, ON_DISK, Place


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A store of each kind."""
    found = Place(request.param, tmp_path)
    yield found
    found.close()


@pytest.fixture(params=ON_DISK)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A store of each kind that other processes can open."""
    found = Place(request.param, tmp_path)
    yield found
    found.close()


@pytest.fixture(params=["optuna", "tunesmith"])
def optuna(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """The library a script is run with: what the test asserts holds for both."""
    module = pytest.importorskip(request.param)
    module.logging.set_verbosity(module.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", module.exceptions.ExperimentalWarning)
        yield module
    module.logging.set_verbosity(module.logging.INFO)


@pytest.fixture
def no_warnings() -> Iterator[None]:
    """A warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
