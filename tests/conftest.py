"""Shared test settings."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores; read when NumPy and torch are imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("tunesmith", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("tunesmith")


@pytest.fixture(autouse=True)
def quiet_library() -> Iterator[None]:
    """One line a trial would drown the output of a failing test."""
    import tunesmith

    tunesmith.logging.set_verbosity(tunesmith.logging.WARNING)
    yield
    tunesmith.logging.set_verbosity(tunesmith.logging.INFO)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """In CI (TUNESMITH_NO_SKIP) a skipped test is a failed one: what it needs should have been installed."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.skipped and os.environ.get("TUNESMITH_NO_SKIP") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped although TUNESMITH_NO_SKIP is set: {report.longrepr}"
