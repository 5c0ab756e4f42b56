"""Links: a bridge that we make, or a link that others make and we set. See ip-link(8)."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from msgspec.structs import replace

from nsmanager.item import Item, Key, NotYet, Observed, Refused
from nsmanager.marks import LINK_GROUP
from nsmanager.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    attribute,
    attributes,
    nested,
    number,
    string,
    text,
    u32,
)

if TYPE_CHECKING:
    from nsmanager.namespace import Namespace

RTM_NEWLINK = 16
RTM_DELLINK = 17
IFLA_ADDRESS = 1
IFLA_IFNAME = 3
IFLA_MTU = 4
IFLA_MASTER = 10
IFLA_LINKINFO = 18
IFLA_GROUP = 27
IFLA_INFO_KIND = 1
IFLA_INFO_DATA = 2
IFLA_XFRM_IF_ID = 2
IFF_UP = 1
IFF_LOOPBACK = 8
IFF_LOWER_UP = 0x10000  # carrier (if.h)
IFINFOMSG = struct.Struct("=BxHiII")  # family, type, index, flags, changed flags
MADE_HERE = ("bridge", "xfrm", "wireguard")  # created by plans; the others are made, and deleted, by somebody else
NOT_ON_THIS_KERNEL = {"wireguard": "this kernel has no WireGuard; use one from Linux 5.6 on with CONFIG_WIREGUARD"}


class Link(Item, frozen=True):
    """A link. Empty fields mean: as it is."""

    stage: ClassVar[int] = 10

    ifname: str
    kind: str = ""  # those of MADE_HERE are made when they are absent; `loopback` and empty: must exist
    mtu: int = 0  # bytes
    up: bool = True
    master: str = ""  # ifname of the bridge that it is a port of
    mac: str = ""
    ours: bool = True  # observed: it carries our group
    if_id: int = 0  # of an xfrm link: the IPsec policies that are its own
    called: str = ""  # observed: its name, where somebody changed that of one that others make

    @property
    def key(self) -> Key:
        return ("link", self.ifname)

    def __str__(self) -> str:
        if self.kind in MADE_HERE:
            kind = self.kind + (f" if_id {self.if_id}" if self.if_id else "")
            return f"ip link add {self.ifname}{self._settings()} group {LINK_GROUP}{' up' * self.up} type {kind}"
        return f"ip link set {self.ifname}{self._settings()}{' up' * self.up}"

    def undo(self) -> str:
        if self.kind in MADE_HERE:
            return f"ip link del {self.ifname}"
        return f"ip link set {self.ifname} nomaster down"

    def redo(self, old: Observed, /) -> str:
        if isinstance(old, Link) and old.called:
            return f"ip link set {old.called} name {self.ifname}"
        return f"ip link set {self.ifname}{self._settings()}{' up' * self.up}"

    def _settings(self) -> str:
        mac = f" address {self.mac}" if self.mac else ""
        mtu = f" mtu {self.mtu}" if self.mtu else ""
        master = f" master {self.master}" if self.master else ""
        return mac + mtu + master

    def matches(self, observed: Observed) -> bool:
        return (
            isinstance(observed, Link)
            and not observed.called
            and (self.kind not in MADE_HERE or (observed.kind == self.kind and observed.ours))
            and (not self.up or observed.up)
            and all(
                not wanted or wanted == found
                for wanted, found in (
                    (self.mtu, observed.mtu),
                    (self.master, observed.master),
                    (self.mac, observed.mac),
                )
            )
        )

    async def create(self, ns: Namespace) -> None:
        """Make the link, or raise NotYet when it is somebody else's to make."""
        if self.kind not in MADE_HERE:
            raise NotYet(f"link {self.ifname} is not there yet")
        body = IFINFOMSG.pack(0, 0, 0, IFF_UP * self.up, IFF_UP) + text(IFLA_IFNAME, self.ifname)
        info = text(IFLA_INFO_KIND, self.kind)
        if self.if_id:
            info += nested(IFLA_INFO_DATA, u32(IFLA_XFRM_IF_ID, self.if_id))
        body += u32(IFLA_GROUP, LINK_GROUP) + nested(IFLA_LINKINFO, info) + self._fields(ns)
        try:
            ns.rtnl.request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)
        except OSError as exc:
            if exc.errno == errno.EOPNOTSUPP and self.kind in NOT_ON_THIS_KERNEL:
                raise Refused(NOT_ON_THIS_KERNEL[self.kind]) from exc
            raise

    async def replace(self, ns: Namespace, old: Observed, /) -> None:
        """Set what differs. Raises Refused when a stranger has the name of a link that we would make."""
        if self.kind in MADE_HERE and isinstance(old, Link) and not (old.ours and old.kind == self.kind):
            raise Refused(f"link {self.ifname} exists and is not ours; remove or rename it")
        if isinstance(old, Link) and old.called:
            self._rename(ns, old.called)
            return
        body = IFINFOMSG.pack(0, 0, ns.ifindex(self.ifname), IFF_UP * self.up, IFF_UP * self.up)
        ns.rtnl.request(RTM_NEWLINK, 0, body + self._fields(ns, old))

    def _rename(self, ns: Namespace, called: str) -> None:
        index = ns.ifindex(called)
        name = IFINFOMSG.pack(0, 0, index, 0, 0) + text(IFLA_IFNAME, self.ifname)
        try:
            ns.rtnl.request(RTM_NEWLINK, 0, name)
        except OSError as exc:
            if exc.errno != errno.EBUSY:
                raise
            # Before Linux 6.2 only one that is down can be renamed.
            ns.rtnl.request(RTM_NEWLINK, 0, IFINFOMSG.pack(0, 0, index, 0, IFF_UP))
            ns.rtnl.request(RTM_NEWLINK, 0, name)

    async def delete(self, ns: Namespace) -> None:
        ns.rtnl.request(RTM_DELLINK, 0, IFINFOMSG.pack(0, 0, ns.ifindex(self.ifname), 0, 0))

    def _fields(self, ns: Namespace, old: Observed | None = None) -> bytes:
        """Encode what is asked for and isn't so yet."""
        body = b""
        before = old if isinstance(old, Link) else Link(self.ifname)
        if self.mac and self.mac != before.mac:
            body += attribute(IFLA_ADDRESS, bytes.fromhex(self.mac.replace(":", "")))
        if self.mtu and self.mtu != before.mtu:
            body += u32(IFLA_MTU, self.mtu)
        if self.master and self.master != before.master:
            index = ns.ifindex(self.master)
            if not index:
                raise NotYet(f"link {self.master} is not there yet")
            body += u32(IFLA_MASTER, index)
        return body

    @classmethod
    async def observe(cls, ns: Namespace, planned: Sequence[Self]) -> Iterable[Observed]:
        """Return the planned links that exist, and all of ours of the kinds that are made here."""
        wanted = {item.ifname for item in planned}
        links = [_decode(message, fields, ns.ifnames) for message, fields in ns.links]
        found = [link for link in links if link.ifname in wanted or (link.ours and link.kind in MADE_HERE)]
        missing = wanted - {link.ifname for link in found}
        renamed = {item.mac: item.ifname for item in planned if item.ifname in missing and _is_known(item)}
        return [
            *found,
            *(replace(link, ifname=renamed[link.mac], called=link.ifname) for link in links if link.mac in renamed),
        ]


def _is_known(item: Link) -> bool:
    """Tell whether one that others make is known by more than its name."""
    return bool(item.mac) and item.kind not in MADE_HERE


def ports(ns: Namespace, bridge: str) -> tuple[str, ...]:
    """Return the names of a bridge's ports, as the links were last read."""
    index = next((i for i, name in ns.ifnames.items() if name == bridge), 0)
    found = [string(fields[IFLA_IFNAME]) for _, fields in ns.links if number(fields.get(IFLA_MASTER)) == index]
    return tuple(sorted(found)) if index else ()


def idle_ports(ns: Namespace, bridge: str) -> tuple[str, ...]:
    """Return the names of those of a bridge's ports that have no carrier, as the links were last read."""
    names = ports(ns, bridge)
    found = [string(f[IFLA_IFNAME]) for m, f in ns.links if not IFINFOMSG.unpack_from(m)[3] & IFF_LOWER_UP]
    return tuple(sorted({*names}.intersection(found)))


def _decode(message: bytes, found: dict[int, bytes], names: dict[int, str]) -> Link:
    """Return the link that a message tells of."""
    _, _, index, flags, _ = IFINFOMSG.unpack_from(message)
    info = attributes(found.get(IFLA_LINKINFO, b""), 0)
    master = number(found.get(IFLA_MASTER))
    return Link(
        names[index],
        kind="loopback" if flags & IFF_LOOPBACK else string(info.get(IFLA_INFO_KIND)),
        mtu=number(found.get(IFLA_MTU)),
        up=bool(flags & IFF_UP),
        master=names.get(master, "") if master else "",
        mac=found.get(IFLA_ADDRESS, b"").hex(":"),
        ours=number(found.get(IFLA_GROUP)) == LINK_GROUP,
    )
