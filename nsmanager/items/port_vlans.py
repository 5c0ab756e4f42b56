"""VLANs of a bridge's port. See bridge-vlan(8) and the kernel's net/bridge/br_netlink.c."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from nsmanager.item import Item, Key, NotYet, Observed
from nsmanager.items.link import IFINFOMSG, IFLA_MASTER, RTM_DELLINK
from nsmanager.namespace import RTM_GETLINK
from nsmanager.netlink import attribute, attributes, nested, number, u32

if TYPE_CHECKING:
    from nsmanager.namespace import Namespace

RTM_SETLINK = 19
AF_BRIDGE = 7
IFLA_AF_SPEC, IFLA_EXT_MASK = 26, 29
RTEXT_FILTER_BRVLAN = 2
IFLA_BRIDGE_VLAN_INFO = 2
VLAN_INFO = struct.Struct("=HH")  # flags, VLAN
PVID, UNTAGGED = 2, 4
UNTAGGED_VLAN = 1  # of frames without a tag, on every port that isn't an access port of another


class PortVlans(Item, frozen=True):
    """To which VLAN a port's untagged frames belong, and which it carries tagged."""

    stage: ClassVar[int] = 12

    ifname: str
    untagged: int = UNTAGGED_VLAN
    tagged: tuple[int, ...] = ()
    other: tuple[tuple[int, int], ...] = ()  # observed: VLANs with flags that no plan gives

    @property
    def key(self) -> Key:
        return ("port vlans", self.ifname)

    def __str__(self) -> str:
        words = [f"bridge vlan add dev {self.ifname} vid {self.untagged} pvid untagged"]
        return "; ".join(words + [f"bridge vlan add dev {self.ifname} vid {vlan}" for vlan in self.tagged])

    def undo(self) -> str:
        return f"bridge vlan del dev {self.ifname} vid {self.untagged}"

    def flags(self) -> dict[int, int]:
        """Return the flags of each VLAN of the port."""
        untagged = {self.untagged: PVID | UNTAGGED} if self.untagged else {}
        return {**dict.fromkeys(self.tagged, 0), **dict(self.other), **untagged}

    async def create(self, ns: Namespace) -> None:
        """Set all; a new port is in the bridge's default VLAN by itself. Raises NotYet while it is not there."""
        found = [*await self.observe(ns, [self])]
        await self._set(ns, found[0].flags() if found else {})

    async def replace(self, ns: Namespace, old: Observed, /) -> None:
        await self._set(ns, old.flags() if isinstance(old, PortVlans) else {})

    async def _set(self, ns: Namespace, before: dict[int, int]) -> None:
        index, wanted = ns.ifindex(self.ifname), self.flags()
        if not index:
            raise NotYet(f"link {self.ifname} is not there yet")
        changes = [(RTM_DELLINK, vlan, 0) for vlan in sorted(before.keys() - wanted.keys())]
        changes += [(RTM_SETLINK, vlan, flags) for vlan, flags in sorted(wanted.items()) if before.get(vlan) != flags]
        for kind, vlan, flags in changes:
            info = nested(IFLA_AF_SPEC, attribute(IFLA_BRIDGE_VLAN_INFO, VLAN_INFO.pack(flags, vlan)))
            ns.rtnl.request(kind, 0, IFINFOMSG.pack(AF_BRIDGE, 0, index, 0, 0) + info)

    async def delete(self, ns: Namespace) -> None:
        """Leave it: without filtering it means nothing."""

    @classmethod
    async def observe(cls, ns: Namespace, planned: Sequence[Self]) -> Iterable[Self]:
        """Return the VLANs of the planned ports."""
        wanted = {ns.ifindex(item.ifname): item.ifname for item in planned}
        if not wanted:
            return []
        found = []
        body = IFINFOMSG.pack(AF_BRIDGE, 0, 0, 0, 0) + u32(IFLA_EXT_MASK, RTEXT_FILTER_BRVLAN)
        for message in ns.rtnl.dump(RTM_GETLINK, body):
            index, fields = IFINFOMSG.unpack_from(message)[2], attributes(message, IFINFOMSG.size)
            if index in wanted and number(fields.get(IFLA_MASTER)):
                found.append(cls._of(wanted[index], fields.get(IFLA_AF_SPEC, b"")))
        return found

    @classmethod
    def _of(cls, ifname: str, data: bytes) -> Self:
        """Read a port's list; each VLAN is an attribute of one type."""
        flags_of, offset = {}, 0
        while offset + 8 <= len(data):
            length = number(data[offset : offset + 2])
            flags, vlan = VLAN_INFO.unpack_from(data, offset + 4)
            flags_of[vlan] = flags & (PVID | UNTAGGED)
            offset += max(4, (length + 3) & ~3)
        untagged = [vlan for vlan, flags in flags_of.items() if flags == PVID | UNTAGGED]
        tagged = sorted(vlan for vlan, flags in flags_of.items() if not flags)
        other = sorted((vlan, flags) for vlan, flags in flags_of.items() if flags in (PVID, UNTAGGED))
        return cls(ifname, untagged[0] if untagged else 0, tuple(tagged), tuple(other))


def ports_of(ns: Namespace, bridge: str) -> list[PortVlans]:
    """Return the ports that a bridge has now, for `observe`."""
    index = ns.ifindex(bridge)
    ns.read_links()
    found = [number(message[4:8]) for message, fields in ns.links if number(fields.get(IFLA_MASTER)) == index]
    return [PortVlans(ns.ifnames[port]) for port in found] if index else []
