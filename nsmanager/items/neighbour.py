"""Permanent neighbour entries. See ip-neighbour(8)."""

from __future__ import annotations

import functools
import ipaddress
import socket
import struct
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, ClassVar, Self

from nsmanager.item import Item, Key, NotYet, Observed
from nsmanager.marks import RTPROT_NSVISOR
from nsmanager.netlink import NLM_F_CREATE, NLM_F_REPLACE, attribute, attributes, number

if TYPE_CHECKING:
    from nsmanager.namespace import Namespace

RTM_NEWNEIGH = 28
RTM_DELNEIGH = 29
RTM_GETNEIGH = 30
NDA_DST = 1
NDA_LLADDR = 2
NDA_PROTOCOL = 12
NUD_PERMANENT = 0x80
NDMSG = struct.Struct("=BxxxiHBB")  # family, index, state, flags, type


class Neighbour(Item, frozen=True, dict=True):
    """The MAC address of an address on a link."""

    stage: ClassVar[int] = 35

    ifname: str
    address: IPv4Address | IPv6Address
    mac: str

    @functools.cached_property
    def key(self) -> Key:
        return ("neighbour", self.ifname, str(self.address))

    def __str__(self) -> str:
        return f"ip neigh replace {self.address} lladdr {self.mac} dev {self.ifname} nud permanent"

    def undo(self) -> str:
        return f"ip neigh del {self.address} dev {self.ifname}"

    async def create(self, ns: Namespace) -> None:
        body = self._body(ns) + attribute(NDA_LLADDR, bytes.fromhex(self.mac.replace(":", "")))
        body += attribute(NDA_PROTOCOL, bytes([RTPROT_NSVISOR]))
        ns.rtnl.request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, body)

    async def delete(self, ns: Namespace) -> None:
        ns.rtnl.request(RTM_DELNEIGH, 0, self._body(ns))

    def _body(self, ns: Namespace) -> bytes:
        index = ns.ifindex(self.ifname)
        if not index:
            raise NotYet(f"link {self.ifname} is not there yet")
        family = socket.AF_INET if self.address.version == 4 else socket.AF_INET6
        return NDMSG.pack(family, index, NUD_PERMANENT, 0, 0) + attribute(NDA_DST, self.address.packed)

    @classmethod
    async def observe(cls, ns: Namespace, planned: Sequence[Self]) -> Iterable[Observed]:
        """Return our entries, and permanent ones at planned keys."""
        wanted = {item.key for item in planned}
        found = []
        for message in ns.rtnl.dump(RTM_GETNEIGH, NDMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
            _, index, state, _, _ = NDMSG.unpack_from(message)
            fields = attributes(message, NDMSG.size)
            if not state & NUD_PERMANENT or index not in ns.ifnames or NDA_DST not in fields:
                continue
            mac = fields.get(NDA_LLADDR, b"").hex(":")
            entry = cls(ns.ifnames[index], ipaddress.ip_address(fields[NDA_DST]), mac)
            if entry.key in wanted or number(fields.get(NDA_PROTOCOL)) == RTPROT_NSVISOR:
                found.append(entry)
        return found
