"""Routes of any table. See ip-route(8)."""

from __future__ import annotations

import functools
import ipaddress
import socket
import struct
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING, ClassVar, Self

from nsmanager.item import Item, Key, NotYet, Observed
from nsmanager.marks import RTPROT_NSVISOR
from nsmanager.netlink import NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, attribute, attributes, number, u32

if TYPE_CHECKING:
    from nsmanager.namespace import Namespace

RTM_NEWROUTE = 24
RTM_DELROUTE = 25
RTM_GETROUTE = 26
RTA_DST = 1
RTA_OIF = 4
RTA_GATEWAY = 5
RTA_PRIORITY = 6
RTA_PREFSRC = 7
RTA_TABLE = 15
RT_TABLE_MAIN = 254
RT_TABLE_COMPAT = 252  # stands in the header when the table's number doesn't fit there
RTM_F_CLONED = 0x200
SCOPE_UNIVERSE, SCOPE_LINK, SCOPE_HOST = 0, 253, 254
IP6_DEFAULT_METRIC = 1024  # what the kernel makes of 0 (IP6_RT_PRIO_USER, linux/ipv6_route.h)
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
TYPES = {"unicast": 1, "local": 2, "broadcast": 3, "blackhole": 6, "unreachable": 7, "prohibit": 8}
TYPE_NAMES = {number: name for name, number in TYPES.items()}
RTMSG = struct.Struct("=BBBBBBBBI")  # family, dst_len, src_len, tos, table, protocol, scope, type, flags


class Route(Item, frozen=True, dict=True):
    """One route. Empty fields mean: as the kernel chooses."""

    stage: ClassVar[int] = 30

    to: IPv4Network | IPv6Network
    table: int = RT_TABLE_MAIN
    type: str = "unicast"
    via: IPv4Address | IPv6Address | None = None
    dev: str = ""
    src: IPv4Address | IPv6Address | None = None
    metric: int = 0  # IPv6: 0 is 1024

    @functools.cached_property
    def key(self) -> Key:
        return ("route", str(self.table), str(self.to), str(self._metric()))

    def __str__(self) -> str:
        return f"{self._ip()} route add {self._selector()}{self._rest()} proto {RTPROT_NSVISOR}"

    def undo(self) -> str:
        return f"{self._ip()} route del {self._selector()} proto {RTPROT_NSVISOR}"

    def redo(self, _old: Observed, /) -> str:
        return f"{self._ip()} route replace {self._selector()}{self._rest()} proto {RTPROT_NSVISOR}"

    def _metric(self) -> int:
        return self.metric or (IP6_DEFAULT_METRIC if self.to.version == 6 else 0)

    def _ip(self) -> str:
        return "ip -6" if self.to.version == 6 else "ip"

    def _selector(self) -> str:
        kind = "" if self.type == "unicast" else f"{self.type} "
        to = "default" if not self.to.prefixlen else str(self.to)
        table = "" if self.table == RT_TABLE_MAIN else f" table {self.table}"
        return f"{kind}{to}{table}{f' metric {self.metric}' if self.metric else ''}"

    def _rest(self) -> str:
        parts = (("via", self.via), ("dev", self.dev), ("src", self.src))
        return "".join(f" {word} {value}" for word, value in parts if value)

    def matches(self, observed: Observed) -> bool:
        return (
            isinstance(observed, Route)
            and self.type == observed.type
            and self.via == observed.via
            and (not self.dev or self.dev == observed.dev)
            and (self.src is None or self.src == observed.src)
        )

    async def create(self, ns: Namespace) -> None:
        ns.rtnl.request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, self._body(ns))

    async def replace(self, ns: Namespace, _old: Observed, /) -> None:
        ns.rtnl.request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, self._body(ns))

    async def delete(self, ns: Namespace) -> None:
        ns.rtnl.request(RTM_DELROUTE, 0, self._body(ns))

    def _body(self, ns: Namespace) -> bytes:
        index = ns.ifindex(self.dev) if self.dev else 0
        if self.dev and not index:
            raise NotYet(f"link {self.dev} is not there yet")
        table = self.table if self.table < 256 else RT_TABLE_COMPAT
        scope = SCOPE_HOST if self.type == "local" else SCOPE_UNIVERSE
        if self.type == "unicast" and self.via is None:
            scope = SCOPE_LINK
        family = FAMILIES[self.to.version]
        body = RTMSG.pack(family, self.to.prefixlen, 0, 0, table, RTPROT_NSVISOR, scope, TYPES[self.type], 0)
        body += u32(RTA_TABLE, self.table)
        if self.to.prefixlen:
            body += attribute(RTA_DST, self.to.network_address.packed)
        if index:
            body += u32(RTA_OIF, index)
        if self.via is not None:
            body += attribute(RTA_GATEWAY, self.via.packed)
        if self.src is not None:
            body += attribute(RTA_PREFSRC, self.src.packed)
        if self.metric:
            body += u32(RTA_PRIORITY, self.metric)
        return body

    @classmethod
    async def observe(cls, ns: Namespace, planned: Sequence[Self]) -> Iterable[Observed]:
        """Return our routes, and strangers at planned keys; tables are read whole only when one of ours is missing."""
        found = {item.key: item for version in FAMILIES for item in dump_routes(ns, RTPROT_NSVISOR, 0, version)}
        missing = [item for item in planned if item.key not in found]
        wanted = {item.key for item in missing}
        for version, table in sorted({(item.to.version, item.table) for item in missing}):
            found.update({item.key: item for item in dump_routes(ns, 0, table, version) if item.key in wanted})
        return found.values()


def dump_routes(ns: Namespace, protocol: int, table: int, version: int = 4) -> Iterable[Route]:
    """Yield the routes of one protocol and one table, 0: of all, and one version of IP.

    As the kernel tells them: IPv6 routes have a metric always, and those of a reject type the link `lo`. A route with
    several next hops has neither `via` nor `dev`.
    """
    header = RTMSG.pack(FAMILIES[version], 0, 0, 0, 0, protocol, 0, 0, 0)
    try:
        messages = ns.rtnl.dump(RTM_GETROUTE, header + (u32(RTA_TABLE, table) if table else b""))
    except FileNotFoundError:  # no such table yet
        return
    for message in messages:
        family, length, _, _, small_table, found_protocol, _, kind, flags = RTMSG.unpack_from(message)
        if family != FAMILIES[version]:  # a kernel without IPv6 answers for all that it has
            continue
        fields = attributes(message, RTMSG.size)
        found_table = number(fields.get(RTA_TABLE)) or small_table
        if kind not in TYPE_NAMES or flags & RTM_F_CLONED or (protocol and found_protocol != protocol):
            continue
        if table and found_table != table:
            continue
        via, src = fields.get(RTA_GATEWAY), fields.get(RTA_PREFSRC)
        yield Route(
            ipaddress.ip_network((fields.get(RTA_DST) or bytes(4 if version == 4 else 16), length)),
            found_table,
            TYPE_NAMES[kind],
            ipaddress.ip_address(via) if via else None,
            ns.ifnames.get(number(fields.get(RTA_OIF)), ""),
            ipaddress.ip_address(src) if src else None,
            number(fields.get(RTA_PRIORITY)),
        )
