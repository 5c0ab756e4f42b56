"""Links of the host lent to instances, and given back as they were, whatever was killed in between.

The order of steps, each of which can be done twice: what the link is like is written to the instance's record; it is
moved in. Back: it is moved to the host; made as it was; struck off the record. A link that is on the record and on the
host is given back first, whatever is wanted, since nobody knows which step was the last.
"""

from __future__ import annotations

import errno
import logging
import os
import shlex
from collections.abc import Collection, Mapping

from msgspec.structs import replace

from nsmanager.items.link import IFF_LOOPBACK, IFINFOMSG, IFLA_ADDRESS, IFLA_GROUP, IFLA_MASTER, RTM_NEWLINK
from nsmanager.marks import LINK_GROUP
from nsmanager.namespace import RTM_GETLINK, Namespace
from nsmanager.netlink import attributes, number, u32
from supervisor.apps import Apps, own_order
from supervisor.attaching.portrait import portrait, restore
from supervisor.birth import open_pin
from supervisor.items import IFLA_NET_NS_FD
from supervisor.records import LentLink, Records

log = logging.getLogger(__name__)


class Lending:
    """Which links are lent to which instances, as the records say."""

    def __init__(self, ns: Namespace, records: Records, apps: Apps) -> None:
        self._ns = ns
        self._records = records
        self._apps = apps

    def lent(self, name: str) -> dict[str, LentLink]:
        """Return what is on an instance's record."""
        record = self._records.get(name)
        return dict(record.lent) if record else {}

    def holder(self, ifname: str) -> str:
        """Return the instance that has a link; empty: none."""
        return next((name for name, record in self._records.entries.items() if ifname in record.lent), "")

    async def carry_out(
        self, name: str, wanted: Collection[str], missing: Collection[str], originals: Mapping[str, str]
    ) -> dict[str, str]:
        """Lend an instance what is wanted and there, take the rest back. Returns why one isn't lent, by ifname.

        `missing`: what its manager doesn't find inside; `originals`: sysctls of links that we have set, as they were.
        """
        for ifname, was in self.lent(name).items():
            if ifname not in wanted or self._is_here(ifname, was):
                await self.give_back(name, ifname)
            elif ifname in missing and not await self._apps.is_inside(name, ifname):
                log.warning("instance %s: link %s is gone", name, ifname)
                self._strike(name, ifname)
                self._apps.changed()
        reasons = {}
        for ifname in wanted:
            if ifname not in self.lent(name) and (reason := self._lend(name, ifname, originals)):
                reasons[ifname] = reason
        return reasons

    def _lend(self, name: str, ifname: str, originals: Mapping[str, str]) -> str:
        """Record a link and move it. Returns why it can't be lent; empty: it is."""
        if not (index := self._ns.ifindex(ifname)):
            holder = self.holder(ifname)
            return f"link {ifname} is lent to instance {holder}" if holder else f"waiting for link {ifname} on the host"
        if reason := self._unfit(ifname, index):
            return reason
        netns = open_pin(name)
        try:
            self._put(name, ifname, portrait(self._ns, ifname, originals))
            header = IFINFOMSG.pack(0, 0, index, 0, 0)
            self._ns.rtnl.request(RTM_NEWLINK, 0, header + u32(IFLA_NET_NS_FD, netns))
        except OSError as exc:
            self._strike(name, ifname)
            words = "its driver keeps it in its namespace" if exc.errno == errno.EINVAL else exc.strerror or str(exc)
            return f"link {ifname} can't be lent: {words}"
        finally:
            os.close(netns)
        log.info("instance %s: ip link set %s netns %s", name, ifname, name)
        return ""

    def _unfit(self, ifname: str, index: int) -> str:
        """Say why a link of the host is never lent; empty: it may be."""
        message = self._ns.link_messages.get(index, b"")
        if not message:
            return f"waiting for link {ifname} on the host"  # it came since the links were read: that woke us
        fields = attributes(message, IFINFOMSG.size)
        if IFINFOMSG.unpack_from(message)[3] & IFF_LOOPBACK:
            return f"link {ifname} is a loopback; name one that leads somewhere"
        if number(fields.get(IFLA_GROUP)) == LINK_GROUP:
            return f"link {ifname} is nsvisor's own; name another"
        ports = [self._ns.ifnames[i] for i, m in self._ns.link_messages.items() if _master(m) == index]
        if ports:
            return f"link {ifname} has ports ({', '.join(ports)}); attach those, or take them off it"
        return ""

    async def give_back(self, name: str, ifname: str) -> None:
        """Give a link back to the host as it was. Raises OSError when it is still inside: call it again then."""
        was = self.lent(name)[ifname]
        if not self._is_here(ifname, was) and (failure := await self._fetch(name, ifname, was)):
            raise OSError(f"link {ifname} is not given back: {failure}")
        if self._is_here(ifname, was):
            restore(self._ns, ifname, was)
            log.info("instance %s: link %s is given back, with %d addresses and %d routes",
                     name, ifname, len(was.addresses), len(was.routes))  # fmt: skip
        else:
            log.warning("instance %s: link %s is gone, and can't be given back", name, ifname)
        self._strike(name, ifname)
        self._ns.read_links()

    def _is_here(self, ifname: str, was: LentLink) -> bool:
        """Tell whether that very link is on the host; another may have got its name meanwhile."""
        if not (index := self._ns.ifindex(ifname)):
            return False
        message = self._ns.rtnl.ask(RTM_GETLINK, IFINFOMSG.pack(0, 0, index, 0, 0))
        return attributes(message, IFINFOMSG.size).get(IFLA_ADDRESS, b"").hex(":") == was.mac

    async def _fetch(self, name: str, ifname: str, was: LentLink) -> str:
        """Move a link to the host, if it is inside by its name or by its MAC address. Returns what went wrong."""
        script = f"""
            name={shlex.quote(ifname)}
            if ! [ -e /sys/class/net/$name ]; then
                for found in /sys/class/net/*; do
                    [ "$(cat "$found/address")" = {shlex.quote(was.mac)} ] && [ -e "$found/brport" ] || continue
                    ip link set "${{found##*/}}" down
                    ip link set "${{found##*/}}" name "$name"
                    break
                done
            fi
            # With its group at once: in ours, whoever set that inside, the host would take it for a link of ours.
            if [ -e /sys/class/net/$name ]; then ip link set dev "$name" netns {os.getpid()} group {was.group}; fi
        """
        try:
            return await self._apps.ask(own_order(name, ("sh", "-c", script)))
        except FileNotFoundError:  # the namespace is gone, and the link with it, or it is on the host
            return ""

    async def give_all_back(self, name: str) -> None:
        """Give all links of an instance back, before its end. Raises OSError."""
        for ifname in self.lent(name):
            await self.give_back(name, ifname)

    def _put(self, name: str, ifname: str, was: LentLink) -> None:
        record = self._records[name]
        self._records.put(name, replace(record, lent={**record.lent, ifname: was}))

    def _strike(self, name: str, ifname: str) -> None:
        record = self._records[name]
        self._records.put(name, replace(record, lent={k: v for k, v in record.lent.items() if k != ifname}))


def _master(message: bytes) -> int:
    return number(attributes(message, IFINFOMSG.size).get(IFLA_MASTER))
