"""The kinds that only the host has: the links to the instances, and the kernel's own rule that moves behind ours."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

import msgspec

from nsmanager.item import Item, Key, NotYet, Observed, Refused
from nsmanager.items.address import Address
from nsmanager.items.link import (
    IFF_UP,
    IFINFOMSG,
    IFLA_ADDRESS,
    IFLA_GROUP,
    IFLA_IFNAME,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_LINKINFO,
    IFLA_MTU,
    RTM_DELLINK,
    RTM_NEWLINK,
)
from nsmanager.items.neighbour import Neighbour
from nsmanager.items.nftables import NftTable
from nsmanager.items.route import Route
from nsmanager.items.rule import (
    ACTIONS,
    FAMILIES,
    FIB_RULE_HDR,
    FRA_PRIORITY,
    RTM_DELRULE,
    RTM_NEWRULE,
    Rule,
    dump_rules,
)
from nsmanager.items.sysctl import Sysctl
from nsmanager.marks import LINK_GROUP
from nsmanager.netlink import NLM_F_CREATE, NLM_F_EXCL, attribute, attributes, nested, number, text, u32
from supervisor.birth import NETNS_DIR
from supervisor.packet_steering import PacketSteering

if TYPE_CHECKING:
    from nsmanager.namespace import Namespace

IFLA_NET_NS_FD = 28
VETH_INFO_PEER = 1
RT_TABLE_LOCAL = 255
IFLA_AF_SPEC = 26
IFLA_INET_CONF = 1
LINK_CONF = {1: 1, 6: 0, 8: 1, 24: 1}  # IPV4_DEVCONF_FORWARDING, SEND_REDIRECTS, RP_FILTER, SRC_VMARK (linux/ip.h)
IFLA_INET6_ADDR_GEN_MODE = 8
IN6_ADDR_GEN_MODE_NONE = 1
AF_INET, AF_INET6 = 2, 10


class Veth(Item, frozen=True):
    """The link between the host and an instance; its other end is born inside, and both end with the namespace."""

    stage: ClassVar[int] = 70  # deleted before the rules and the table that guard it

    ifname: str
    peer: str  # ifname inside
    netns: str  # below /run/netns
    mtu: int  # bytes, of both ends
    mac: str  # of this end
    peer_mac: str = ""  # of the other
    up: bool = True
    ours: bool = True  # observed: it carries our group

    @property
    def key(self) -> Key:
        return ("veth", self.ifname)

    def __str__(self) -> str:
        return (
            f"ip link add {self.ifname} address {self.mac} mtu {self.mtu} up group {LINK_GROUP} "
            f"type veth peer name {self.peer} address {self.peer_mac} mtu {self.mtu} netns {self.netns}"
        )

    def undo(self) -> str:
        return f"ip link del {self.ifname}"

    def redo(self, old: Observed) -> str:  # noqa: ARG002 (whatever stood there)
        return f"ip link set {self.ifname} address {self.mac} mtu {self.mtu} up"

    def matches(self, observed: Observed) -> bool:
        if not isinstance(observed, Veth):
            return False
        # The other end isn't seen from here.
        return msgspec.structs.replace(observed, peer=self.peer, netns=self.netns, peer_mac=self.peer_mac) == self

    async def create(self, ns: Namespace) -> None:
        """Make both ends where they belong: create-then-move is forty times slower."""
        try:
            netns = os.open(f"{NETNS_DIR}/{self.netns}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError as exc:
            raise NotYet(f"namespace {self.netns} is not there yet") from exc
        try:
            peer = IFINFOMSG.pack(0, 0, 0, 0, 0) + text(IFLA_IFNAME, self.peer) + u32(IFLA_MTU, self.mtu)
            peer += attribute(IFLA_ADDRESS, mac_bytes(self.peer_mac))
            make_veth(ns, self.ifname, self.mtu, peer + u32(IFLA_NET_NS_FD, netns), mac=self.mac)
            self._prepare(ns)
        except OSError as exc:
            if exc.errno == errno.EEXIST:  # inside: the last namespace of that name is still being cleared up
                raise NotYet(f"a link {self.ifname} or {self.peer} is still there") from exc
            raise
        finally:
            os.close(netns)

    def _prepare(self, ns: Namespace) -> None:
        """Set in one message what would be a dozen writes below /proc/sys, each waiting for the kernel's one lock.

        No link-local address, before the other end goes up; the plan's Sysctl items then find what they want.
        """
        ipv4 = nested(AF_INET, nested(IFLA_INET_CONF, *(u32(*one) for one in LINK_CONF.items())))
        ipv6 = nested(AF_INET6, attribute(IFLA_INET6_ADDR_GEN_MODE, bytes([IN6_ADDR_GEN_MODE_NONE])))
        header = IFINFOMSG.pack(0, 0, ns.ifindex(self.ifname), 0, 0)
        ns.rtnl.request(RTM_NEWLINK, 0, header + nested(IFLA_AF_SPEC, ipv4))
        with contextlib.suppress(OSError):  # a kernel without IPv6
            ns.rtnl.request(RTM_NEWLINK, 0, header + nested(IFLA_AF_SPEC, ipv6))

    async def replace(self, ns: Namespace, old: Observed) -> None:
        """Set MTU and state. Raises Refused when the name is somebody else's."""
        if isinstance(old, Veth) and not old.ours:
            raise Refused(f"link {self.ifname} exists and is not ours; rename or delete it")
        body = IFINFOMSG.pack(0, 0, ns.ifindex(self.ifname), IFF_UP, IFF_UP) + u32(IFLA_MTU, self.mtu)
        ns.rtnl.request(RTM_NEWLINK, 0, body + attribute(IFLA_ADDRESS, mac_bytes(self.mac)))

    async def delete(self, ns: Namespace) -> None:
        """Delete it, unless it went with its namespace meanwhile."""
        if index := ns.ifindex(self.ifname):
            ns.rtnl.request(RTM_DELLINK, 0, IFINFOMSG.pack(0, 0, index, 0, 0))

    @classmethod
    async def observe(cls, ns: Namespace, planned: Sequence[Self]) -> Iterable[Observed]:
        """Return all links of ours, and whatever has a planned name."""
        wanted = {item.ifname for item in planned}
        found = []
        for index, message in ns.link_messages.items():
            fields = attributes(message, IFINFOMSG.size)
            ours = number(fields.get(IFLA_GROUP)) == LINK_GROUP
            if ours or ns.ifnames[index] in wanted:
                up = bool(IFINFOMSG.unpack_from(message)[3] & IFF_UP)
                mac = fields.get(IFLA_ADDRESS, b"").hex(":")
                found.append(cls(ns.ifnames[index], "", "", number(fields.get(IFLA_MTU)), mac, "", up, ours))
        return found


def make_veth(ns: Namespace, ifname: str, mtu: int, peer: bytes, *, netns: int | None = None, mac: str = "") -> None:
    """Make a veth with a mark of ours, up; its peer as described. `netns`: where this end is born, if not here."""
    body = IFINFOMSG.pack(0, 0, 0, IFF_UP, IFF_UP) + text(IFLA_IFNAME, ifname) + u32(IFLA_MTU, mtu)
    body += u32(IFLA_GROUP, LINK_GROUP)
    body += u32(IFLA_NET_NS_FD, netns) if netns is not None else b""
    body += attribute(IFLA_ADDRESS, mac_bytes(mac)) if mac else b""
    body += nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "veth"), nested(IFLA_INFO_DATA, nested(VETH_INFO_PEER, peer)))
    ns.rtnl.request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)


def mac_bytes(mac: str) -> bytes:
    """Encode a MAC address."""
    return bytes.fromhex(mac.replace(":", ""))


class LocalRule(Item, frozen=True):
    """The kernel's rule 0, `lookup local`, taken away: its replacement behind our rules is a Rule of its own."""

    stage: ClassVar[int] = 45  # above rules: put back before the replacement goes

    replacement: int  # its priority
    family: int = 4  # 4 or 6

    @property
    def key(self) -> Key:
        return ("local rule", str(self.family))

    def __str__(self) -> str:
        return f"{self._ip()} rule del pref 0 lookup local"

    def undo(self) -> str:
        return f"{self._ip()} rule add pref 0 lookup local protocol kernel"

    def _ip(self) -> str:
        return "ip -6" if self.family == 6 else "ip"

    async def create(self, ns: Namespace) -> None:
        ns.rtnl.request(RTM_DELRULE, 0, self._body())

    async def delete(self, ns: Namespace) -> None:
        ns.rtnl.request(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, self._body())

    def _body(self) -> bytes:
        """Encode rule 0 as the kernel makes it (net/ipv4/fib_rules.c, fib_default_rules_init)."""
        header = FIB_RULE_HDR.pack(FAMILIES[self.family], 0, 0, 0, RT_TABLE_LOCAL, 0, 0, ACTIONS["lookup"], 0)
        return header + u32(FRA_PRIORITY, 0)

    @classmethod
    async def observe(cls, ns: Namespace, planned: Sequence[Self]) -> Iterable[Observed]:
        """Return the items of the families whose rule 0 is away, as planned or while a replacement of ours stands."""
        found: list[Observed] = []
        wanted = {item.family: item for item in planned}
        rules = [rule for rule in await Rule.observe(ns, []) if isinstance(rule, Rule)]
        for family in FAMILIES:
            moved = [rule.priority for rule in rules if rule.family == family and rule.table == RT_TABLE_LOCAL]
            stands = any(
                not number(attributes(message, FIB_RULE_HDR.size).get(FRA_PRIORITY))
                for message in dump_rules(ns, family)
            )
            if not stands and (family in wanted or moved):
                found.append(wanted.get(family) or cls(max(moved), family))
        return found


class NetdevTable(NftTable, frozen=True):
    """The one table of ours on the host whose chains see frames."""

    home: ClassVar[str] = "netdev"


# Of these the host may hold items of ours; the order is of no matter.
HOST_KINDS: tuple[type[Item], ...] = (
    Veth, Address, Route, Rule, LocalRule, Neighbour, Sysctl, PacketSteering, NftTable, NetdevTable
)  # fmt: skip
