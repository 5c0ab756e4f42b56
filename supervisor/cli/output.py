"""Renders what a command returns, in every format: rows as a list, or one object."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from supervisor.printable import in_line

GAP = "  "  # between columns
FEW = 4  # values of a cell that may have a thousand
STYLES = {
    "ok": "green",
    "note": "cyan",
    "warning": "yellow",
    "error": "red",
    "ready": "green",
    "waiting": "yellow",
    "starting": "cyan",
    "degraded": "yellow",
    "failed": "red",
}

Row = Mapping[str, Any]


def show(value: Any) -> str:
    """Return a value as a cell's text."""
    if value in (None, "", []):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(show(item) for item in value)
    return str(value)


class Column(msgspec.Struct, frozen=True):
    """One column of a table."""

    title: str
    key: str
    wide: bool = False  # only in `-o wide`
    text: Callable[[Any], str] = show
    row_text: Callable[[Row], str] | None = None  # where a cell tells more than one field

    def cell(self, row: Row) -> str:
        """Return the row's text in this column."""
        return self.row_text(row) if self.row_text else self.text(row[self.key])


def render_rows(columns: Sequence[Column], rows: Sequence[Row], output: str, name_key: str) -> str:
    """Return rows in one of the formats, without the last newline."""
    if output in ("json", "yaml"):
        return render_object([dict(row) for row in rows], output)
    if output == "name":
        return "\n".join(str(row[name_key]) for row in rows)
    shown = [column for column in columns if not column.wide or output == "wide"]
    cells = [[column.cell(row) for column in shown] for row in rows]
    return table([column.title for column in shown], cells)


def render_object(found: Any, output: str) -> str:
    """Return plain values as JSON or YAML, without the last newline."""
    if output == "json":
        return json.dumps(found, indent=2, ensure_ascii=False)
    import yaml

    text: str = yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=120)
    return text.rstrip("\n")


def table(titles: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """Return aligned columns: for a terminal in its width and with colours, else plain and whole."""
    cells = [[in_line(cell) for cell in row] for row in cells]
    if sys.stdout.isatty():
        return _rich_table(titles, cells)
    widths = [max(len(row[index]) for row in [titles, *cells]) for index in range(len(titles))]
    lines = [GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [titles, *cells]]
    return "\n".join(line.rstrip() for line in lines)


def _rich_table(titles: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        made.add_column(title, overflow="fold", no_wrap=title in ("NAME", "INSTANCE", "STATE"))
    for row in cells:
        made.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    console = Console()
    with console.capture() as capture:
        console.print(made)
    return capture.get().rstrip("\n")


def few(values: Sequence[Any]) -> str:
    """Return the first of many values, and how many more there are."""
    more = f" +{len(values) - FEW}" if len(values) > FEW else ""
    return show(values[:FEW]) + more


def milliseconds(number: float) -> str:
    """Return a latency; 0 is none."""
    return f"{number:.1f} ms" if number else "-"


def size(number: float) -> str:
    """Return bytes as people read them."""
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"
