"""One table as the hub keeps it: the last value of each key, its writer, and who follows it."""

from __future__ import annotations

import dataclasses

from pubsub.acl import Peer
from pubsub.hub_feed import Feed, Marker
from pubsub.limits import KEY_LIMIT, KEYS_LIMIT, TABLE_LIMIT, VALUE_LIMIT


@dataclasses.dataclass(eq=False)
class Owner:
    """The writer of a table or stream."""

    client: str  # as its Hello told
    agent: str
    peer: Peer
    birth: str  # of the process: boot and start time; empty: unknown
    reserved_until: float = 0.0  # monotonic; read from disk after a restart of the hub, and not back yet; 0: present

    def __str__(self) -> str:
        return f"{self.agent or 'somebody'} (pid {self.peer.pid}, uid {self.peer.uid})"


class Table:
    """Entries are opaque bytes here. Decides only; the broker writes the log."""

    def __init__(self, name: str, *, persistent: bool = False) -> None:
        self.name = name
        self.persistent = persistent
        self.entries: dict[str, bytes] = {}
        self.size = 0  # bytes of keys and values
        self.sequence = 0  # of the last change
        self.epoch = 0  # of the writer; 0: never had one
        self.starts = 0  # writers so far
        self.owner: Owner | None = None
        self.stale_since = 0.0  # seconds since the epoch; 0: its writer lives
        self.problem = ""  # in words; empty: none
        self.feeds: set[Feed] = set()

    def fits(self, key: str, value: bytes) -> bool:
        """Tell whether the entry keeps to the limits."""
        old = self.entries.get(key)
        size = self.size + len(value) + (len(key) if old is None else -len(old))
        keys = len(self.entries) + (old is None)
        return len(value) <= VALUE_LIMIT and len(key) <= KEY_LIMIT and size <= TABLE_LIMIT and keys <= KEYS_LIMIT

    def put(self, key: str, value: bytes | None) -> bool:
        """Set a key, or withdraw it (None); return whether that changed anything, and mark it for all who follow."""
        old = self.entries.get(key)
        if old == value:
            return False
        if value is None:
            del self.entries[key]
            self.size -= len(key) + len(old or b"")
        else:
            self.entries[key] = value
            self.size += len(value) + (len(key) if old is None else -len(old))
        self.sequence += 1
        for feed in self.feeds:
            feed.changed(key)
        return True

    def claim(self, owner: Owner, epoch: int) -> None:
        """Take a writer: a new one, or the old one back after a reconnect."""
        if self.epoch != epoch:
            self.starts += 1
            if self.starts > 1:
                self._tell(Marker.RESTARTED)
        elif self.stale_since:
            self._tell(Marker.STALE)
        self.owner, self.epoch, self.stale_since = owner, epoch, 0.0

    def abandon(self, now: float) -> None:
        """Lose the writer; everything stays. `now` in seconds since the epoch."""
        self.owner = None
        if not self.stale_since:
            self.stale_since = now
            self._tell(Marker.STALE)

    def _tell(self, marker: Marker) -> None:
        for feed in self.feeds:
            feed.tell(marker)
