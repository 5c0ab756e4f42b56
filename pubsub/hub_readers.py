"""Subscriptions: which feeds lead from which tables to which sessions."""

from __future__ import annotations

from pubsub import names
from pubsub.acl import Acl
from pubsub.hub_feed import Feed
from pubsub.hub_session import Session, Subscription
from pubsub.hub_stream import Cursor, Stream
from pubsub.hub_table import Table
from pubsub.limits import SUBSCRIPTIONS_LIMIT
from pubsub.wire import Follow, Refused, Subscribe, Synchronized


class Readers:
    """All subscriptions, found by pattern when a table is born."""

    def __init__(self, acl: Acl) -> None:
        self.tables: dict[str, Table | Stream] = {}
        self._acl = acl
        self._wanted: dict[str, dict[tuple[Session, int], Subscribe | Follow]] = {}  # by name or pattern

    def add(self, session: Session, frame: Subscribe | Follow) -> None:
        """Begin a subscription, or tell why not."""
        handle, pattern = frame.handle, frame.table
        if not names.is_pattern(pattern) or (isinstance(frame, Follow) and names.ANY in pattern):
            session.answer(Refused(handle, "bad", f"{pattern} is no name of a table"))
        elif not self._acl.may_subscribe(session.peer.uid, pattern):
            session.answer(Refused(handle, "denied", pattern))
        elif handle in session.subscriptions:
            session.answer(Refused(handle, "bad", "the handle is in use"))
        elif len(session.subscriptions) >= SUBSCRIPTIONS_LIMIT and not self._acl.is_full(session.peer.uid):
            session.answer(Refused(handle, "full", f"{SUBSCRIPTIONS_LIMIT} subscriptions are the limit"))
        else:
            self._begin(session, frame)

    def born(self, table: Table | Stream) -> None:
        """Take a new table in, and give it to all who wait for it."""
        self.tables[table.name] = table
        for pattern in (table.name, *(p for p in self._wanted if names.ANY in p)):
            if names.matches(pattern, table.name):
                for (session, _), frame in tuple(self._wanted.get(pattern, {}).items()):
                    self._attach(session, session.subscriptions[frame.handle], frame, table)

    def forget(self, table: Table | Stream) -> None:
        """Drop a table that is empty; its readers know nothing of it."""
        del self.tables[table.name]
        for wanted in self._wanted.values():
            for session, handle in wanted:
                feed = session.subscriptions[handle].feeds.pop(table.name, None)
                if feed is not None:
                    session.subscriptions[handle].waiting.discard(table.name)
                    session.forget(feed)

    def cancel(self, session: Session, handle: int) -> None:
        """End a subscription; unknown ones have ended already."""
        subscription = session.subscriptions.pop(handle, None)
        if subscription is None:
            return
        wanted = self._wanted[subscription.pattern]
        del wanted[session, handle]
        if not wanted:
            del self._wanted[subscription.pattern]
        for name, feed in subscription.feeds.items():
            if name in self.tables:  # else it was forgotten meanwhile
                self.tables[name].feeds.discard(feed)
            session.forget(feed)

    def end(self, session: Session) -> None:
        """End all subscriptions of a session."""
        for handle in tuple(session.subscriptions):
            self.cancel(session, handle)

    def recheck(self, session: Session) -> None:
        """End what the session may no longer read."""
        for handle, subscription in tuple(session.subscriptions.items()):
            if not self._acl.may_subscribe(session.peer.uid, subscription.pattern):
                self.cancel(session, handle)
                session.answer(Refused(handle, "denied", subscription.pattern))

    def _begin(self, session: Session, frame: Subscribe | Follow) -> None:
        subscription = session.subscriptions[frame.handle] = Subscription(frame.table)
        self._wanted.setdefault(frame.table, {})[session, frame.handle] = frame
        if names.ANY not in frame.table:
            found = [self.tables[frame.table]] if frame.table in self.tables else []
        else:
            found = [table for name, table in self.tables.items() if names.matches(frame.table, name)]
        for table in found:
            self._attach(session, subscription, frame, table)
        if isinstance(frame, Subscribe) and not subscription.feeds:
            subscription.told = True
            session.answer(Synchronized(frame.handle))

    def _attach(
        self, session: Session, subscription: Subscription, frame: Subscribe | Follow, table: Table | Stream
    ) -> None:
        if isinstance(frame, Subscribe) and isinstance(table, Table):
            feed = Feed(frame.handle, table, session.wake)
            table.feeds.add(feed)
            subscription.feeds[table.name] = feed
            subscription.waiting.add(table.name)
        elif isinstance(frame, Follow) and isinstance(table, Stream):
            cursor = Cursor(frame.handle, table, _start(frame, table), session.wake)
            table.feeds.add(cursor)
            subscription.feeds[table.name] = cursor


def _start(frame: Follow, stream: Stream) -> int:
    """Number of the first record to give."""
    if frame.after and frame.incarnation == stream.incarnation:
        return frame.after + 1
    return max(1, stream.sequence - max(0, frame.last) + 1)
