"""The folder of a comparison: one store of studies, one description, one owner at a time.

``comparison.json`` says what is compared; it is what keeps two different comparisons out of one folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunesmith.exceptions import InvalidValueError, StorageInternalError

FORMAT = 1
_MISSING = "(nothing)"


class Folder:
    """Paths and the description of a comparison's folder.

    Args:
        path: made when missing.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise InvalidValueError(f"`out` must be a folder, but {str(self.path)!r} is a file; name another one.")
        self.path.mkdir(parents=True, exist_ok=True)

    @property
    def store(self) -> Path:
        """The log of all studies."""
        return self.path / "studies.jsonl"

    @property
    def description(self) -> Path:
        """What is compared here."""
        return self.path / "comparison.json"

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Hold the folder's lock, so that no second comparison works in it at the same time.

        Raises:
            StorageInternalError: another process holds it.
        """
        try:
            import fcntl
        except ImportError:  # Windows: no lock, the studies' own claims still keep trials apart
            yield
            return
        with open(self.path / ".lock", "a+") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise StorageInternalError(
                    f"Another comparison is running in {str(self.path)!r}; wait for it, or use another folder."
                ) from None
            yield

    def agree(self, fixed: Mapping[str, Any], methods: Mapping[str, str], more: Mapping[str, Any]) -> dict[str, Any]:
        """Check that this folder holds the same comparison (or none), and note what is new about it.

        Args:
            fixed: what must not change: problem, space, seed, ...
            methods: label -> what it is; a label must not change its meaning, new ones are welcome.
            more: what may change (budget, repeats, session).

        Returns:
            The description as it is now in the folder, with ``"sessions"``: one ``more`` a session.

        Raises:
            InvalidValueError: the folder holds another comparison; the message shows every difference.
        """
        fixed, methods, more = (_plain(value) for value in (fixed, methods, more))
        old = self._read()
        if old is None:
            if self.store.exists() and self.store.stat().st_size:
                raise InvalidValueError(
                    f"{str(self.store)!r} holds studies that are no comparison's; name another folder."
                )
            old = {"format": FORMAT, "fixed": fixed, "methods": {}, "sessions": []}
        differences = list(_differences(old["fixed"], fixed))
        differences += [
            f"method {label}: there {old['methods'][label]!r}, now {text!r}"
            for label, text in methods.items()
            if old["methods"].get(label, text) != text
        ]
        if differences:
            edited = any(line.startswith("problem.source.") for line in differences)
            hint = (
                " (A source stands for the function's text and the values it holds. What changes while it runs "
                "belongs under a name that begins with an underscore.)"
                if edited
                else ""
            )
            raise InvalidValueError(
                f"The folder {str(self.path)!r} holds another comparison:\n  "
                + "\n  ".join(differences)
                + f"\nUse another folder, or the same configuration (methods, repeats and trials may be added).{hint}"
            )
        new = {**old, "methods": {**old["methods"], **methods}, "sessions": [*old["sessions"], more]}
        text = json.dumps(new, ensure_ascii=False, indent=1)
        temporary = self.description.with_suffix(".tmp")
        temporary.write_text(text + "\n", encoding="utf-8")
        os.replace(temporary, self.description)
        return new

    def _read(self) -> dict[str, Any] | None:
        if not self.description.exists():
            return None
        try:
            data = json.loads(self.description.read_text(encoding="utf-8"))
            if data["format"] != FORMAT or not {"fixed", "methods", "sessions"} <= set(data):
                raise KeyError(f"format {data['format']}")
            return data
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidValueError(
                f"{str(self.description)!r} does not describe a comparison ({error}); name another folder."
            ) from None


def _plain(value: Any) -> Any:
    """The value as JSON would give it back."""
    try:
        return json.loads(json.dumps(value, sort_keys=False))
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"The problem's to_dict() must be JSON-able: {error}.") from None


def _differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            where = f"{path}.{key}" if path else str(key)
            yield from _differences(old.get(key, _MISSING), new.get(key, _MISSING), where)
    elif old != new:
        yield f"{path}: there {_short(old)}, now {_short(new)}"


def _short(value: Any) -> str:
    text = value if value is _MISSING else repr(value)
    return text if len(text) <= 120 else text[:117] + "..."
