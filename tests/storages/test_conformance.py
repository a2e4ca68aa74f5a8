"""Every storage found by discovery passes the kit; those that write to a disk also in their durable mode."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from tunesmith.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage, discover
from tunesmith.testing.storages import PersistenceKit, StorageKit

Backend = tuple[type[BaseStorage], dict[str, Any]]

FOUND: list[Backend] = [(found, {}) for found in discover()]
DURABLE: list[Backend] = [(found, {"durability": "power"}) for found in (JournalStorage, RDBStorage)]


def name(backend: Backend) -> str:
    return backend[0].__name__ + "".join(f"-{value}" for value in backend[1].values())


class TestStorages(StorageKit):
    @pytest.fixture(params=FOUND + DURABLE, ids=name)
    def backend(self, request: pytest.FixtureRequest) -> Backend:
        return request.param


class TestPersistentStorages(PersistenceKit):
    @pytest.fixture(params=[found for found in FOUND + DURABLE if found[0].persistent], ids=name)
    def backend(self, request: pytest.FixtureRequest) -> Backend:
        return request.param


def test_discovery_finds_the_backends() -> None:
    found = {backend for backend, _ in FOUND}
    assert {InMemoryStorage, JournalStorage, RDBStorage} <= found
    assert len(found) == len(FOUND)
    assert all(issubclass(backend, BaseStorage) and not inspect.isabstract(backend) for backend in found)
