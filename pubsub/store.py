"""What the hub keeps on disk: a file a table, so that a dead writer's table outlives the hub, and some the machine.

Volatile tables lie in the run directory, persistent ones in the state directory and are on the disk before they are
acknowledged. A disk that is full or broken costs the files, never the service: the hub goes on in memory and tries
again.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from pubsub import names, store_log
from pubsub.acl import Peer
from pubsub.hub_stream import Stream
from pubsub.hub_table import Owner, Table
from pubsub.store_log import Head, Item, Left, Owned, Record, Set

RETRY_INTERVAL = 2.0  # seconds until a file that couldn't be written is tried again
SUFFIX = ".log"
SEPARATOR = "+"  # for the slash of a table's name
log = logging.getLogger("pubsub.store")


@dataclasses.dataclass(eq=False)
class File:
    """Where one table stands on disk."""

    table: Table | Stream
    path: Path
    durable: bool
    size: int = -1  # bytes; -1: not written yet
    next_size: int = -1  # bytes of the file that is to replace it, while that is synced; -1: none
    pending: list[bytes] = dataclasses.field(default_factory=list)
    waiting: list[Callable[[], None]] = dataclasses.field(default_factory=list)  # for the next sync
    syncing: bool = False
    retry_at: float = 0.0  # monotonic; 0: all is well


class Store:
    """All files. `synced` is called after some `when_safe` were."""

    def __init__(self, volatile: Path, persistent: Path) -> None:
        self.synced: Callable[[], None] = lambda: None
        self._folders = (volatile, persistent)
        self._files: dict[str, File] = {}
        self._dirty: dict[File, None] = {}
        self._executor = ThreadPoolExecutor(1, "sync")  # its thread starts with the first persistent table

    def load(self) -> Iterator[Table | Stream]:
        """Read all files. What is torn is set aside, reported, and served as far as it is whole."""
        for folder in self._folders:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for path in sorted(folder.glob("*" + SUFFIX)):
                table = self._read(path, durable=folder == self._folders[1])
                if table is not None:
                    yield table

    def keep(self, table: Table | Stream, *, persistent: bool) -> None:
        """Begin to keep a table, or move it when it was kept otherwise."""
        file = self._files.get(table.name)
        if file is not None and file.durable == persistent:
            return
        if file is not None:
            file.path.unlink(missing_ok=True)
            self._dirty.pop(file, None)
        table.persistent = persistent
        path = self._folders[persistent] / (table.name.replace("/", SEPARATOR) + SUFFIX)
        self._files[table.name] = File(table, path, durable=persistent)

    def forget(self, table: Table | Stream) -> None:
        """Keep a table no longer."""
        file = self._files.pop(table.name)
        self._dirty.pop(file, None)
        file.path.unlink(missing_ok=True)

    def append(self, table: Table | Stream, record: Record) -> None:
        """Note one change; `commit` writes it."""
        file = self._files[table.name]
        if not file.retry_at and max(file.size, file.next_size) >= 0:
            file.pending.append(store_log.pack(record))
        self._dirty[file] = None

    def when_safe(self, table: Table | Stream, then: Callable[[], None]) -> None:
        """Call `then` when all that was appended is as safe as the table is to be; at once for a volatile one."""
        file = self._files[table.name]
        if file.durable and not file.retry_at:
            file.waiting.append(then)
            self._dirty[file] = None
        else:
            then()

    def commit(self) -> None:
        """Write what was appended."""
        for file in tuple(self._dirty):
            del self._dirty[file]
            try:
                self._write(file)
            except OSError as exc:
                self._failed(file, exc)

    def retry(self, now: float) -> None:
        """Try again what couldn't be written. `now` is monotonic."""
        for file in self._files.values():
            if 0 < file.retry_at < now:
                try:
                    self._rewrite(file)
                except OSError as exc:
                    self._failed(file, exc)

    def close(self) -> None:
        """Write all and wait for the disk."""
        self.commit()
        self._executor.shutdown(wait=True)

    def _write(self, file: File) -> None:
        if file.retry_at:
            return
        data = b"".join(file.pending)
        file.pending.clear()
        if data and file.size >= 0:
            store_log.append(file.path, data, file.size)
            file.size += len(data)
        if data and file.next_size >= 0:  # its replacement is on the way to the disk, and must know this too
            store_log.append(store_log.temporary_of(file.path), data, file.next_size)
            file.next_size += len(data)
        live = file.table.size + store_log.RECORD_COST * _count(file.table)
        if not file.syncing and not 0 <= file.size <= 2 * live + store_log.SLACK:
            self._rewrite(file)
        elif file.durable:
            self._sync(file, store_log.sync)

    def _rewrite(self, file: File) -> None:
        """Write the whole state anew. Raises OSError; the file is then as it was."""
        if file.syncing:
            return
        size = store_log.write_new(file.path, _records(file.table))
        if file.durable:
            file.next_size = size
            self._sync(file, store_log.sync_new)
        else:
            self._rewritten(file, size)

    def _rewritten(self, file: File, size: int) -> None:
        store_log.temporary_of(file.path).rename(file.path)
        file.size, file.next_size = size, -1
        if file.retry_at:
            log.warning("%s is written again", file.path)
            file.retry_at, file.table.problem = 0.0, ""

    def _sync(self, file: File, job: Callable[[Path], None]) -> None:
        if file.syncing:
            return  # what is waiting has its turn after that
        file.syncing = True
        waiting, file.waiting = file.waiting, []
        future = asyncio.get_running_loop().run_in_executor(self._executor, job, file.path)
        future.add_done_callback(partial(self._sync_ended, file, waiting))

    def _sync_ended(self, file: File, waiting: list[Callable[[], None]], job: asyncio.Future[None]) -> None:
        """Go on after a job in the thread; renames are done here, where nothing is appended at the same time."""
        file.syncing = False
        if job.cancelled():
            return
        try:
            job.result()
            if file.next_size >= 0:
                self._rewritten(file, file.next_size)
                file.waiting[:0] = waiting
                self._sync(file, store_log.sync_renamed)
                return
        except OSError as exc:
            self._failed(file, exc)
        for then in waiting:
            then()
        if file.waiting:
            self._dirty[file] = None
        self.synced()

    def _failed(self, file: File, error: OSError) -> None:
        if not file.retry_at:
            log.error("%s: %s; going on in memory, trying again", file.path, error)
        file.retry_at = time.monotonic() + RETRY_INTERVAL
        file.table.problem = f"not on disk: {error.strerror}"
        file.next_size = -1
        file.pending.clear()
        for then in file.waiting:
            then()
        file.waiting.clear()

    def _read(self, path: Path, *, durable: bool) -> Table | Stream | None:
        try:
            data = path.read_bytes()
        except OSError:
            log.exception("%s can't be read; its table begins empty", path)
            return None
        name = path.name.removesuffix(SUFFIX).replace(SEPARATOR, "/")
        end = 0
        table: Table | Stream | None = None
        for offset, record in store_log.unpack(data):
            if table is None:
                if not isinstance(record, Head) or record.name != name:
                    break
                table = _born(record)
            else:
                _replay(table, record)
            end = offset
        if not names.is_name(name):
            return None
        whole = table is not None and end == len(data)
        table = table or Table(name)
        if not whole:
            aside = path.with_name(f"{path.name}.bad-{time.strftime('%Y%m%dT%H%M%S')}")
            path.rename(aside)
            log.error("%s is torn after %d of %d bytes; set aside as %s", path, end, len(data), aside.name)
            table.problem = f"torn after {end} of {len(data)} bytes; set aside as {aside.name}"
        table.persistent = durable
        file = self._files[name] = File(table, path, durable, size=end if whole else -1)
        if not whole:
            self._dirty[file] = None
        return table


def owned(table: Table | Stream) -> Record:
    """Say who writes the table now, or wrote it last."""
    owner = table.owner or Owner("", "", Peer(-1, -1, 0), "")
    peer = owner.peer
    base = table.base if isinstance(table, Stream) else 0
    return Owned(table.epoch, table.starts, owner.client, owner.agent, peer.uid, peer.gid, peer.pid, owner.birth, base)


def _records(table: Table | Stream) -> Iterator[Record]:
    """Say all about the table, so that `_born` and `_replay` make it again."""
    if isinstance(table, Stream):
        yield Head(table.name, table.sequence, table.keep, table.incarnation, table.lost)
        yield owned(table)
        for number, value in table.records:
            yield Item(number, value)
    else:
        yield Head(table.name, table.sequence)
        yield owned(table)
        for key, entry in table.entries.items():
            yield Set(key, entry)
    if table.stale_since:
        yield Left(table.stale_since)


def _born(head: Head) -> Table | Stream:
    if not head.keep:
        table = Table(head.name)
        table.sequence = head.sequence
        return table
    stream = Stream(head.name, keep=head.keep)
    stream.sequence, stream.incarnation, stream.lost = head.sequence, head.incarnation, head.lost
    return stream


def _replay(table: Table | Stream, record: Record) -> None:
    match record:
        case Owned():
            peer = Peer(record.uid, record.gid, record.pid)
            table.owner = Owner(record.client, record.agent, peer, record.birth) if record.client else None
            table.epoch, table.starts, table.stale_since = record.epoch, record.starts, 0.0
            if isinstance(table, Stream):
                table.base = record.base
        case Left():
            table.abandon(record.since)
        case Set() if isinstance(table, Table):
            table.put(record.key, record.value)
        case Item() if isinstance(table, Stream):
            table.add(record.number, record.value)


def _count(table: Table | Stream) -> int:
    return len(table.records if isinstance(table, Stream) else table.entries)
