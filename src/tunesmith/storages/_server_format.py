"""What says whose the tables of a server's database are, and of which version."""

from __future__ import annotations

from tunesmith.exceptions import NewerFormatError, NotALogError

FORMAT = "tunesmith log"
VERSION = 1

#: The rows of the last table. They go in with one statement: another process may look between two.
SIGNATURE = f"INTO tunesmith_meta (name, value) VALUES ('format', '{FORMAT}'), ('version', '{VERSION}')"


def check_format(meta: dict[str, str], place: str) -> None:
    """Refuse tables of others, and those of a later version.

    Args:
        meta: what the last of the tables says.
        place: what the database is called in messages.
    """
    version = meta.get("version", "")
    if meta.get("format") != FORMAT or not version.isdecimal():
        raise NotALogError(
            f"{place} has a table tunesmith_meta that is not tunesmith's: it says {meta!r}. Use another database or "
            "schema."
        )
    if int(version) > VERSION:
        raise NewerFormatError(
            f"{place} has format version {version}; this tunesmith reads up to {VERSION}. Upgrade tunesmith."
        )
