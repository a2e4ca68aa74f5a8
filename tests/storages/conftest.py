"""Servers for the tests of this folder: started when the first test needs one, and one for all processes of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from storages import servers


@pytest.fixture(scope="session")
def shared_place(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that the processes of pytest-xdist share."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture
def server(shared_place: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """``server("postgresql")`` is the URL of one, which :meth:`for_testing` finds, too; skips where there is none."""

    def get(kind: str) -> str:
        try:
            url = servers.shared(kind, shared_place)
        except servers.Missing as error:
            pytest.skip(str(error))
        monkeypatch.setenv(f"TUNESMITH_TEST_{kind.upper()}", url)
        return url

    return get
