"""Taps of VMs: moved into an instance when they appear, and back before its end, for they die with a namespace."""

from __future__ import annotations

import logging
import os

from nsmanager.items.link import IFINFOMSG, IFLA_INFO_KIND, IFLA_LINKINFO, RTM_NEWLINK
from nsmanager.namespace import Namespace
from nsmanager.netlink import attributes, string, u32
from supervisor.apps import Apps, own_order
from supervisor.birth import open_pin
from supervisor.items import IFLA_NET_NS_FD
from supervisor.records import AppRecord

log = logging.getLogger(__name__)


class Taps:
    """The taps that are lent to instances."""

    def __init__(self, ns: Namespace, apps: Apps) -> None:
        self._ns = ns
        self._apps = apps

    async def take(self, name: str, app: str, tap: str) -> str:
        """Move a tap into an instance once it is on the host. Returns why it isn't there; empty: it is."""
        known = self._apps.running(name).get(app)
        if known is not None and known.kind != "tap":
            return f"app {app} runs already as {known.kind}; end that first"
        index = self._ns.ifindex(tap)
        if not index:
            return "" if known is not None and not known.begun else f"waiting for tap {tap} on the host"
        if link_kind(self._ns.link_messages.get(index, b"")) != "tun":
            return f"{tap} is no tap; name one that `ip tuntap` lists"
        if known is not None and (failure := await self._clear(name, tap)):
            return failure
        # On record before it is moved: else nobody would give it back who died in between.
        self._apps.note(name, app, AppRecord("tap", None, tap, begun=True))
        netns = open_pin(name)
        try:
            self._ns.rtnl.request(RTM_NEWLINK, 0, IFINFOMSG.pack(0, 0, index, 0, 0) + u32(IFLA_NET_NS_FD, netns))
        finally:
            os.close(netns)
        log.info("instance %s: ip link set %s netns %s", name, tap, name)
        self._apps.remember(name, app, AppRecord("tap", None, tap), None)
        return ""

    async def _clear(self, name: str, tap: str) -> str:
        """Delete the tap of that name inside, which its owner has left to make another. Returns why it stays there."""
        carrier = f"/sys/class/net/{tap}/carrier"
        script = f'[ "$(cat {carrier} 2>&-)" != 1 ] || exit 9; [ ! -e /sys/class/net/{tap} ] || ip link del {tap}'
        if not await self._apps.ask(own_order(name, ("sh", "-c", script))):
            return ""
        return f"there are two taps {tap}: one in use inside, another on the host; delete one"

    async def give_back(self, name: str, app: str, known: AppRecord) -> None:
        """Move a tap to the host again, if it is inside."""
        tap = known.port
        move = f"[ ! -e /sys/class/net/{tap} ] || ip link set {tap} netns {os.getpid()}"
        if failure := await self._apps.ask(own_order(name, ("sh", "-c", move))):
            log.warning("instance %s: tap %s is not given back: %s", name, tap, failure)
        else:
            log.info("instance %s: ip link set %s netns %s", name, tap, os.getpid())
        self._apps.forget(name, app)


def link_kind(message: bytes) -> str:
    """Return the kind of the link that a message tells of; a tap is of kind tun."""
    info = attributes(message, IFINFOMSG.size).get(IFLA_LINKINFO, b"")
    return string(attributes(info, 0).get(IFLA_INFO_KIND))
