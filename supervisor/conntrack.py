"""Ends tracked connections of instances that were bound elsewhere: else their packets would stick to the dead path."""

from __future__ import annotations

import errno
from collections.abc import Collection
from ipaddress import IPv4Address

from pyroute2.conntrack import Conntrack
from pyroute2.netlink.exceptions import NetlinkError

from supervisor.plan import Plan


def unbound(before: Plan, after: Plan) -> set[IPv4Address]:
    """Return the link addresses of the instances that are gone, or whose uplink or port maps are others now. Pure."""
    return {
        old.bound.inner_end
        for name, old in before.instances.items()
        if old.bound is not None and (name not in after.instances or after.instances[name].bindings != old.bindings)
    }


def forget_flows(addresses: Collection[IPv4Address]) -> int:
    """Delete the connections from and to the addresses in this namespace. Returns how many. Raises OSError."""
    wanted = {str(address) for address in addresses}
    with Conntrack() as conntrack:
        # The whole table first: 0.9.7 can't delete while it dumps.
        found = [
            entry.tuple_orig
            for entry in list(conntrack.dump_entries())
            if {entry.tuple_orig.saddr, entry.tuple_orig.daddr, entry.tuple_reply.saddr} & wanted
        ]
        for flow in found:
            try:
                conntrack.entry("del", tuple_orig=flow)
            except NetlinkError as exc:
                if exc.code != errno.ENOENT:  # it ended by itself meanwhile
                    raise OSError(exc.code, f"conntrack: {exc}") from exc
    return len(found)
