"""The log in a file: its format, torn lines, damaged lines, blocks."""

from __future__ import annotations

import binascii
from pathlib import Path
from typing import Any

import pytest

from tunesmith.exceptions import (
    LogDamagedError,
)
from tunesmith.storages import JournalFileBackend, JournalStorage, StudyRecord, _logfile
from tunesmith.storages._logfile import HEADER, seal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


def open_log(path: Path, **options: Any) -> JournalStorage:
    return JournalStorage(JournalFileBackend(path, **options))


def state(store: JournalStorage) -> list[tuple[StudyRecord, list[Any]]]:
    return [(study, store.read(study.id)) for study in store.studies()]


def write_small_log(path: Path) -> list[tuple[int, list[tuple[StudyRecord, list[Any]]]]]:
    """A log with every kind of line. After each line: the length of the file, and what a reader finds."""
    store = open_log(path)
    steps = [(path.stat().st_size, state(store))]

    def step(_: Any) -> None:
        steps.append((path.stat().st_size, state(store)))

    one = store.create("one")
    step(one)
    step(store.append(one, [{"k": 1}]))
    two = store.create("zwö")
    step(two)
    step(store.append(two, [{"k": 2, "text": "a\nb ü"}, {}]))
    step(store.append(one, []))
    store.delete(one)
    step(None)
    step(store.append(two, [{"k": 3}]))
    store.close()
    return steps


def test_format(path: Path) -> None:
    """The documented format, byte by byte: it is a promise to those who read logs with other tools."""
    store = open_log(path)
    study = store.create("dïgits")
    store.append(study, [{"x": 0.1, "s": "ü"}, {"y": None}])
    store.append(study, [])
    store.delete(study)
    lines = path.read_bytes().split(b"\n")
    assert [line[9:].decode() for line in lines[:-1]] == [
        '{"format":"tunesmith log","version":1}',
        f'1 create {{"id":"{study}","name":"dïgits"}}',
        '1 1 [{"x":0.1,"s":"ü"},{"y":null}]',
        "1 2 []",
        f'1 delete {{"id":"{study}"}}',
    ]
    assert lines[0] == b'95062db4 {"format":"tunesmith log","version":1}'
    assert lines[-1] == b""
    assert all(line[:9] == b"%08x " % binascii.crc32(line[9:]) for line in lines[:-1])


def test_cut_at_every_byte(path: Path) -> None:
    """Cut anywhere, a log opens to its last intact line, is not changed by reading, and goes on from there."""
    steps = write_small_log(path)
    whole = path.read_bytes()
    for length in range(len(whole) + 1):
        path.unlink()
        path.write_bytes(whole[:length])
        end, expected = ([(len(HEADER), [])] + [step for step in steps if step[0] <= length])[-1]
        with open_log(path) as store:
            assert state(store) == expected, length
            if length >= len(HEADER):
                assert path.read_bytes() == whole[:length]
            study = store.create("after the crash")
            assert path.read_bytes()[:end] == whole[:end]
            assert store.append(study, [{"k": 4}]) == 1
            for record, events in expected:
                assert store.append(record.id, [{"k": 5}]) == len(events) + 1
            after = state(store)
        with open_log(path) as store:
            assert state(store) == after
            assert [record for record, _ in after] == [*(r for r, _ in expected), StudyRecord(study, "after the crash")]
            assert store.read(study) == [[{"k": 4}]]


def test_torn_line_under_an_open_reader(path: Path) -> None:
    """A reader ignores the torn line; the next writer cuts it off, even if its own line is as long."""
    writer, reader = open_log(path), open_log(path)
    study = writer.create("study")
    assert reader.read(study) == []
    line = seal(b'1 1 [{"k":1}]')
    for torn in (line[:-1], line, line + line):
        with open(path, "ab") as file:
            file.write(torn[: len(line) - 1])
        position = len(reader.read(study)) + 1
        assert writer.append(study, [{"k": position}]) == position
        assert reader.read(study) == [[{"k": k}] for k in range(1, position + 1)]
    assert len(path.read_bytes().splitlines()) == 5


def test_flipped_bits_are_never_silent(path: Path) -> None:
    """Any flipped bit of a complete line is refused by line number; in the last newline it makes a torn line."""
    steps = write_small_log(path)
    whole = path.read_bytes()
    for offset in range(len(whole)):
        number = whole[:offset].count(b"\n") + 1
        for bit in (0x01, 0x20, 0x80):
            flipped = bytearray(whole)
            flipped[offset] ^= bit
            path.write_bytes(flipped)
            if offset == len(whole) - 1:
                with open_log(path) as store:
                    assert state(store) == steps[-2][1]
                continue
            with pytest.raises(LogDamagedError, match=f"line {number}") as caught:
                open_log(path)
            assert caught.value.line == number
            assert path.read_bytes() == flipped


def test_damage_behind_an_open_reader(path: Path) -> None:
    """Damage is found wherever it comes: in new lines, or in lines that were checked when they were new."""
    store = open_log(path)
    study = store.create("study")
    for k in range(5):
        store.append(study, [{"k": k}])
    whole = path.read_bytes()
    with open(path, "r+b") as file:
        file.seek(whole.index(b'{"k":3}') + 5)
        file.write(b"8")
    with pytest.raises(LogDamagedError, match="line 6") as caught:
        store.read(study)
    assert caught.value.line == 6
    assert store.read(study, 4) == [[{"k": 4}]]
    path.write_bytes(whole + b"00000000 1 6 []\n")
    for call in (store.studies, lambda: store.read(study), lambda: store.append(study, [])):
        with pytest.raises(LogDamagedError, match="line 8"):
            call()
    path.write_bytes(whole)
    assert store.append(study, [{"k": 5}]) == 6
    assert store.read(study) == [[{"k": k}] for k in range(6)]


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b'1 1 [{"k":1}]', 4),  # a position twice
        (b'1 3 [{"k":1}]', 4),  # a gap
        (b'2 1 [{"k":1}]', 4),  # no such study
        (b'1 create {"id":"x","name":"y"}', 4),  # an ordinal twice
        (b'2 create {"id":"x"}', 4),
        (b"2 create nonsense", 4),
        (b"2 delete {}", 4),
        (b"1 rename {}", 4),
        (b"1 2", 4),
        (b"", 4),
    ],
)
def test_lines_out_of_order(path: Path, body: bytes, line: int) -> None:
    """A right checksum does not make a line right."""
    with open_log(path) as store:
        store.append(store.create("study"), [{"k": 0}])
    with open(path, "ab") as file:
        file.write(seal(body))
    with pytest.raises(LogDamagedError, match=f"line {line}") as caught:
        open_log(path)
    assert caught.value.line == line


@pytest.mark.parametrize("text", [b"", b"{}", b"[", b"[],[]", b"1", b'["\xff"]', b"[" * 100_000])
def test_records_that_are_no_json_lists(path: Path, text: bytes) -> None:
    """JSON is parsed when it is read; what is wrong then is refused by line number, among good neighbours."""
    store = open_log(path)
    study = store.create("study")
    store.append(study, [{"k": 0}])
    with open(path, "ab") as file:
        file.write(seal(b"1 2 " + text))
    store.append(study, [{"k": 2}])
    with pytest.raises(LogDamagedError, match="line 4") as caught:
        store.read(study)
    assert caught.value.line == 4
    assert store.read(study, 2) == [[{"k": 2}]]


def test_blocks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs larger than what is read at once: lines across blocks, gaps that are read over and gaps that are not."""
    monkeypatch.setattr(_logfile, "_BLOCK", 200)
    monkeypatch.setattr(_logfile, "_GAP", 90)
    store = open_log(path)
    one, two = store.create("one"), store.create("two")
    for k in range(60):
        store.append(one if k % 7 < 4 else two, [{"k": k, "text": "x" * (k * 37 % 450)}])
    texts = [[{"k": k, "text": "x" * (k * 37 % 450)}] for k in range(60)]
    for handle in (store, open_log(path)):
        assert handle.read(one) == [texts[k] for k in range(60) if k % 7 < 4]
        assert handle.read(two, 5) == [texts[k] for k in range(60) if k % 7 >= 4][5:]
