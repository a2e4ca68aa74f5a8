"""One table, many outputs: the plain model and its renderers (terminal, Markdown, HTML, CSV).

A table is built once, in :mod:`tunesmith.compare.tables`; the renderers know nothing of comparisons.
"""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: what a reader sees.
        value: what a program reads (CSV); the text when None.
        best: shown in bold, with a star.
    """

    text: str
    value: Any = None
    best: bool = False


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        header: what stands above it; a short word or two.
        align: numbers ``right``, words ``left``.
        rank: on a narrow terminal the columns of the highest rank are left out first; 0 never is.
    """

    header: str
    align: Literal["left", "right"] = "right"
    rank: int = 0


@dataclass(frozen=True)
class Table:
    """A table with a title above and notes below.

    Attributes:
        title: its name.
        columns: left to right.
        rows: each as long as ``columns``.
        notes: sentences a reader needs to read it rightly.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = field(default_factory=tuple)

    def without(self, hidden: set[int]) -> Table:
        """The same table without the columns at these positions."""
        keep = [i for i in range(len(self.columns)) if i not in hidden]
        return Table(
            self.title, [self.columns[i] for i in keep], [[row[i] for i in keep] for row in self.rows], self.notes
        )


# -- terminal ------------------------------------------------------------------------------------------------------

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """Without control characters, which could otherwise rewrite the reader's terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\n", " ").replace("\t", " "))


def rich_table(table: Table, console: Console) -> tuple[RenderableType, list[str]]:
    """The table as wide as fits into the console, and the headers of the columns that did not fit."""
    hidden: set[int] = set()
    while True:
        drawn = _draw(table.without(hidden))
        natural = drawn.__rich_measure__(console, console.options.update(max_width=10_000)).maximum
        ranked = [(c.rank, i) for i, c in enumerate(table.columns) if c.rank and i not in hidden]
        if natural <= console.width or not ranked:
            return drawn, [table.columns[i].header for i in sorted(hidden)]
        hidden.add(max(ranked)[1])


def _draw(table: Table) -> Any:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False, header_style="bold")
    for column in table.columns:
        drawn.add_column(Text(plain(column.header)), justify=column.align, overflow="fold")
    for row in table.rows:
        texts = (("* " if cell.best else "") + plain(cell.text) for cell in row)
        drawn.add_row(*(Text(t, style="bold green" if c.best else "") for t, c in zip(texts, row, strict=True)))
    return drawn


def print_table(table: Table, console: Console) -> None:
    """Print a table with its notes, fitted to the console's width."""
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn, missing = rich_table(table, console)
    console.print()
    console.print(Text(plain(table.title), style="bold"))
    console.print()
    console.print(drawn)
    notes = list(table.notes)
    if missing:
        notes.append(f"Too narrow here for: {', '.join(missing)}. The files have everything.")
    grid = RichTable.grid(padding=(0, 1, 0, 0))
    for note in notes:
        grid.add_row(Text("-", style="dim"), Text(plain(note), style="dim"))
    if notes:
        console.print()
        console.print(grid)


# -- Markdown ------------------------------------------------------------------------------------------------------


def markdown(table: Table) -> str:
    """The table in GitHub's Markdown, its notes as a list."""
    lines = [f"### {escape_markdown(table.title)}", ""]
    lines.append("| " + " | ".join(escape_markdown(c.header) for c in table.columns) + " |")
    lines.append("|" + "|".join(":---" if c.align == "left" else "---:" for c in table.columns) + "|")
    for row in table.rows:
        cells = [f"**{escape_markdown(c.text)}** \\*" if c.best else escape_markdown(c.text) for c in row]
        lines.append("| " + " | ".join(cells) + " |")
    if table.notes:
        lines += ["", *(f"- {escape_markdown(note)}" for note in table.notes)]
    return "\n".join(lines) + "\n"


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_\[\]|#~$])", r"\\\1", html.escape(plain(text), quote=False))


# -- HTML ----------------------------------------------------------------------------------------------------------


def html_table(table: Table) -> str:
    """The table as an HTML fragment; every text is escaped."""
    heads = "".join(f'<th scope="col" class="{c.align}">{_h(c.header)}</th>' for c in table.columns)
    body = "\n".join("<tr>" + "".join(_html_cells(table.columns, row)) + "</tr>" for row in table.rows)
    notes = "".join(f"<li>{_h(n)}</li>" for n in table.notes)
    return (
        f'<figure class="table"><figcaption>{_h(table.title)}</figcaption><div class="scroll"><table>'
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
        + (f'<ul class="notes">{notes}</ul>' if notes else "")
        + "</figure>"
    )


def _html_cells(columns: Sequence[Column], row: Sequence[Cell]) -> list[str]:
    cells = []
    for column, cell in zip(columns, row, strict=True):
        mark = ' <span class="star" title="best">*</span>' if cell.best else ""
        cells.append(f'<td class="{column.align}{" best" if cell.best else ""}">{_h(cell.text)}{mark}</td>')
    return cells


def _h(text: str) -> str:
    return html.escape(plain(text), quote=True)


# -- CSV -----------------------------------------------------------------------------------------------------------


def csv_text(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """RFC 4180 with a header line; None is an empty field, floats are written so that they read back exactly."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(headers)
    for row in rows:
        writer.writerow(["" if v is None else repr(float(v)) if isinstance(v, float) else v for v in row])
    return buffer.getvalue()


def table_csv(table: Table) -> str:
    """The raw values of a table."""
    rows = [[c.text if c.value is None else c.value for c in row] for row in table.rows]
    return csv_text([c.header for c in table.columns], rows)
