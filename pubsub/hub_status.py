"""The hub's own table `hub/TableStatus`: one row for every other table."""

from __future__ import annotations

from pubsub.codec import encode
from pubsub.hub_readers import Readers
from pubsub.hub_stream import Stream
from pubsub.hub_table import Table
from pubsub.topics import TableStatus

NAME = "hub/TableStatus"


class Status:
    """Keeps the rows equal to the tables."""

    def __init__(self, readers: Readers) -> None:
        self._tables = readers.tables
        self._own = Table(NAME)
        self._own.starts = 1
        self._seen: dict[str, tuple[object, ...]] = {}
        readers.born(self._own)

    def publish(self) -> None:
        """Bring the rows up to date; unchanged ones cost no more than a comparison."""
        for name, table in self._tables.items():
            if table is self._own:
                continue
            now = (table.sequence, table.owner, table.stale_since, table.starts, len(table.feeds), table.problem)
            if self._seen.get(name) != now:
                self._seen[name] = now
                self._own.put(name, encode(_row(table)))
        for name in [name for name in self._seen if name not in self._tables]:
            del self._seen[name]
            self._own.put(name, None)


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
