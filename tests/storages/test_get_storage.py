"""From what a user writes to a storage; names; what is imported when."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tunesmith.storages
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.storages import (
    BaseStorage,
    InMemoryStorage,
    JournalFileBackend,
    JournalStorage,
    RDBStorage,
    discover,
    get_storage,
)


def test_what_users_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected: list[tuple[Any, type[BaseStorage], str | None]] = [
        (None, InMemoryStorage, None),
        ("studies.jsonl", JournalStorage, "studies.jsonl"),
        (f"{tmp_path}/absolute.jsonl", JournalStorage, "absolute.jsonl"),
        ("sqlite:///studies.db", RDBStorage, "studies.db"),
        (f"sqlite:///{tmp_path}/absolute.db", RDBStorage, "absolute.db"),
        ("sqlite+pysqlite:///driver.jsonl", RDBStorage, "driver.jsonl"),
        ("sqlite://", RDBStorage, None),
    ]
    for argument, kind, file in expected:
        with get_storage(argument) as storage:
            assert type(storage) is kind
            assert storage.append(storage.create("study"), []) == 1
            assert get_storage(storage) is storage
        assert file is None or (tmp_path / file).exists()
    assert get_storage(None) is not get_storage(None)


@pytest.mark.parametrize("string", ["", "studies.db", "studies.json", "nonsense://localhost", "x.jsonl "])
def test_strings_that_mean_nothing(string: str) -> None:
    with pytest.raises(InvalidValueError, match=r"memory.*\.jsonl.*sqlite:///") as caught:
        get_storage(string)
    assert repr(string) in str(caught.value)


@pytest.mark.parametrize("string", ["redis://localhost", "mssql+pyodbc://host/x", "oracle://u@host/x"])
def test_databases_that_are_not_supported(string: str) -> None:
    with pytest.raises(InvalidValueError, match=r"not supported. Give .*\.jsonl.*sqlite:///.*postgresql://") as caught:
        get_storage(string)
    assert repr(string) in str(caught.value)


@pytest.mark.parametrize("string", ["redis://u:{}@localhost", "{}://u:{}@h/x", "nobody://h/x?sslpassword={}&a=b"])
@pytest.mark.parametrize("password", ["s3cret", "with@s3cret", "with/s3cret", "with:s3cret@"])
def test_messages_show_no_password(string: str, password: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        get_storage(string.format(*["nobody"] * (string.count("{}") - 1), password))
    assert "***" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_other_types(tmp_path: Path) -> None:
    for wrong in (3, b"studies.jsonl", object(), RDBStorage):
        with pytest.raises(InvalidTypeError, match="storage must be"):
            get_storage(wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match="JournalStorage"):
        get_storage(JournalFileBackend(tmp_path / "log.jsonl"))  # type: ignore[arg-type]


def test_names() -> None:
    """All public names, Optuna's spelling of the journal's, and no others."""
    for name in tunesmith.storages.__all__:
        assert getattr(tunesmith.storages, name).__name__ == name
    assert set(tunesmith.storages.__all__) <= set(dir(tunesmith.storages))
    from tunesmith.storages.journal import JournalFileBackend as customary

    assert customary is tunesmith.storages.journal.JournalFileBackend is JournalFileBackend
    for name in ("NoSuchStorage", "no_such_module", "_private"):
        assert not hasattr(tunesmith.storages, name)


def test_only_the_database_imports_sqlalchemy() -> None:
    """The other backends, and refusing a folder that does not exist, work without loading it."""
    code = """
import sys
from tunesmith.storages import BaseStorage, InMemoryStorage, JournalFileBackend, JournalStorage, get_storage
get_storage(None)
try:
    get_storage("/no/such/folder/log.jsonl")
except ValueError:
    pass
assert "sqlalchemy" not in sys.modules
get_storage("sqlite://")
assert "sqlalchemy" in sys.modules
"""
    subprocess.run([sys.executable, "-c", "import sys; sys.path[:] = sys.argv[1:]\n" + code, *sys.path], check=True)


def test_a_backend_is_one_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that lies in the package is found, by discovery, by name and by the strings that it understands."""
    (tmp_path / "novel.py").write_text(
        """
from tunesmith.storages.memory import InMemoryStorage as _Base

class NovelStorage(_Base):
    understands = "the word novel"

    @classmethod
    def from_string(cls, storage):
        return cls() if storage == "novel" else None
"""
    )
    monkeypatch.setattr(tunesmith.storages, "__path__", [*tunesmith.storages.__path__, str(tmp_path)])
    try:
        assert [backend.__name__ for backend in discover()].count("NovelStorage") == 1
        assert type(get_storage("novel")) is tunesmith.storages.NovelStorage  # type: ignore[attr-defined]
        with pytest.raises(InvalidValueError, match="the word novel"):
            get_storage("nobel")
    finally:
        sys.modules.pop("tunesmith.storages.novel", None)
        vars(tunesmith.storages).pop("novel", None)
