"""Files are cut and bits of them flipped: a log opens to what is intact, or is refused; nothing is changed in silence.

Figure 5 of "Nothing lost": 1,000 truncations and 1,000 bit flips, of the file log and of the SQLite file, with and
without its write-ahead log.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from crew import command

from tunesmith.exceptions import TunesmithError
from tunesmith.storages import BaseStorage, get_storage

State = dict[str, list[Any]]

#: What is damaged: name -> (how the storage is opened, the files, whether the writer has closed them before).
KINDS: dict[str, tuple[str, list[str], bool]] = {
    "file log": ("{}/log.jsonl", ["log.jsonl"], True),
    "SQLite": ("sqlite:///{}/log.db", ["log.db"], True),
    "SQLite with its write-ahead log": ("sqlite:///{}/log.db", ["log.db", "log.db-wal"], False),
}


def run(_: str = "", times: int = 40, records: int = 60) -> dict[str, Any]:
    """Each kind of damage so many times to each kind of file.

    Returns:
        How often the log opened whole, opened shorter (what is there is as it was), was refused by a typed error (by
        its line where it has lines), by another one (``untyped``), and was neither (``silent``).
    """
    result: dict[str, Any] = {"times": times, "records": records}
    for kind, (url, files, closed) in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            whole = Path(folder) / "whole"
            whole.mkdir()
            state = _write(url, files, closed, whole, records)
            for damage in (_cut, _flip):
                outcomes: Counter[str] = Counter({"silent": 0})
                for seed in range(times):
                    outcomes[_outcome(url, whole, Path(folder) / "copy", damage, seed, state)] += 1
                result[f"{kind}, {damage.__name__[1:]}"] = dict(outcomes)
    return result


def _write(url: str, files: list[str], closed: bool, folder: Path, records: int) -> State:
    """Three studies with records in turn, one of them deleted."""
    live = folder.with_name("live")
    live.mkdir()
    storage = get_storage(url.format(live))
    studies = [storage.create(f"study {k}") for k in range(3)]
    for k in range(records):
        storage.append(studies[k % 3], [{"k": k, "x": k / 7, "padding": "x" * (10 * k % 400)}])
    storage.delete(studies[1])
    state = _state(storage)
    if closed:
        storage.close()
    for file in files:
        shutil.copy(live / file, folder)
    storage.close()
    return state


def _state(storage: BaseStorage) -> State:
    return {f"{study.id} {study.name}": storage.read(study.id) for study in storage.studies()}


def _cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def _flip(data: bytearray, chance: random.Random) -> None:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _outcome(url: str, whole: Path, folder: Path, damage: Any, seed: int, state: State) -> str:
    chance = random.Random(seed)
    shutil.copytree(whole, folder)
    try:
        file = chance.choice(sorted(folder.iterdir()))
        data = bytearray(file.read_bytes())
        damage(data, chance)
        file.write_bytes(data)
        try:
            with get_storage(url.format(folder)) as storage:
                found = _state(storage)
                if found == state:
                    return "whole"
                if not _shorter(found, state):
                    return "silent"
                for name, records in found.items():  # it goes on from there
                    if storage.append(name.split()[0], []) != len(records) + 1:
                        return "silent"
                return "shorter"
        except TunesmithError as error:
            return "refused by line" if getattr(error, "line", None) else "refused"
        except Exception as error:
            return f"untyped {type(error).__name__}: {error}"
    finally:
        shutil.rmtree(folder)


def _shorter(found: State, state: State) -> bool:
    """Whether this is what was once there: all that is found was written so, and nothing follows what is missing."""
    deleted = {name for name in found if name.endswith(" study 1")}  # its deletion is missing
    return all(
        name in deleted or (name in state and records == state[name][: len(records)]) for name, records in found.items()
    )


if __name__ == "__main__":
    command(__doc__ or "", run, {"times": 1000, "records": 300})
