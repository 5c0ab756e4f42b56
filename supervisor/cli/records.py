"""Prints a stream of an instance: the records that there are, and those that come."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from supervisor.cli.errors import NOT_FOUND, CliError
from supervisor.cli.output import GAP, Column, Row, render_object, render_rows
from supervisor.printable import in_line

ALL = 1_000_000  # records: more than are kept of any stream
QUIET = 0.1  # seconds without a record that end the history: the hub's count may be a moment old
PATIENCE = 5.0  # seconds for the history


class Printer:
    """Prints records in one of the formats, the first ones together as a table."""

    def __init__(self, columns: Sequence[Column], widths: Sequence[int], output: str) -> None:
        self._columns = [column for column in columns if not column.wide or output == "wide"]
        self._widths = [width for column, width in zip(columns, widths, strict=True) if column in self._columns]
        self._output = output

    def history(self, rows: Sequence[Row], *, goes_on: bool) -> None:
        """Print what there was; when more may come, so that it stands under the same titles."""
        if self._output in ("json", "yaml") or goes_on:
            self._titles()
            for row in rows:
                self.record(row)
        elif rows:
            print(render_rows(self._columns, rows, "wide", ""))

    def record(self, row: Row) -> None:
        """Print one record."""
        if self._output == "json":
            print(json.dumps(dict(row), ensure_ascii=False), flush=True)
        elif self._output == "yaml":
            print("---\n" + render_object(dict(row), "yaml"), flush=True)
        else:
            self._line([column.cell(row) for column in self._columns])

    def lost(self, count: int) -> None:
        """Tell of records that nobody can print."""
        print(f"nsvisor: {count} records were lost here", file=sys.stderr, flush=True)

    def _titles(self) -> None:
        if self._output not in ("json", "yaml"):
            self._line([column.title for column in self._columns])

    def _line(self, cells: Sequence[str]) -> None:
        padded = (in_line(cell).ljust(width) for cell, width in zip(cells, self._widths, strict=True))
        print(GAP.join(padded).rstrip(), flush=True)


class Selection(msgspec.Struct, frozen=True):
    """Which records to print."""

    lines: int  # at most, of those that there are
    follow: bool  # those that come, too
    wanted: Callable[[Row], bool] | None = None  # None: all


def print_records(run_dir: Path, type_: type[Any], instance: str, printer: Printer, selection: Selection) -> None:
    """Print the records of an instance's stream. Raises CliError."""
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_print(run_dir, type_, instance, printer, selection))


async def _print(run_dir: Path, type_: type[Any], instance: str, printer: Printer, selection: Selection) -> None:
    from supervisor.cli.reading import connected

    wanted = selection.wanted or (lambda _row: True)
    async with connected(run_dir) as bus:
        last = await _last_number(bus, type_, instance)
        if last is None and not selection.follow:
            print(f"nothing was logged in {instance}; see `log` in docs/config.md", file=sys.stderr)
            return
        count = ALL if selection.wanted is not None else max(selection.lines, 1)
        records = bus.follow(type_, agent="nsmanager", scope=instance, last=count)
        kept: deque[Row] = deque(maxlen=selection.lines)
        async for row in _history(records, last or 0, printer):
            if wanted(row):
                kept.append(row)
        printer.history(list(kept), goes_on=selection.follow)
        if not selection.follow:
            return
        async for found in records:
            coming = _row(found, printer)
            if coming is not None and wanted(coming):
                printer.record(coming)


async def _last_number(bus: Any, type_: type[Any], instance: str) -> int | None:
    """Return the number of a stream's last record; None: there is no stream. Raises CliError: no such instance."""
    from pubsub.topics import NetworkInstanceStatus, TableStatus
    from supervisor.cli.reading import read_table

    if instance not in (await read_table(bus, NetworkInstanceStatus, "supervisor")).table:
        raise CliError(f"no instance {instance}; see `nsvisor get instances`", NOT_FOUND)
    tables = (await read_table(bus, TableStatus, "hub")).table
    stream = tables.get(f"nsmanager/{instance}/{type_.__name__}")
    return stream.sequence if stream is not None and stream.keys else None


async def _history(records: Any, last: int, printer: Printer) -> AsyncIterator[Row]:
    """Yield what there is: up to the number that the hub told, and what comes at once after it."""
    number = 0
    iterator, loop = aiter(records), asyncio.get_running_loop()
    end = loop.time() + PATIENCE  # also of a stream that is never quiet
    while True:
        try:
            async with asyncio.timeout_at(min(end, loop.time() + QUIET) if number >= last else end):
                found = await anext(iterator)
        except TimeoutError:
            return
        number = getattr(found, "number", number)
        row = _row(found, printer)
        if row is not None:
            yield row


def _row(found: Any, printer: Printer) -> Row | None:
    """Return a record's plain values; None for the news of a loss, which is told."""
    import pubsub
    from pubsub.codec import to_plain

    if isinstance(found, pubsub.Lost):
        printer.lost(found.count)
        return None
    plain: Row = to_plain(found.value)
    return plain
