"""How a bridge passes frames on: spanning tree, what of the reserved group addresses, VLANs. See ip-link(8)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from nsmanager.item import Item, Key, NotYet, Observed
from nsmanager.items.link import (
    IFINFOMSG,
    IFLA_GROUP,
    IFLA_IFNAME,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_LINKINFO,
    RTM_NEWLINK,
)
from nsmanager.items.port_vlans import UNTAGGED_VLAN, PortVlans, ports_of
from nsmanager.marks import LINK_GROUP
from nsmanager.netlink import attribute, attributes, nested, number, string, text, u32

if TYPE_CHECKING:
    from nsmanager.namespace import Namespace

IFLA_BR_FORWARD_DELAY, IFLA_BR_HELLO_TIME, IFLA_BR_MAX_AGE = 1, 2, 3  # in hundredths of a second
IFLA_BR_STP_STATE, IFLA_BR_PRIORITY, IFLA_BR_VLAN_FILTERING, IFLA_BR_GROUP_FWD_MASK = 5, 6, 7, 9
IFLA_BR_VLAN_DEFAULT_PVID = 39
# The shortest times of IEEE 802.1D. They count where nobody else is root; for that the priority is the worst one.
FORWARD_DELAY, HELLO_TIME, MAX_AGE = 400, 100, 600
LAST_PRIORITY, DEFAULT_PRIORITY = 61440, 32768
WITHOUT_VLANS = struct.pack("=H", UNTAGGED_VLAN)  # what a kernel that has none is as good as
LLDP = 1 << 0xE  # 01:80:c2:00:00:0e


class Bridge(Item, frozen=True):
    """The settings of a bridge that a Link makes. A spanning tree's times are its root's: they aren't compared."""

    stage: ClassVar[int] = 10

    ifname: str
    stp: bool = False
    group_fwd_mask: int = 0
    vlan_filtering: bool = False
    default_pvid: int = UNTAGGED_VLAN  # the VLAN that a port is in when it becomes one; 0: none
    priority: int = DEFAULT_PRIORITY

    @property
    def key(self) -> Key:
        return ("bridge", self.ifname)

    def __str__(self) -> str:
        times = f" forward_delay {FORWARD_DELAY} hello_time {HELLO_TIME} max_age {MAX_AGE}" if self.stp else ""
        return (
            f"ip link set {self.ifname} type bridge priority {self.priority}{times} stp_state {int(self.stp)} "
            f"group_fwd_mask {self.group_fwd_mask:#x} vlan_filtering {int(self.vlan_filtering)}"
            f"{f' vlan_default_pvid {self.default_pvid}' if self.default_pvid != UNTAGGED_VLAN else ''}"
        )

    def undo(self) -> str:
        return str(Bridge(self.ifname))

    async def create(self, ns: Namespace) -> None:
        """Set all. Raises NotYet while there is no bridge of that name."""
        await self.replace(ns, Bridge(self.ifname))

    def _set(self, ns: Namespace) -> None:
        times = ((IFLA_BR_FORWARD_DELAY, FORWARD_DELAY), (IFLA_BR_HELLO_TIME, HELLO_TIME), (IFLA_BR_MAX_AGE, MAX_AGE))
        data = attribute(IFLA_BR_PRIORITY, struct.pack("=H", self.priority))
        data += b"".join(u32(*one) for one in times) if self.stp else b""
        data += u32(IFLA_BR_STP_STATE, int(self.stp))
        data += attribute(IFLA_BR_GROUP_FWD_MASK, struct.pack("=H", self.group_fwd_mask))
        # A kernel without VLANs refuses even to switch them off.
        data += attribute(IFLA_BR_VLAN_FILTERING, b"\1") if self.vlan_filtering else b""
        self._tell(ns, data)

    async def replace(self, ns: Namespace, old: Observed, /) -> None:
        assert isinstance(old, Bridge), "what is observed at its key"
        if old.vlan_filtering and not self.vlan_filtering:
            self._tell(ns, attribute(IFLA_BR_VLAN_FILTERING, b"\0"))
        if old.default_pvid != self.default_pvid:
            await self._set_default_pvid(ns)
        self._set(ns)

    async def _set_default_pvid(self, ns: Namespace) -> None:
        """Ports that are in VLAN 1 stay there: the kernel takes them out of the default when that goes (br_vlan.c)."""
        before = [one for one in await PortVlans.observe(ns, ports_of(ns, self.ifname)) if one.untagged]
        self._tell(ns, attribute(IFLA_BR_VLAN_DEFAULT_PVID, struct.pack("=H", self.default_pvid)))
        for port in before:
            await port.create(ns)

    def _tell(self, ns: Namespace, data: bytes) -> None:
        index = ns.ifindex(self.ifname)
        if not index:
            raise NotYet(f"link {self.ifname} is not there yet")
        info = nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "bridge"), nested(IFLA_INFO_DATA, data))
        ns.rtnl.request(RTM_NEWLINK, 0, IFINFOMSG.pack(0, 0, index, 0, 0) + info)

    async def delete(self, ns: Namespace) -> None:
        """Set it as a new bridge is: an instance that was a switch is none any more."""
        await Bridge(self.ifname).replace(ns, self)

    @classmethod
    async def observe(cls, ns: Namespace, planned: Sequence[Self]) -> Iterable[Observed]:
        """Return the settings of the planned bridges, and of those of ours that aren't as a new one is."""
        wanted = {item.ifname for item in planned}
        found = [bridge for _, fields in ns.links if (bridge := cls._decode(fields)) is not None]
        return [bridge for bridge in found if bridge.ifname in wanted or bridge != Bridge(bridge.ifname)]

    @classmethod
    def _decode(cls, fields: dict[int, bytes]) -> Self | None:
        """Return what a link's message says, when it is a bridge of ours."""
        info = attributes(fields.get(IFLA_LINKINFO, b""), 0)
        if string(info.get(IFLA_INFO_KIND)) != "bridge" or number(fields.get(IFLA_GROUP)) != LINK_GROUP:
            return None
        data = attributes(info.get(IFLA_INFO_DATA, b""), 0)
        return cls(
            string(fields[IFLA_IFNAME]),
            stp=bool(number(data.get(IFLA_BR_STP_STATE))),
            group_fwd_mask=number(data.get(IFLA_BR_GROUP_FWD_MASK)),
            vlan_filtering=bool(number(data.get(IFLA_BR_VLAN_FILTERING))),
            default_pvid=number(data.get(IFLA_BR_VLAN_DEFAULT_PVID, WITHOUT_VLANS)),
            priority=number(data.get(IFLA_BR_PRIORITY)),
        )
