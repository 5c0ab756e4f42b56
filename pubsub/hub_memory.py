"""Keeps a hostile client from filling the hub's memory.

libzmq takes the parts of a message without any bound until the last one comes (4.3.5; the high-water mark counts whole
messages). Such a client can't be seen from above libzmq, but from below: it is the one that is sending now.
"""

from __future__ import annotations

import ctypes
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from pubsub.limits import MIB

USUAL = 192 * MIB  # resident bytes beside the tables that arouse no suspicion; 1,000 clients need half of it
TABLE_FACTOR = 3  # resident bytes for a byte of a table: the value, a copy under way, its file being written anew
BLOCK_TIME = 10.0  # seconds for which a uid that filled the memory is refused
PAGE = os.sysconf("SC_PAGE_SIZE")  # bytes
log = logging.getLogger("pubsub.hub")


class Guard:
    """Looks at the memory now and then; ends who fills it. `held` tells the tables' bytes."""

    def __init__(self, held: Callable[[], int], end_senders: Callable[[], set[int]]) -> None:
        self._held = held
        self._end_senders = end_senders
        self._blocked: dict[int, float] = {}  # uid -> monotonic end
        self._libc = ctypes.CDLL(None)

    def is_blocked(self, uid: int) -> bool:
        """Tell whether the uid filled the memory a moment ago."""
        return self._blocked.get(uid, 0.0) > time.monotonic()

    def look(self) -> None:
        """End whoever is sending, when there is more memory in use than tables can explain."""
        if resident() < USUAL or resident() < USUAL + TABLE_FACTOR * self._held():
            return
        self._libc.malloc_trim(0)
        if resident() < USUAL + TABLE_FACTOR * self._held():
            return
        uids = self._end_senders()
        self._blocked = dict.fromkeys(uids, time.monotonic() + BLOCK_TIME)
        if uids:
            log.warning("%d MiB in use: ended the connections of uid %s", resident() // MIB, sorted(uids))


def resident() -> int:
    """Read how many bytes of memory we have."""
    return int(Path("/proc/self/statm").read_bytes().split()[1]) * PAGE
