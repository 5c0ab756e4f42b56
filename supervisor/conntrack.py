"""Ends tracked connections of instances that were bound elsewhere: else their packets would stick to the dead path."""

from __future__ import annotations

import contextlib
import errno
import re
import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address

import msgspec

from nsmanager.flows.entry import HEADER_SIZE, ID, MARK, Entry
from nsmanager.flows.tracked import CT_DELETE, CT_GET, Tracked
from nsmanager.netlink import attribute
from supervisor.names import MARK_MASK
from supervisor.plan import Plan

FAMILIES = (socket.AF_INET, socket.AF_INET6)
CTA_MARK_MASK = 21  # nfnetlink_conntrack.h


class Stuck(msgspec.Struct, frozen=True):
    """Connections that lead where nothing is any more, by the instances' ends of their links, as text."""

    everything: frozenset[str] = frozenset()  # of these instances
    outbound: frozenset[tuple[str, int]] = frozenset()  # of these, those that they opened by a mark

    def __bool__(self) -> bool:
        return bool(self.everything or self.outbound)

    def holds(self, entry: Entry) -> bool:
        """Tell whether a tracked connection is one of these."""
        original, reply = entry.original, entry.reply
        ends = {str(original.source), str(original.destination), str(reply.source)}
        return bool(ends & self.everything) or (str(original.source), entry.mark & MARK_MASK) in self.outbound


def unbound(before: Plan, after: Plan) -> Stuck:
    """Return what sticks to the past: instances that are gone, or whose uplinks or port maps are others. Pure."""
    everything, outbound = set[str](), set[tuple[str, int]]()
    for name, old in before.instances.items():
        if old.bound is None:
            continue
        new = after.instances.get(name)
        ends = {str(end) for end in (old.bound.inner_end, old.bound.inner_end6) if end}
        if new is None or new.bound is None or new.inward != old.inward:
            everything |= ends
        else:
            gone = {mark for mark, way in old.outward.items() if new.outward.get(mark) != way}
            outbound |= {(end, mark) for end in ends for mark in gone}
    return Stuck(frozenset(everything), frozenset(outbound))


def forget_flows(stuck: Stuck) -> int:
    """Delete these connections in this namespace. Returns how many. Raises OSError."""
    with contextlib.closing(Tracked()) as tracked:
        return sum(forget(tracked, entry) for entry in list(found(tracked, stuck)))


def forget(tracked: Tracked, entry: Entry) -> bool:
    """Delete one connection; False when it ended by itself meanwhile. Raises OSError."""
    try:
        tracked.request(CT_DELETE, 0, entry.question + attribute(ID, entry.id))
    except OSError as exc:
        if exc.errno != errno.ENOENT:
            raise
        return False
    return True


def found(tracked: Tracked, stuck: Stuck) -> Iterator[Entry]:
    """Yield these connections: of a host's hundreds of thousands no other is decoded, or kept."""
    ends = {*stuck.everything, *(end for end, _ in stuck.outbound)}
    has_end = re.compile(b"|".join(re.escape(ip_address(end).packed) for end in sorted(ends)))
    for message in listed(tracked, stuck):
        if has_end.search(message) and stuck.holds(entry := Entry(message)):
            yield entry


def listed(tracked: Tracked, stuck: Stuck) -> Iterator[bytes]:
    """Yield what the kernel says of connections that may be meant: where marks tell, it lists only those."""
    if stuck.everything:
        yield from tracked.stream(CT_GET, bytes(HEADER_SIZE))
        return
    for mark in {mark for _, mark in stuck.outbound}:
        wanted = attribute(MARK, struct.pack(">L", mark)) + attribute(CTA_MARK_MASK, struct.pack(">L", MARK_MASK))
        for family in FAMILIES:
            yield from tracked.stream(CT_GET, bytes((family,)).ljust(HEADER_SIZE, b"\0") + wanted)
