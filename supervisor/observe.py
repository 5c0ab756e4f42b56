"""Gathers the facts of the host: its links, addresses, routes and resolvers, by rtnetlink and resolv.conf(5)."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

from nsmanager.items.address import IFA_ADDRESS, IFA_LOCAL, IFADDRMSG, RTM_GETADDR
from nsmanager.items.link import IFF_LOOPBACK, IFF_UP, IFINFOMSG, IFLA_GROUP, IFLA_MTU
from nsmanager.items.route import RT_TABLE_MAIN, Route, dump_routes
from nsmanager.marks import LINK_GROUP
from nsmanager.namespace import Namespace
from nsmanager.netlink import attributes, number
from supervisor.facts import Facts, Uplink, UplinkRoute
from supervisor.names import conf_sysctl

IFF_LOWER_UP = 0x10000  # carrier (if.h)
RESOLV_CONF = Path("/etc/resolv.conf")
RESOLVED_CONF = Path("/run/systemd/resolve/resolv.conf")  # the servers behind systemd-resolved's stub on 127.0.0.53


async def gather(
    ns: Namespace, borrowed: Mapping[str, str], namespaces: Iterable[str], ports: dict[tuple[str, str], str]
) -> Facts:
    """Look at the host. `borrowed` are the original values of sysctls that we have set."""
    ns.read_links()
    resolvers = read_resolvers()
    routes = [route for route in dump_routes(ns, 0, RT_TABLE_MAIN) if route.dev]
    addresses = read_addresses(ns)
    uplinks = {}
    for index, message in ns.link_messages.items():
        fields = attributes(message, IFINFOMSG.size)
        flags = IFINFOMSG.unpack_from(message)[3]
        if flags & IFF_LOOPBACK or number(fields.get(IFLA_GROUP)) == LINK_GROUP:
            continue
        ifname = ns.ifnames[index]
        forwarding = conf_sysctl(ifname, "forwarding")
        uplinks[ifname] = Uplink(
            ifname=ifname,
            ifindex=index,
            up=bool(flags & IFF_UP and flags & IFF_LOWER_UP),
            mtu=number(fields.get(IFLA_MTU)),
            addresses=tuple(addresses.get(index, ())),
            routes=tuple(uplink_route(route) for route in routes if route.dev == ifname),
            resolvers=resolvers,
            forwarded=(borrowed.get(forwarding) or ns.read_sysctl(forwarding)) == "1",
        )
    return Facts(uplinks, default_uplink(routes), frozenset(namespaces), ports)


def read_addresses(ns: Namespace) -> dict[int, list[IPv4Interface]]:
    """Return the IPv4 addresses by index of their link."""
    found: dict[int, list[IPv4Interface]] = {}
    for message in ns.rtnl.dump(RTM_GETADDR, IFADDRMSG.pack(socket.AF_INET, 0, 0, 0, 0)):
        _, prefixlen, _, _, index = IFADDRMSG.unpack_from(message)
        fields = attributes(message, IFADDRMSG.size)
        found.setdefault(index, []).append(IPv4Interface((fields.get(IFA_LOCAL) or fields[IFA_ADDRESS], prefixlen)))
    return found


def uplink_route(route: Route) -> UplinkRoute:
    """Return what an uplink's table needs of a route of the main table."""
    assert isinstance(route.to, IPv4Network)
    via = route.via if isinstance(route.via, IPv4Address) else None
    src = route.src if isinstance(route.src, IPv4Address) else None
    return UplinkRoute(route.to, via, src, route.metric)


def default_uplink(routes: Iterable[Route]) -> str:
    """Return the ifname of the default route that the host prefers; empty when it has none."""
    defaults = sorted((route.metric, route.dev) for route in routes if not route.to.prefixlen)
    return defaults[0][1] if defaults else ""


def read_resolvers() -> tuple[IPv4Address, ...]:
    """Return the IPv4 resolvers that the host itself asks, those behind a local stub where there is one."""
    for path in (RESOLV_CONF, RESOLVED_CONF):
        try:
            servers = parse_resolvers(path.read_text(errors="replace"))
        except OSError:
            continue
        if outside := tuple(server for server in servers if not server.is_loopback):
            return outside
    return ()


def parse_resolvers(text: str) -> tuple[IPv4Address, ...]:
    """Return the IPv4 addresses of the `nameserver` lines."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            try:
                found.append(IPv4Address(words[1]))
            except ValueError:
                continue  # an IPv6 one
    return tuple(found)
