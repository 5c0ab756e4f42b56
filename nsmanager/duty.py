"""A duty that the config may ask for or not: runs while it does, and its trouble stays its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from nsmanager.board import Board
from pubsub.attempt import attempt
from pubsub.topics import NamespaceConfig

FIRST_PAUSE = 0.5  # seconds after which a duty that failed is tried again; doubled each time
LAST_PAUSE = 10.0  # seconds
LONG_RUN = 60.0  # seconds after which an earlier failure is forgotten

T = TypeVar("T")
log = logging.getLogger("nsmanager")


async def while_wanted(
    name: str,
    board: Board,
    wanted: Callable[[NamespaceConfig], T | None],
    run: Callable[[T], Coroutine[Any, Any, None]],
) -> None:
    """Run `run(wanted(config))` while that isn't None, anew when it becomes another. Runs until cancelled."""
    changed = board.watch()
    while True:
        changed.clear()
        want = _wanted(board, wanted)
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(_keep_trying(name, run, want), name=name) if want is not None else None
            while _wanted(board, wanted) == want:
                await changed.wait()
                changed.clear()
            if task is not None:
                task.cancel()


def _wanted(board: Board, wanted: Callable[[NamespaceConfig], T | None]) -> T | None:
    return wanted(board.config) if board.config is not None else None


async def _keep_trying(name: str, run: Callable[[T], Coroutine[Any, Any, None]], want: T) -> None:
    """Run it, again after each failure. Runs until cancelled."""
    loop = asyncio.get_running_loop()
    pause = FIRST_PAUSE
    while True:
        began = loop.time()
        try:
            await attempt(run(want))
        except OSError as exc:
            log.warning("%s: %s", name, exc)
        except Exception:
            log.exception("%s", name)  # our defect: the manager's other duties go on
        pause = FIRST_PAUSE if loop.time() - began > LONG_RUN else min(LAST_PAUSE, 2 * pause)
        await asyncio.sleep(pause)
