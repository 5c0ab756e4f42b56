"""Wait for a descriptor."""

from __future__ import annotations

import asyncio


async def readable(fd: int) -> None:
    """Return when the descriptor has something to read (a pidfd: when its process ended)."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(fd, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)
