"""The hub's own tables: `hub/TableStatus`, a row for every other table, and `hub/BusUse`, one for who sends much."""

from __future__ import annotations

import time

from pubsub.codec import encode
from pubsub.hub_rates import Rates
from pubsub.hub_readers import Readers
from pubsub.hub_stream import Stream
from pubsub.hub_table import Table
from pubsub.topics import BusUse, TableStatus

NAME = "hub/TableStatus"
USE_NAME = "hub/BusUse"
USE_INTERVAL = 5.0  # seconds between two reports of who sends how much


class Status:
    """Keeps the rows equal to the tables."""

    def __init__(self, readers: Readers, rates: Rates) -> None:
        self._tables = readers.tables
        self._rates = rates
        self._use = Table(USE_NAME)
        self._reported = time.monotonic()
        self._own = Table(NAME)
        self._own.starts = 1
        self._seen: dict[str, tuple[object, ...]] = {}
        self._use.starts = 1
        readers.born(self._own)
        readers.born(self._use)

    def publish(self) -> None:
        """Bring the rows up to date; unchanged ones cost no more than a comparison."""
        for name, table in self._tables.items():
            if table in {self._own, self._use}:
                continue
            now = (table.sequence, table.owner, table.stale_since, table.starts, len(table.feeds), table.problem)
            if self._seen.get(name) != now:
                self._seen[name] = now
                self._own.put(name, encode(_row(table)))
        for name in [name for name in self._seen if name not in self._tables]:
            del self._seen[name]
            self._own.put(name, None)
        at = time.monotonic()
        if at - self._reported > USE_INTERVAL:
            self._report(at - self._reported)
            self._reported = at

    def _report(self, seconds: float) -> None:
        found = self._rates.report(seconds)
        for uid, (messages, size, dropped, shut_out) in found.items():
            row = BusUse(messages=messages, bytes=size, dropped=dropped, shut_out=shut_out)
            self._use.put(str(uid), encode(row))
        for key in [key for key in self._use.entries if int(key) not in found]:
            self._use.put(key, None)


def _row(table: Table | Stream) -> TableStatus:
    stream = isinstance(table, Stream)
    owner = table.owner
    return TableStatus(
        keys=len(table.records if isinstance(table, Stream) else table.entries),
        bytes=table.size,
        sequence=table.sequence,
        epoch=table.epoch,
        restarted=table.starts,
        uid=owner.peer.uid if owner is not None else -1,
        pid=owner.peer.pid if owner is not None else 0,
        stale_since=table.stale_since,
        persistent=table.persistent,
        stream=stream,
        subscribers=len(table.feeds),
        lost=table.lost if isinstance(table, Stream) else 0,
        problem=table.problem,
    )
