"""Who may do what on the bus: the kernel tells who a peer is, `supervisor/BusGrant` what it may."""

from __future__ import annotations

from typing import Self

import msgspec

from pubsub import names
from pubsub.codec import CodecError, decode
from pubsub.topics import BusGrant

GRANT_TABLE = "supervisor/BusGrant"
ROOT = 0  # uid


class Peer(msgspec.Struct, frozen=True):
    """A process at the other end of a connection, as SO_PEERCRED told (unix(7))."""

    uid: int
    gid: int
    pid: int  # 0: not visible from the hub's pid namespace

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `uid:gid:pid`. Raises ValueError."""
        uid, gid, pid = text.split(":")
        return cls(int(uid), int(gid), int(pid))

    def __str__(self) -> str:
        return f"{self.uid}:{self.gid}:{self.pid}"


class Rate(msgspec.Struct, frozen=True):
    """What a uid may send a second."""

    messages: int
    bytes: int


class Acl:
    """The grants in force. Root and the hub's own uid may all."""

    def __init__(self, own_uid: int) -> None:
        self._all = frozenset((ROOT, own_uid))
        self._grants: dict[int, BusGrant] = {}

    def load(self, entries: dict[str, bytes]) -> set[int]:
        """Take the grant table's content; return the uids whose rights changed. What can't be read grants nothing."""
        found: dict[int, BusGrant] = {}
        for key, value in entries.items():
            try:
                found[int(key)] = decode(BusGrant, value)
            except (CodecError, ValueError):
                continue
        changed = {uid for uid in {*found, *self._grants} if found.get(uid) != self._grants.get(uid)}
        self._grants = found
        return changed

    def is_full(self, uid: int) -> bool:
        """Tell whether the uid may do everything."""
        return uid in self._all

    def is_known(self, uid: int) -> bool:
        """Tell whether the uid may do anything at all."""
        return self.is_full(uid) or uid in self._grants

    def rate_of(self, uid: int) -> Rate | None:
        """Return what the uid may send a second; None: it isn't bounded."""
        grant = self._grants.get(uid)
        if grant is None or self.is_full(uid) or not grant.messages or not grant.bytes:
            return None
        return Rate(grant.messages, grant.bytes)

    def may_publish(self, uid: int, table: str) -> bool:
        """Tell whether the uid may write the table."""
        grant = self._grants.get(uid)
        return self.is_full(uid) or (grant is not None and _covered(grant.publish, table))

    def may_subscribe(self, uid: int, pattern: str) -> bool:
        """Tell whether the uid may read all that the pattern could match."""
        grant = self._grants.get(uid)
        return self.is_full(uid) or (grant is not None and _covered(grant.subscribe, pattern))


def _covered(patterns: tuple[str, ...], name: str) -> bool:
    return any(names.matches(pattern, name) for pattern in patterns)
