"""`nsvisor logs`: what an instance's manager and services say."""

from __future__ import annotations

import codecs
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click

from supervisor.cli.completion import instance_names
from supervisor.cli.errors import NOT_FOUND, CliError
from supervisor.cli.options import Folders, with_folders
from supervisor.printable import printable

POLL_INTERVAL = 0.2  # seconds; a log file gives no event that costs less
BLOCK = 65536  # bytes read at once


@click.command("logs")
@click.argument("name", shell_complete=instance_names)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until interrupted.")
@click.option("-n", "--lines", type=click.IntRange(0), default=None, help="Only the last so many lines.")
@with_folders
def logs_command(name: str, follow: bool, lines: int | None, folders: Folders) -> None:
    """Print the log of an instance: of its manager and its services.

    nsvisord itself logs to stderr: see journalctl -u nsvisor.
    """
    path = folders.run / "logs" / f"{Path(name).name}.log"
    try:
        file = path.open("rb")
    except FileNotFoundError as exc:
        raise CliError(f"no log of an instance {name}; see `nsvisor get instances`", NOT_FOUND) from exc
    with file:
        if lines is not None:
            file.seek(tail_offset(file, lines))
        decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        for block in follow_blocks(path, file) if follow else iter(lambda: file.read(BLOCK), b""):
            sys.stdout.buffer.write(printable(decoder.decode(block)).encode())  # whoever wrote that may be hostile
            sys.stdout.buffer.flush()


def tail_offset(file: BinaryIO, lines: int) -> int:
    """Return where the last lines of a file begin."""
    end = position = file.seek(0, os.SEEK_END)
    found = 0
    while position > 0:
        start = max(position - BLOCK, 0)
        file.seek(start)
        block = file.read(position - start)
        for offset in range(len(block) - 1, -1, -1):
            if block[offset] == ord("\n") and start + offset != end - 1:
                found += 1
            if found >= lines:
                return end if lines == 0 else start + offset + 1
        position = start
    return 0 if lines else end


def follow_blocks(path: Path, file: BinaryIO) -> Iterator[bytes]:
    """Yield what a log has and gets; also over its being cut and its being made anew."""
    while True:
        block = file.read(BLOCK)
        if block:
            yield block
            continue
        if os.fstat(file.fileno()).st_size < file.tell():
            file.seek(0)  # nsvisord cut it; what it kept is told again rather than lost
            continue
        try:
            if path.stat().st_ino != os.fstat(file.fileno()).st_ino:
                return
        except FileNotFoundError:
            return  # the instance was deleted
        time.sleep(POLL_INTERVAL)
