"""Random histories: every storage behaves as a plain dict does, whatever is done to it in whatever order."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.exceptions import DuplicatedStudyError, StudyNotFoundError
from tunesmith.storages import BaseStorage, RDBStorage, discover

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
records = st.lists(st.dictionaries(st.text(max_size=5), json_values, max_size=3), max_size=3)
which = st.integers(0, 5)  # a study, deleted ones included
steps = st.one_of(
    st.tuples(st.just("create"), st.sampled_from(["a", "b", "ü", ""])),
    st.tuples(st.just("append"), which, records),
    st.tuples(st.just("append"), which, records),
    st.tuples(st.just("append"), which, records),
    st.tuples(st.just("read"), which, st.integers(0, 6)),
    st.tuples(st.just("delete"), which),
    st.tuples(st.just("heartbeat"), which, st.sampled_from(["a", "b"])),
    st.tuples(st.just("end_heartbeat"), which, st.sampled_from(["a", "b"])),
    st.tuples(st.just("other handle")),
    st.tuples(st.just("reopen")),
)


class Model:
    """The contract in a dict: id -> (name, records); and in another one: id -> workers that are alive."""

    def __init__(self) -> None:
        self.workers: dict[str, set[str]] = {}
        self.studies: dict[str, tuple[str, list[Any]]] = {}
        self.ids: list[str] = []

    def id(self, index: int) -> str:
        return self.ids[index] if index < len(self.ids) else "0" * 32

    def do(self, store: BaseStorage, step: tuple[Any, ...]) -> None:
        kind, *arguments = step
        if kind == "create":
            (name,) = arguments
            if name in [known for known, _ in self.studies.values()]:
                with pytest.raises(DuplicatedStudyError):
                    store.create(name)
                return
            study = store.create(name)
            assert study not in self.ids
            self.ids.append(study)
            self.studies[study], self.workers[study] = (name, []), set()
            return
        study = self.id(arguments.pop(0))
        if kind == "end_heartbeat":
            store.end_heartbeat(study, *arguments)
            self.workers.get(study, set()).discard(*arguments)
        elif study not in self.studies:
            with pytest.raises(StudyNotFoundError):
                getattr(store, kind)(study, *arguments)
        elif kind == "heartbeat":
            store.heartbeat(study, *arguments)
            self.workers[study].add(*arguments)
        elif kind == "append":
            self.studies[study][1].append(arguments[0])
            assert store.append(study, arguments[0]) == len(self.studies[study][1])
        elif kind == "read":
            assert repr(store.read(study, arguments[0])) == repr(self.studies[study][1][arguments[0] :])
        else:
            store.delete(study)
            del self.studies[study], self.workers[study]

    def check(self, store: BaseStorage) -> None:
        assert [(study.id, study.name) for study in store.studies()] == [(s, n) for s, (n, _) in self.studies.items()]
        for study, (_, expected) in self.studies.items():
            assert repr(store.read(study)) == repr(expected)  # repr tells 1 from 1.0 and True
            assert set(store.heartbeats(study)) == self.workers[study]


def check(backend: type[BaseStorage], options: Mapping[str, Any], history: list[tuple[Any, ...]]) -> None:
    model = Model()
    with tempfile.TemporaryDirectory() as folder:
        handles = [backend.for_testing(Path(folder), **options)]
        for step in [("create", "a"), *history]:
            if step[0] not in ("reopen", "other handle"):
                model.do(handles[0], step)
            elif backend.persistent:
                if step[0] == "reopen":
                    handles.pop(0).close()
                handles.insert(0, backend.for_testing(Path(folder), **options))
                handles.reverse()
        for handle in handles:
            model.check(handle)
            handle.close()
        if backend.persistent:
            with backend.for_testing(Path(folder), **options) as handle:
                model.check(handle)


@pytest.mark.parametrize("backend", list(discover()), ids=lambda backend: backend.__name__)
@settings(max_examples=40)
@given(history=st.lists(steps, max_size=30))
def test_random_histories(backend: type[BaseStorage], history: list[tuple[Any, ...]]) -> None:
    check(backend, {}, history)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_random_histories_on_servers(server: Callable[[str], str], kind: str) -> None:
    """Fewer of them: each begins with the making of tables."""
    server(kind)

    @settings(max_examples=8)
    @given(history=st.lists(steps, min_size=10, max_size=40))
    def run(history: list[tuple[Any, ...]]) -> None:
        check(RDBStorage, {"database": kind}, history)

    run()
