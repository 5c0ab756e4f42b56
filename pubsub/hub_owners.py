"""Publications: who writes which table, and what becomes of a table whose writer is gone."""

from __future__ import annotations

import time

from pubsub import names
from pubsub.acl import Acl
from pubsub.hub_readers import Readers
from pubsub.hub_session import Claim, Session
from pubsub.hub_stream import Stream
from pubsub.hub_table import Owner, Table
from pubsub.hub_watch import Watcher, birth_of
from pubsub.limits import CLAIMS_LIMIT, TABLES_LIMIT
from pubsub.store import Store, owned
from pubsub.store_log import Item, Left, Set
from pubsub.wire import Append, Claimed, OpenStream, Publish, Put, Refused, Released, Whole

RESERVATION = 3.0  # seconds after the hub's start in which a living writer's tables wait for it
FORGET_AFTER = 60.0  # seconds that an empty table without a writer stays, so that a restart is still told
HUB = "hub"  # the agent whose tables are the hub's own


class Owners:
    """All tables and streams with their writers."""

    def __init__(self, acl: Acl, kept: Store, watcher: Watcher, readers: Readers) -> None:
        self.tables = readers.tables
        self._acl = acl
        self._store = kept
        self._watcher = watcher
        self._readers = readers

    def load(self) -> None:
        """Take over what is on disk. Tables whose writer still lives wait for it a while; the others are stale."""
        until = time.monotonic() + RESERVATION
        for table in self._store.load():
            self._readers.born(table)
            owner = table.owner
            if owner is None:
                continue
            if owner.birth and owner.birth == birth_of(owner.peer.pid) and self._watcher.watch(owner.peer.pid):
                owner.reserved_until = until
            else:
                self._abandon(table)

    def claim(self, session: Session, frame: Publish | OpenStream) -> None:
        """Make the session the writer of a table or stream, or tell why not."""
        refused = self._refusal(session, frame)
        if refused:
            session.answer(Refused(frame.handle, *refused))
            return
        owner = Owner(session.client, session.agent, session.peer, birth_of(session.peer.pid))
        table = self.tables.get(frame.table)
        if table is None:
            table = Stream(frame.table, keep=frame.keep) if isinstance(frame, OpenStream) else Table(frame.table)
        if isinstance(table, Stream) and isinstance(frame, OpenStream):
            table.claim(owner, frame.epoch, frame.base)
            answer = Claimed(frame.handle, table.starts, table.base, table.sequence - table.base)
            claim = Claim(frame.handle, table, owner, None)
        else:
            table.claim(owner, frame.epoch)
            answer = Claimed(frame.handle, table.starts)
            claim = Claim(frame.handle, table, owner, set())
        session.claims[frame.handle] = claim
        self._store.keep(table, persistent=isinstance(frame, Publish) and frame.persistent)
        self._store.append(table, owned(table))
        if table.name not in self.tables:
            self._readers.born(table)
        session.answer(answer)

    def write(self, session: Session, frame: Put | Whole | Append) -> None:
        """Take what a writer sends. Frames of claims that have ended are late ones, and nothing."""
        claim = session.claims.get(frame.handle)
        if claim is None or claim.table.owner is not claim.owner:
            return
        table = claim.table
        number = 0
        if isinstance(table, Stream):
            if isinstance(frame, Append):
                for record in table.append(frame.first, frame.records):
                    self._store.append(table, Item(*record))
                number = frame.first + len(frame.records) - 1
        elif isinstance(frame, Put):
            self._put(session, claim, table, frame)
            number = frame.number
        elif isinstance(frame, Whole):
            for key in [] if claim.marked is None else [k for k in table.entries if k not in claim.marked]:
                table.put(key, None)
                self._store.append(table, Set(key, None))
            claim.marked = None
            number = frame.number
        self._store.when_safe(table, lambda: session.acknowledge(frame.handle, number))

    def release(self, session: Session, handle: int) -> None:
        """End a publication."""
        claim = session.claims.pop(handle, None)
        if claim is not None and claim.table.owner is claim.owner:
            self._abandon(claim.table)
        session.answer(Released(handle))

    def resumed(self, session: Session) -> None:
        """Give up what the client had on an earlier connection and didn't claim again."""
        for claim in session.former.values():
            if claim.table.owner is claim.owner:
                self._abandon(claim.table)
        session.former = {}
        for table in self.tables.values():
            owner = table.owner
            if owner is not None and owner.reserved_until and owner.client == session.client:
                self._abandon(table)

    def end(self, session: Session) -> None:
        """End all publications of a session."""
        for claim in (*session.former.values(), *session.claims.values()):
            if claim.table.owner is claim.owner:
                self._abandon(claim.table)
        session.former, session.claims = {}, {}

    def recheck(self, session: Session) -> None:
        """End what the session may no longer write."""
        for handle, claim in tuple(session.claims.items()):
            if not self._acl.may_publish(session.peer.uid, claim.table.name):
                self.release(session, handle)
                session.answer(Refused(handle, "denied", claim.table.name))

    def end_reservations(self, now: float) -> None:
        """Tables whose writer didn't come back in time are stale. `now` is monotonic."""
        for table in self.tables.values():
            if table.owner is not None and 0 < table.owner.reserved_until < now:
                self._abandon(table)

    def forget_empty(self, now: float) -> None:
        """Drop tables that nobody writes and that hold nothing. `now` in seconds since the epoch."""
        for table in tuple(self.tables.values()):
            if isinstance(table, Table) and not table.entries and 0 < table.stale_since < now - FORGET_AFTER:
                self._readers.forget(table)
                self._store.forget(table)

    def process_ended(self, pid: int) -> None:
        """Tables that waited for a process that is gone are stale."""
        for table in self.tables.values():
            if table.owner is not None and table.owner.reserved_until and table.owner.peer.pid == pid:
                self._abandon(table)

    def _refusal(self, session: Session, frame: Publish | OpenStream) -> tuple[str, str] | None:
        name, uid = frame.table, session.peer.uid
        table = self.tables.get(name)
        if not names.is_name(name) or frame.handle in session.claims:
            return "bad", f"{name} is no name of a table"
        if not self._acl.may_publish(uid, name):
            return "denied", name
        if name.partition("/")[0] == HUB:
            return "taken", "the hub itself"
        if table is None and len(self.tables) >= TABLES_LIMIT:
            return "full", f"{TABLES_LIMIT} tables are the limit"
        if len(session.claims) >= CLAIMS_LIMIT and not self._acl.is_full(uid):
            return "full", f"{CLAIMS_LIMIT} tables are the limit"
        if table is not None and isinstance(table, Stream) != isinstance(frame, OpenStream):
            return "bad", f"{name} is a {'stream' if isinstance(table, Stream) else 'table'}"
        owner = table.owner if table is not None else None
        if table is None or owner is None or (owner.client == session.client and table.epoch == frame.epoch):
            return None
        if self._watcher.is_alive(owner.peer.pid):
            return "taken", str(owner)
        return None

    def _put(self, session: Session, claim: Claim, table: Table, frame: Put) -> None:
        for key, value in frame.entries:
            if value is not None and not table.fits(key, value):
                session.answer(Refused(frame.handle, "full", key))
                continue
            if table.put(key, value):
                self._store.append(table, Set(key, value))
            if claim.marked is not None and value is not None:
                claim.marked.add(key)

    def _abandon(self, table: Table | Stream) -> None:
        table.abandon(time.time())
        self._store.append(table, Left(table.stale_since))
