"""Of the bus itself."""

from __future__ import annotations

from pubsub.topics.base import Message


class BusGrant(Message, frozen=True, kw_only=True):
    """What a uid may do on the bus, beside root, which may all. Published by the supervisor; the key is the uid."""

    publish: tuple[str, ...] = ()  # names of tables; `*` stands for one part
    subscribe: tuple[str, ...] = ()
    messages: int = 0  # that it may send a second; 0: any number
    bytes: int = 0  # likewise


class BusUse(Message, frozen=True, kw_only=True):
    """What a uid without full rights sends. Published by the hub as `hub/BusUse`; the key is the uid.

    Who sends little, and never had more than it may, has no row.
    """

    messages: int = 0  # a second
    bytes: int = 0  # a second
    dropped: int = 0  # messages over its limit so far; what they said was told again later
    shut_out: int = 0  # how often it went on, and was not let in for a while


class TableStatus(Message, frozen=True, kw_only=True):
    """One table as the hub knows it. Published by the hub itself as `hub/TableStatus`; the key is the table's name."""

    keys: int
    bytes: int
    sequence: int  # of the last change
    epoch: int  # of the writer
    restarted: int  # starts of its writer
    uid: int = -1  # the writer's, verified by the kernel; -1: none now
    pid: int = 0
    stale_since: float = 0.0  # seconds since the epoch; 0: its writer lives
    persistent: bool = False
    stream: bool = False
    subscribers: int = 0
    lost: int = 0  # records of a stream that a reader missed
    problem: str = ""  # what is wrong with its files, in words
