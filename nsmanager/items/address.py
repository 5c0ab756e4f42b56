"""Addresses of links. See ip-address(8)."""

from __future__ import annotations

import functools
import ipaddress
import socket
import struct
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Interface, IPv6Interface
from typing import TYPE_CHECKING, ClassVar, Self

from nsmanager.item import Item, Key, NotYet, Observed
from nsmanager.marks import RTPROT_NSVISOR
from nsmanager.netlink import NLM_F_CREATE, NLM_F_EXCL, attribute, attributes, number

if TYPE_CHECKING:
    from nsmanager.namespace import Namespace

RTM_NEWADDR = 20
RTM_DELADDR = 21
RTM_GETADDR = 22
IFA_ADDRESS = 1
IFA_LOCAL = 2
IFA_F_NODAD = 2  # IPv6: usable at once; on our own links nobody else has it
IFA_PROTO = 11  # since Linux 5.18; older kernels ignore it, and then a surplus address is not known as ours
IFADDRMSG = struct.Struct("=BBBBI")  # family, prefixlen, flags, scope, index


class Address(Item, frozen=True, dict=True):
    """One address with its prefix length on one link."""

    stage: ClassVar[int] = 20

    ifname: str
    address: IPv4Interface | IPv6Interface

    @functools.cached_property
    def key(self) -> Key:
        return ("address", self.ifname, str(self.address))

    def __str__(self) -> str:
        return f"ip addr add {self.address} dev {self.ifname}{' nodad' if self.address.version == 6 else ''}"

    def undo(self) -> str:
        return f"ip addr del {self.address} dev {self.ifname}"

    async def create(self, ns: Namespace) -> None:
        ns.rtnl.request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, self._body(ns))

    async def delete(self, ns: Namespace) -> None:
        ns.rtnl.request(RTM_DELADDR, 0, self._body(ns))

    def _body(self, ns: Namespace) -> bytes:
        index = ns.ifindex(self.ifname)
        if not index:
            raise NotYet(f"link {self.ifname} is not there yet")
        family, flags = (socket.AF_INET, 0) if self.address.version == 4 else (socket.AF_INET6, IFA_F_NODAD)
        packed = self.address.ip.packed
        return (
            IFADDRMSG.pack(family, self.address.network.prefixlen, flags, 0, index)
            + attribute(IFA_LOCAL, packed)
            + attribute(IFA_ADDRESS, packed)
            + attribute(IFA_PROTO, bytes([RTPROT_NSVISOR]))
        )

    @classmethod
    async def observe(cls, ns: Namespace, planned: Sequence[Self]) -> Iterable[Observed]:
        """Return our addresses, and those that equal a planned one, whoever added them."""
        wanted = {item.key for item in planned}
        names = {item.ifname for item in planned}
        found = []
        for message in ns.rtnl.dump(RTM_GETADDR, IFADDRMSG.pack(0, 0, 0, 0, 0)):
            _, prefixlen, _, _, index = IFADDRMSG.unpack_from(message)
            fields = attributes(message, IFADDRMSG.size)
            ours = number(fields.get(IFA_PROTO)) == RTPROT_NSVISOR
            if not ours and ns.ifnames.get(index) not in names:
                continue
            if index not in ns.ifnames:  # the link came after the links were read: an event tells
                continue
            packed = fields.get(IFA_LOCAL) or fields[IFA_ADDRESS]
            address = cls(ns.ifnames[index], ipaddress.ip_interface((packed, prefixlen)))
            if ours or address.key in wanted:
                found.append(address)
        return found
