"""Settings of the training tests."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def no_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the data of the machine it runs on, its cache, or a network."""
    monkeypatch.delenv("TUNESMITH_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("socket.socket.connect", _no_network)
    monkeypatch.setattr("socket.getaddrinfo", _no_network)


def _no_network(*_: object, **__: object) -> None:
    raise OSError("tests have no network")
