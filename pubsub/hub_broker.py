"""What the hub does with each frame. No socket here: `send` is given, so it can be driven by hand.

The cases of `receive`, in this order: no session yet (an empty frame or a hello begins one, everything else is
stale), then frames of a writer, then frames of a reader, then the end.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable

from pubsub import wire
from pubsub.acl import GRANT_TABLE, Acl, Peer
from pubsub.hub_owners import Owners
from pubsub.hub_rates import Rates
from pubsub.hub_readers import Readers
from pubsub.hub_session import Session
from pubsub.hub_status import Status
from pubsub.hub_table import Table
from pubsub.hub_watch import Watcher
from pubsub.store import Store
from pubsub.wire import ToHub

GRACE = 5.0  # seconds for a living process whose connection broke to come back
BEAT_INTERVAL = 10.0  # seconds between two looks whether connections still stand
SESSIONS_LIMIT = 64  # of one uid without full rights
RESEND_DELAY = 0.05  # seconds until a client that took no answer is tried again; it waits for that one
log = logging.getLogger("pubsub.hub")

Send = Callable[[bytes, bytes], bool]  # (route, message) -> taken; raises PeerGone


class PeerGone(Exception):  # noqa: N818  # says what happened
    """The connection of that route has ended."""


class Broker:
    """All tables and sessions of one hub."""

    def __init__(self, acl: Acl, store: Store, send: Send, rates: Rates) -> None:
        self.epoch = random.getrandbits(52) | 1  # of this process; 53 bits are exact in every language
        self.malformed = 0  # frames dropped
        self.sessions: dict[bytes, Session] = {}  # by route
        self._clients: dict[str, Session] = {}
        self._acl = acl
        self._store = store
        self._send = send
        self._watcher = Watcher(self._process_ended)
        self._readers = Readers(acl)
        self._owners = Owners(acl, store, self._watcher, self._readers)
        self._status = Status(self._readers, rates)
        self._awake: dict[Session, None] = {}
        self._unsent: dict[bytes, bytes] = {}  # answers to clients without a session that took nothing then, by route
        self._resend_at = 0.0  # monotonic
        self._beat_at = time.monotonic() + BEAT_INTERVAL

    def load(self) -> None:
        """Take over what an earlier hub kept on disk."""
        self._owners.load()
        self._check_grants()

    def receive(self, route: bytes, peer: Peer, data: bytes) -> None:
        """Do what one message asks."""
        session = self.sessions.get(route)
        if session is not None and session.peer != peer:
            self._end(session)  # another connection took the route of a broken one
            session = None
        if not data:
            self.greet(route)
            return
        try:
            frame = wire.decode_to_hub(data)
        except wire.Malformed as exc:
            self.drop(peer, str(exc))
            return
        try:
            if isinstance(frame, wire.Hello):
                self._hello(route, peer, frame)
            elif session is not None:
                self._receive_in(session, frame)
        except Exception:  # a fault of ours; whoever found it loses its session, the others go on
            log.exception("a frame of %s", peer)
            if session is not None:
                self._end(session)

    def drop(self, peer: Peer | None, reason: str) -> None:
        """Count a message that is none of ours."""
        self.malformed += 1
        if self.malformed & (self.malformed - 1) == 0:  # 1, 2, 4, 8 …: a flood must not fill the log
            log.warning("%d malformed frames so far, the last one from %s: %s", self.malformed, peer, reason)

    def pump(self) -> None:
        """Tell every client what it can take now."""
        now = time.monotonic()
        self._store.commit()
        if self._unsent and self._resend_at <= now:
            unsent, self._unsent = self._unsent, {}
            for route, message in unsent.items():
                self._send_message_alone(route, message)
        for session in tuple(self._awake):
            if session.lost_at:
                del self._awake[session]
            elif session.retry_at <= now:
                self._pump(session, now)
                if not session.has_more():
                    self._awake.pop(session, None)

    def next_retry(self) -> float | None:
        """Find when to `pump` again (monotonic); None: not before something comes in."""
        times = [session.retry_at for session in self._awake]
        return min([*times, self._resend_at] if self._unsent else times, default=None)

    def tick(self) -> None:
        """Do what is due by time; called about once a second."""
        now = time.monotonic()
        for session in tuple(self.sessions.values()):
            if session.lost_at and now > session.lost_at + GRACE:
                self._end(session)
        self._owners.end_reservations(now)
        self._store.retry(now)
        if now > self._beat_at:
            self._beat_at = now + BEAT_INTERVAL
            self._owners.forget_empty(time.time())
            for session in self.sessions.values():
                if not session.has_more():
                    session.answer(wire.Beat())
        self._status.publish()

    def held(self) -> int:
        """Count the bytes of all tables."""
        return sum(table.size for table in self._owners.tables.values())

    def close(self) -> None:
        """Leave everything on disk as it is."""
        self._store.close()
        self._watcher.close()

    def greet(self, route: bytes) -> None:
        """Have the client begin anew, with all that it has: it just came, or was not heard for a while."""
        old = self.sessions.get(route)
        if old is not None:
            self._lose(old)
        self._send_alone(route, wire.Greeting(wire.VERSION, self.epoch))

    def _send_alone(self, route: bytes, frame: wire.Frame) -> None:
        """Answer a client that has no session; where it takes nothing now, a little later."""
        self._send_message_alone(route, wire.encode(frame))

    def _send_message_alone(self, route: bytes, message: bytes) -> None:
        self._unsent.pop(route, None)
        try:
            if not self._send(route, message):
                self._unsent[route] = message
                self._resend_at = time.monotonic() + RESEND_DELAY
        except PeerGone:
            return

    def _hello(self, route: bytes, peer: Peer, hello: wire.Hello) -> None:
        known = self._clients.get(hello.client)
        reason = ""
        if hello.version != wire.VERSION:
            reason = f"version {hello.version} is not spoken here, only {wire.VERSION}"
        elif known is not None and known.peer != peer:
            reason = "that client is somebody else"
        elif not self._acl.is_full(peer.uid) and self._count(peer.uid) >= SESSIONS_LIMIT:
            reason = "too many sessions of one uid"
        if reason or not self._acl.is_known(peer.uid):
            self._send_alone(route, wire.Refused(0, "bad" if reason else "denied", reason or "no grant"))
            return
        session = Session(route, peer, hello.client, hello.agent, self._awake)
        other = self.sessions.get(route)
        if other is not None and other is not known:
            self._end(other)
        if known is not None:
            self._readers.end(known)
            self.sessions.pop(known.route, None)
            session.former = known.former | known.claims
        self.sessions[route] = self._clients[hello.client] = session
        session.answer(wire.Welcome(self.epoch))
        if not self._watcher.watch(peer.pid):
            self._end(session)

    def _count(self, uid: int) -> int:
        return sum(session.peer.uid == uid for session in self.sessions.values())

    def _receive_in(self, session: Session, frame: ToHub) -> None:
        match frame:
            case wire.Publish() | wire.OpenStream():
                self._owners.claim(session, frame)
            case wire.Put() | wire.Whole() | wire.Append():
                self._owners.write(session, frame)
                self._check_grants()
            case wire.Release():
                self._owners.release(session, frame.handle)
            case wire.Resumed():
                self._owners.resumed(session)
            case wire.Subscribe() | wire.Follow():
                self._readers.add(session, frame)
            case wire.Cancel():
                self._readers.cancel(session, frame.handle)
            case wire.Bye():
                self._end(session)
                self._send_alone(session.route, wire.Goodbye())
        if session.is_flooded():
            self.drop(session.peer, "asks and never reads")
            self._end(session)

    def _check_grants(self) -> None:
        """Take new grants over; who lost some begins anew, and gets what is left."""
        table = self._owners.tables.get(GRANT_TABLE)
        if not isinstance(table, Table) or table.sequence == self._grants_sequence:
            return
        self._grants_sequence = table.sequence
        changed = self._acl.load(table.entries)
        for session in tuple(self.sessions.values()):
            if session.peer.uid in changed and not self._acl.is_full(session.peer.uid):
                self._owners.recheck(session)
                self._readers.recheck(session)

    _grants_sequence = -1

    def _pump(self, session: Session, now: float) -> None:
        try:
            session.pump(self._send, now)
        except PeerGone:
            self._lose(session)

    def _lose(self, session: Session) -> None:
        """The connection broke: the client may come back with another, its tables wait a while."""
        self._readers.end(session)
        session.lost_at = session.lost_at or time.monotonic()
        if not session.claims and not session.former:
            self._end(session)

    def _end(self, session: Session) -> None:
        self._readers.end(session)
        self._owners.end(session)
        self._awake.pop(session, None)
        if self.sessions.get(session.route) is session:
            del self.sessions[session.route]
        if self._clients.get(session.client) is session:
            del self._clients[session.client]
        if not any(other.peer.pid == session.peer.pid for other in self.sessions.values()):
            self._watcher.unwatch(session.peer.pid)

    def _process_ended(self, pid: int) -> None:
        for session in tuple(self.sessions.values()):
            if session.peer.pid == pid:
                self._end(session)
        self._owners.process_ended(pid)
