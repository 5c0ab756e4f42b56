"""Receive packet steering (RPS): which processors go on with the packets that come in by a link of ours.

A veth's packets are worked on by the processor that sent them. Steered, each flow goes to one of several. See the
kernel's Documentation/networking/scaling.rst.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from nsmanager.item import Item, Key, NotYet, Observed
from nsmanager.items.link import IFINFOMSG, IFLA_GROUP
from nsmanager.marks import LINK_GROUP
from nsmanager.netlink import attributes, number

if TYPE_CHECKING:
    from nsmanager.namespace import Namespace

ATTRIBUTE = "class/net/{}/queues/rx-0/rps_cpus"  # below /sys; a veth of ours has one queue


class PacketSteering(Item, frozen=True):
    """The processors of one link. No event tells of a change."""

    stage: ClassVar[int] = 60

    ifname: str
    processors: int  # a bit each; 0: the one that sent the packet

    @property
    def key(self) -> Key:
        return ("packet steering", self.ifname)

    def __str__(self) -> str:
        return f"echo {mask(self.processors)} > /sys/{self._attribute}"

    def undo(self) -> str:
        return f"echo 0 > /sys/{self._attribute}"

    async def create(self, ns: Namespace) -> None:
        """Steer. Raises NotYet where there is no such link, or /sys shows another namespace's."""
        try:
            ns.write_attribute(self._attribute, mask(self.processors))
        except FileNotFoundError as exc:
            raise NotYet(f"/sys/{self._attribute} is not there yet") from exc

    async def delete(self, ns: Namespace) -> None:
        """Let the sender's processor do it again, unless the link went meanwhile."""
        if steered_by(ns, self.ifname):
            ns.write_attribute(self._attribute, "0")

    def is_lost(self, ns: Namespace) -> bool:
        """Tell whether the link is there, and steered otherwise."""
        return steered_by(ns, self.ifname) not in (None, self.processors)

    @property
    def _attribute(self) -> str:
        return ATTRIBUTE.format(self.ifname)

    @classmethod
    async def observe(cls, ns: Namespace, planned: Sequence[Self]) -> Iterable[Observed]:
        """Return how the planned links are steered, and all others of ours that are."""
        wanted = {item.ifname for item in planned}
        found = []
        for index, message in ns.link_messages.items():
            if number(attributes(message, IFINFOMSG.size).get(IFLA_GROUP)) == LINK_GROUP:
                ifname = ns.ifnames[index]
                processors = steered_by(ns, ifname)
                if processors or (processors is not None and ifname in wanted):
                    found.append(cls(ifname, processors))
        return found


def steered_by(ns: Namespace, ifname: str) -> int | None:
    """Return the processors of a link, a bit each; None when it isn't there."""
    found = ns.read_attribute(ATTRIBUTE.format(ifname))
    return None if found is None else int(found.replace(",", ""), 16)


def mask(processors: int) -> str:
    """Write a bit for each processor as the kernel does: in groups of 32 (lib/bitmap-str.c)."""
    digits = f"{processors:x}"
    first = len(digits) % 8 or 8
    return ",".join((digits[:first], *(digits[at : at + 8] for at in range(first, len(digits), 8))))
