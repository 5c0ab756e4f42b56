"""The ways that instances' packets can go: of each uplink its own, and those of static routes by other routers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network

from pubsub.topics import NetworkInstanceConfig
from supervisor.facts import Uplink
from supervisor.names import LAST_MARK, MARK_MASK
from supervisor.uplinks.selection import Candidate, Selection, may_use, select
from supervisor.uplinks.tables import Way, uplink_way

ROUTER_MARKS = MARK_MASK - LAST_MARK  # so many ways by other routers can have a mark

Router = tuple[str, IPv4Address]  # ifname and a router of that uplink's network


def routes_of(
    config: NetworkInstanceConfig, selection: Selection, known: Mapping[str, Candidate]
) -> Iterator[tuple[IPv4Network, Uplink | None, IPv4Address | None]]:
    """Yield the instance's static routes that leave it: destination, uplink (None: there is none now) and router."""
    present = selection.uplink.ifname if selection.uplink else ""
    for route in config.routes:
        if not route.app:
            uplink = select((route.uplink,), known, present).uplink if route.uplink else selection.uplink
            yield route.to, uplink, route.via


def named_uplinks(word: str, selection: Selection, known: Mapping[str, Candidate]) -> tuple[Uplink, ...]:
    """Return the uplinks of a port map: those that its word means, or the selected ones."""
    return tuple(candidate.uplink for candidate in may_use((word,), known)) if word else selection.shared


def router_marks(routers: Iterable[Router]) -> dict[Router, int]:
    """Give each router a mark of its own, mostly the same one whatever others there are."""
    marks: dict[Router, int] = {}
    taken: set[int] = set()
    for router in sorted(set(routers)):
        digest = hashlib.blake2s(f"{router[0]} {router[1]}".encode(), digest_size=4).digest()
        offset = int.from_bytes(digest, "big") % ROUTER_MARKS
        while offset in taken and len(taken) < ROUTER_MARKS:
            offset = (offset + 1) % ROUTER_MARKS
        taken.add(offset)
        marks[router] = LAST_MARK + 1 + offset
    return marks


def way_to(uplink: Uplink | None, via: IPv4Address | None, marks: Mapping[Router, int]) -> Way | None:
    """Return the way by an uplink and a router of its network; None: there is no such uplink."""
    if uplink is None:
        return None
    return uplink_way(uplink) if via is None else Way(marks[uplink.ifname, via], uplink, via)
