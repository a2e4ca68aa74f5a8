"""What commands print: tables for people, JSON and CSV for programs. Nothing else writes to standard output."""

from __future__ import annotations

import datetime
import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tunesmith.cli.guard import clean

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.compare.render import Table

#: Columns of text that goes to a file or a pipe, unless COLUMNS says otherwise.
PIPED_WIDTH = 120


def console(*, error: bool = False, width: int | None = None) -> Console:
    """A console for standard output (or error): colours only on a terminal, and none with ``NO_COLOR``.

    Args:
        error: standard error instead.
        width: where it is not a terminal; by default COLUMNS, or 120.
    """
    from rich.console import Console

    stream = sys.stderr if error else sys.stdout
    options: dict[str, Any] = {}
    if stream is None or not stream.isatty():
        columns = os.environ.get("COLUMNS", "")
        options["width"] = width or (int(columns) if columns.isdigit() and int(columns) > 0 else PIPED_WIDTH)
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        options["color_system"] = None
    return Console(file=stream, highlight=False, markup=False, emoji=False, **options)


@contextmanager
def tidy(width: int | None = None) -> Iterator[Console]:
    """A console for standard output whose lines end where their text ends, unless it is a terminal."""
    target = console(width=width)
    if target.is_terminal:
        yield target
        return
    with target.capture() as captured:
        yield target
    raw("".join(text.rstrip() + "\n" for text in captured.get().splitlines()))


def duration(seconds: float) -> str:
    """A time for people to guess from: ``5 seconds``, ``2.5 hours``."""
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    whole = round(seconds)
    return f"{whole} second{'s' * (whole != 1)}"


def clock(seconds: float) -> str:
    """A time that runs: ``2:13``, ``1:02:13``."""
    hours, rest = divmod(max(round(seconds), 0), 3600)
    minutes = f"{rest // 60:02d}:{rest % 60:02d}"
    return f"{hours}:{minutes}" if hours else minutes.removeprefix("0")


def line(text: str = "") -> None:
    """A line of plain text."""
    print(clean(text), flush=True)


def pairs(entries: Iterable[tuple[str, str]], indent: int = 0) -> None:
    """Names and values below each other; long values are wrapped."""
    import textwrap

    rows = list(entries)
    width = max((len(name) for name, _ in rows), default=0)
    room = max(console().width - indent - width - 2, 20)
    for name, value in rows:
        wrapped = textwrap.wrap(value, room, break_long_words=False, break_on_hyphens=False) or [""]
        for i, part in enumerate([value] if value.startswith(" ") else wrapped):
            line(f"{' ' * indent}{(name if i == 0 else '').ljust(width)}  {part}".rstrip())


def table(content: Table, all_columns_by: str) -> None:
    """Draw a table without its title; on a narrow terminal some columns are left out, and it says which.

    Args:
        content: the table.
        all_columns_by: how to get the columns that do not fit, e.g. ``"--format csv"``.
    """
    from tunesmith.compare.render import rich_table

    with tidy(width=None if "COLUMNS" in os.environ else 10_000) as target:
        drawn, missing = rich_table(content, target)
        target.print(drawn)
    if missing:
        line(f"Too narrow here for: {', '.join(missing)}. All columns: {all_columns_by}.")


# -- JSON ----------------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """A value as strict JSON can hold it: NaN and infinities as texts, times in ISO 8601, tuples as lists."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, datetime.datetime):
        return utc(value)
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return getattr(value, "name", None) or repr(value)


def utc(time: datetime.datetime | None) -> str | None:
    """A naive local time, as records hold it, as ISO 8601 in UTC."""
    if time is None:
        return None
    return time.astimezone(datetime.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Strict JSON; readable text where it can be written as UTF-8, escapes where it cannot."""
    made = plain(value)
    text = json.dumps(made, ensure_ascii=False, allow_nan=False, indent=indent)
    if text.isprintable() or all(c == "\n" or c.isprintable() for c in text):
        return text
    return json.dumps(made, ensure_ascii=True, allow_nan=False, indent=indent)


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Strict JSON on standard output."""
    text = to_json(value, indent=indent)
    encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
    print(text if encoding == "utf8" else json.dumps(plain(value), allow_nan=False, indent=indent), flush=True)


# -- CSV -----------------------------------------------------------------------------------------------------------


def field(value: Any) -> Any:
    """A value as a CSV field: None empty, floats so that they read back exactly, structures as JSON."""
    if value is None:
        return ""
    if isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return repr(value)
    return to_json(value)


def csv_text(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A header line and one line a row, quoted where needed (RFC 4180, but lines end with a newline alone)."""
    import csv
    import io

    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(headers)
    writer.writerows([field(value) for value in row] for row in rows)
    return buffer.getvalue()


def raw(text: str) -> None:
    """Text as it is (CSV, JSON), on standard output."""
    sys.stdout.write(text)
    sys.stdout.flush()
