"""Every storage found by discovery passes the kit, in all of its variants: on servers, and in its durable mode."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from tunesmith.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage, discover
from tunesmith.testing._places import Backend
from tunesmith.testing.storages import PersistenceKit, StorageKit

FOUND: list[Backend] = [(found, options) for found in discover() for options in found.variants]


def name(backend: Backend) -> str:
    return "-".join([backend[0].__name__, *map(str, backend[1].values())])


def parameters(backends: list[Backend]) -> list[Any]:
    """Those on servers, which have to be started, are slow."""
    return [pytest.param(b, marks=pytest.mark.slow if "database" in b[1] else (), id=name(b)) for b in backends]


class Discovered:
    """Before the place is made, the server is started."""

    @pytest.fixture
    def backend(self, request: pytest.FixtureRequest, server: Callable[[str], str]) -> Backend:
        if "database" in request.param[1]:
            server(request.param[1]["database"])
        return request.param


@pytest.mark.parametrize("backend", parameters(FOUND), indirect=True)
class TestStorages(Discovered, StorageKit):
    pass


@pytest.mark.parametrize("backend", parameters([b for b in FOUND if b[0].persistent]), indirect=True)
class TestPersistentStorages(Discovered, PersistenceKit):
    pass


def test_discovery_finds_the_backends() -> None:
    found = {backend for backend, _ in FOUND}
    assert {InMemoryStorage, JournalStorage, RDBStorage} <= found
    assert {options.get("database") for backend, options in FOUND if backend is RDBStorage} >= {"postgresql", "mysql"}
    assert all(issubclass(backend, BaseStorage) and not inspect.isabstract(backend) for backend in found)
