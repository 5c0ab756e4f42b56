"""Keeps the spawner running: whoever needs it takes the current one."""

from __future__ import annotations

import asyncio
import logging
import time

from supervisor.backoff import delay
from supervisor.spawn import Spawner
from supervisor.waiting import readable

log = logging.getLogger(__name__)

BIRTHS = 16  # at the same time: more only wait for each other in the kernel


class Zygote:
    """The current spawner."""

    def __init__(self) -> None:
        self.births = asyncio.Semaphore(BIRTHS)  # held by who has a manager born
        self._spawner: Spawner | None = None
        self._started = asyncio.Event()

    async def current(self) -> Spawner:
        """Return the running spawner, waiting for it while there is none."""
        while self._spawner is None:
            await self._started.wait()
        return self._spawner

    async def keep_running(self) -> None:
        """Start a spawner, and again when it dies. Runs until cancelled; what it gave birth to lives on then."""
        deaths: list[float] = []
        while True:
            await asyncio.sleep(delay(deaths, time.monotonic()))
            self._spawner = spawner = await Spawner.start()
            self._started.set()
            try:
                await readable(spawner.pidfd)
            finally:
                self._spawner = None
                self._started.clear()
                await spawner.close()
            deaths = [*deaths[-16:], time.monotonic()]
            log.warning("spawner: ended; starting it again")
