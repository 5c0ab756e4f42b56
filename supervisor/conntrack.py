"""Ends tracked connections of instances that were bound elsewhere: else their packets would stick to the dead path."""

from __future__ import annotations

import dataclasses
import errno
import socket
from collections.abc import Iterator

from pyroute2.conntrack import Conntrack, ConntrackEntry
from pyroute2.netlink.exceptions import NetlinkError

from supervisor.names import MARK_MASK
from supervisor.plan import Plan

FAMILIES = (socket.AF_INET, socket.AF_INET6)


@dataclasses.dataclass(frozen=True)
class Stuck:
    """Connections that lead where nothing is any more, by the instances' ends of their links, as text."""

    everything: frozenset[str] = frozenset()  # of these instances
    outbound: frozenset[tuple[str, int]] = frozenset()  # of these, those that they opened by a mark

    def __bool__(self) -> bool:
        return bool(self.everything or self.outbound)

    def holds(self, entry: ConntrackEntry) -> bool:
        """Tell whether a tracked connection is one of these."""
        ends = {entry.tuple_orig.saddr, entry.tuple_orig.daddr, entry.tuple_reply.saddr}
        return bool(ends & self.everything) or (
            (entry.tuple_orig.saddr, (entry.mark or 0) & MARK_MASK) in self.outbound
        )


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
    try:
        return sum(forget_family(family, stuck) for family in FAMILIES)
    except NetlinkError as exc:
        raise OSError(exc.code, f"conntrack: {exc}") from exc


def forget_family(family: int, stuck: Stuck) -> int:
    """Delete those of one version of IP. Returns how many. Raises NetlinkError."""
    done = 0
    with Conntrack(nfgen_family=family) as conntrack:
        # All of them first: 0.9.7 can't delete while it dumps.
        for entry in [entry for entry in dump(conntrack, stuck) if stuck.holds(entry)]:
            try:
                conntrack.entry("del", tuple_orig=entry.tuple_orig)
                done += 1
            except NetlinkError as exc:
                if exc.code != errno.ENOENT:  # it ended by itself meanwhile
                    raise
    return done


def dump(conntrack: Conntrack, stuck: Stuck) -> Iterator[ConntrackEntry]:
    """Yield the entries that may be meant: where marks tell, the kernel lists only those."""
    if stuck.everything:
        yield from list(conntrack.dump_entries())
        return
    for mark in {mark for _, mark in stuck.outbound}:
        yield from list(conntrack.dump_entries(mark=mark, mark_mask=MARK_MASK))
