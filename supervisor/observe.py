"""Gathers the facts of the host: its links, addresses, routes and resolvers, by rtnetlink and files of the host."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Interface, IPv6Interface

from nsmanager.items.address import IFA_ADDRESS, IFA_LOCAL, IFADDRMSG, RTM_GETADDR
from nsmanager.items.link import IFF_LOOPBACK, IFF_LOWER_UP, IFF_UP, IFINFOMSG, IFLA_ADDRESS, IFLA_GROUP, IFLA_MTU
from nsmanager.items.route import (
    RT_TABLE_MAIN,
    RTA_DST,
    RTA_GATEWAY,
    RTA_OIF,
    RTA_PREFSRC,
    RTA_PRIORITY,
    RTA_TABLE,
    RTM_F_CLONED,
    RTM_GETROUTE,
    RTMSG,
    TYPES,
)
from nsmanager.marks import LINK_GROUP
from nsmanager.namespace import IFLA_IFNAME, RTM_GETLINK, Namespace
from nsmanager.netlink import attributes, number, string, u32
from supervisor.facts import Facts, Health, Uplink, UplinkRoute
from supervisor.kernel_tables import OF_THE_FIRST, SIZES, Tables
from supervisor.names import FORWARDING6, FORWARDS6, conf_sysctl
from supervisor.packet_steering import steered_by
from supervisor.resolvers import resolvers_of

IFA_F_TEMPORARY, IFA_F_DEPRECATED = 0x01, 0x20
IFA_F_TENTATIVE, IFA_F_DADFAILED = 0x40, 0x08  # if_addr.h: not usable yet, or never
RTA_MULTIPATH = 9
RTNEXTHOP = struct.Struct("=HBBi")  # length, flags, hops, index
SCOPE_UNIVERSE = 0
CPU_LIST = re.compile(r"(\d+)(?:-(\d+))?")  # as 2-3,8; see cpuset(7)
FAMILIES = (socket.AF_INET, socket.AF_INET6)


async def gather(
    ns: Namespace,
    borrowed: Mapping[str, str],
    *,
    namespaces: Iterable[str],
    ports: dict[str, dict[str, str]],
    lent: dict[str, tuple[str, ...]],
    health: dict[str, Health],
    present: dict[str, str],
) -> Facts:
    """Look at the host. `borrowed` are the original values of sysctls that we have set."""
    ns.read_links()
    uplinks = {}
    for message, fields in ns.links:
        flags = IFINFOMSG.unpack_from(message)[3]
        if not flags & IFF_LOOPBACK and number(fields.get(IFLA_GROUP)) != LINK_GROUP:
            uplink = read_uplink(ns, message, borrowed)
            uplinks[uplink.ifname] = uplink
    return Facts(
        uplinks,
        health,
        present,
        frozenset(namespaces),
        ports,
        lent,
        tables=read_tables(ns, borrowed),
        processors=read_processors(ns),
        ipv6=ns.read_sysctl("net.ipv6.conf.all.disable_ipv6") is not None,
        forced6=ns.read_sysctl("net.ipv6.conf.all.force_forwarding") is not None,
        forwarded6=(borrowed.get(FORWARDING6) or ns.read_sysctl(FORWARDING6)) not in (None, "0"),
    )


def read_tables(ns: Namespace, borrowed: Mapping[str, str]) -> Tables:
    """Return how large the kernel's tables are without us, and whether that is ours to change."""
    found = {name: borrowed.get(name) or ns.read_sysctl(name) for name in SIZES}
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    sizes = {name: int(value) for name, value in found.items() if value}
    return Tables(sizes, ours=OF_THE_FIRST in sizes, memory=memory)


def read_processors(ns: Namespace) -> int:
    """Return a bit for each processor that packets may be spread over; 0: there is one only, or a kernel without RPS.

    The kernel itself leaves out those that are set apart (rps_cpumask_housekeeping() in net/core/net-sysfs.c).
    """
    usable = os.sched_getaffinity(0) if steered_by(ns, "lo") is not None else set[int]()
    for kind in ("isolated", "nohz_full"):
        for first, last in CPU_LIST.findall(ns.read_attribute(f"devices/system/cpu/{kind}") or ""):
            usable -= set(range(int(first), int(last or first) + 1))
    return sum(1 << number for number in usable) if len(usable) > 1 else 0


def refresh(ns: Namespace, uplinks: Iterable[Uplink], borrowed: Mapping[str, str]) -> dict[str, Uplink]:
    """Look at some uplinks again, and at nothing else: those that are gone are left out. Takes a millisecond or two."""
    found = {}
    for uplink in uplinks:
        try:
            message = ns.rtnl.ask(RTM_GETLINK, IFINFOMSG.pack(0, 0, uplink.ifindex, 0, 0))
        except OSError:  # ENODEV: it is gone
            continue
        now = read_uplink(ns, message, borrowed)
        found[now.ifname] = now
    return found


def read_uplink(ns: Namespace, message: bytes, borrowed: Mapping[str, str]) -> Uplink:
    """Return one link, from its message and from what the kernel says of its addresses and routes."""
    fields = attributes(message, IFINFOMSG.size)
    _, _, index, flags, _ = IFINFOMSG.unpack_from(message)
    ifname = string(fields[IFLA_IFNAME])
    addresses = [address for _, address in sorted(read_addresses(ns, index), key=lambda found: found[0])]
    forwarding = conf_sysctl(ifname, "forwarding")
    accept_ra, forwarding6 = conf_sysctl(ifname, "accept_ra", 6), conf_sysctl(ifname, "forwarding", 6)
    return Uplink(
        ifname=ifname,
        ifindex=index,
        up=bool(flags & IFF_UP and flags & IFF_LOWER_UP),
        mac=fields.get(IFLA_ADDRESS, b"").hex(":"),
        mtu=number(fields.get(IFLA_MTU)),
        addresses=tuple(a for a in addresses if isinstance(a, IPv4Interface)),
        addresses6=tuple(a for a in addresses if isinstance(a, IPv6Interface)),
        routes=tuple(route for family in FAMILIES for route in read_routes(ns, family, index)),
        resolvers=resolvers_of(ifname, index, [a.network for a in addresses]),
        forwarded=(borrowed.get(forwarding) or ns.read_sysctl(forwarding)) == "1",
        accepts_ra=borrowed.get(accept_ra) == "1"
        or (ns.read_sysctl(accept_ra) == "1" and ns.read_sysctl(forwarding6) in ("0", FORWARDS6)),
    )


def read_addresses(ns: Namespace, index: int) -> Iterator[tuple[int, IPv4Interface | IPv6Interface]]:
    """Yield the addresses of a link that packets can have now, with a number that is lower for the more lasting ones.

    IPv6 ones of the link alone are left out.
    """
    for family in FAMILIES:
        try:
            found = ns.rtnl.dump(RTM_GETADDR, IFADDRMSG.pack(family, 0, 0, 0, index))
        except OSError:  # ENODEV: it is gone by now; EOPNOTSUPP: no IPv6
            continue
        for message in found:
            _, prefixlen, flags, scope, of = IFADDRMSG.unpack_from(message)
            fields = attributes(message, IFADDRMSG.size)
            if of != index or (
                family == socket.AF_INET6 and (scope != SCOPE_UNIVERSE or flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED))
            ):
                continue
            packed = fields.get(IFA_LOCAL) or fields[IFA_ADDRESS]
            passing = flags & (IFA_F_DEPRECATED | IFA_F_TEMPORARY) if family == socket.AF_INET6 else 0
            yield (
                passing,
                IPv4Interface((packed, prefixlen)) if len(packed) == 4 else IPv6Interface((packed, prefixlen)),
            )


def read_routes(ns: Namespace, family: int, index: int) -> Iterator[UplinkRoute]:
    """Yield the routes of the main table that lead out by a link; of several next hops the one that does."""
    header = RTMSG.pack(family, 0, 0, 0, RT_TABLE_MAIN, 0, 0, 0, 0)
    try:
        found = ns.rtnl.dump(RTM_GETROUTE, header + u32(RTA_TABLE, RT_TABLE_MAIN) + u32(RTA_OIF, index))
    except OSError:  # ENODEV: it is gone by now; EOPNOTSUPP: no IPv6
        return
    for message in found:
        _, length, _, _, _, _, _, kind, flags = RTMSG.unpack_from(message)
        fields = attributes(message, RTMSG.size)
        if kind != TYPES["unicast"] or flags & RTM_F_CLONED:
            continue
        to = ipaddress.ip_network((fields.get(RTA_DST, bytes(4 if family == socket.AF_INET else 16)), length))
        if to.version == 6 and (to.is_link_local or to.is_multicast):
            continue
        for via in next_hops(fields, index):
            src = fields.get(RTA_PREFSRC)
            yield UplinkRoute(
                to,
                ipaddress.ip_address(via) if via else None,
                ipaddress.ip_address(src) if src else None,
                number(fields.get(RTA_PRIORITY)),
            )
            break


def next_hops(fields: dict[int, bytes], index: int) -> Iterator[bytes | None]:
    """Yield the gateways of a route by a link; None: the destination is on the link itself."""
    if RTA_MULTIPATH not in fields:
        if number(fields.get(RTA_OIF)) == index:
            yield fields.get(RTA_GATEWAY)
        return
    data, offset = fields[RTA_MULTIPATH], 0
    while offset + RTNEXTHOP.size <= len(data):
        length, _, _, of = RTNEXTHOP.unpack_from(data, offset)
        if length < RTNEXTHOP.size:
            return
        if of == index:
            yield attributes(data[offset : offset + length], RTNEXTHOP.size).get(RTA_GATEWAY)
        offset += (length + 3) & ~3
