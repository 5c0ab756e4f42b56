"""Show that the manager's loop turns, and look after what no event tells: leases, and most sysctls."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from pathlib import Path

from nsmanager import leases
from nsmanager.board import Board
from nsmanager.items.sysctl import Sysctl
from nsmanager.namespace import Namespace
from nsmanager.place import Place

BEAT = 1.8  # seconds; so that a sysctl changed by hand is back in under two, as all that events tell

log = logging.getLogger(__name__)


async def beat(ns: Namespace, place: Place, board: Board) -> None:
    """Write the monotonic time into the heartbeat file, in place. Runs until cancelled."""
    file = os.open(place.heartbeat, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        seen = 0
        while True:
            show(file)
            seen = _read_leases(place.leases, seen, board)
            if any(
                ns.read_sysctl(item.name) not in (item.value, None) for item in board.plan if isinstance(item, Sysctl)
            ):
                ns.events.happened.set()
            await asyncio.sleep(BEAT)
    finally:
        os.close(file)


def show(file: int) -> None:
    """Write the time; on a full disk an empty file can't be written, but it tells by when it was touched."""
    try:
        os.pwrite(file, f"{time.monotonic():.3f}\n".encode(), 0)
    except OSError:
        os.utime(file)


def _read_leases(path: Path, seen: int, board: Board) -> int:
    """Put the leases on the board when their file was written since; return the time of its last change."""
    with contextlib.suppress(FileNotFoundError):
        changed = path.stat().st_mtime_ns
        if changed != seen:
            board.update(leases=leases.parse(path.read_text(errors="replace")))
            return changed
    return seen
