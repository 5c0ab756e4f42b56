"""Takes what others made into an instance: a running container's namespace, a tap; and gives a tap back.

Wanted by config, looked at in every pass: what isn't there yet is waited for, and is never an error of the instance.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

from nsmanager.items.link import IFINFOMSG, IFLA_INFO_KIND, IFLA_LINKINFO, RTM_NEWLINK
from nsmanager.namespace import Namespace
from nsmanager.netlink import attributes, string, u32
from pubsub.topics import Attachment, NamespaceApp, NetworkInstanceConfig
from supervisor.apps import APP_IFNAME, Apps, own_order
from supervisor.birth import NETNS_DIR
from supervisor.child import Child
from supervisor.items import IFLA_NET_NS_FD
from supervisor.names import app_port
from supervisor.plan import Plan, planned_app
from supervisor.records import AppRecord
from supervisor.spawn import SpawnerGone, SpawnError

log = logging.getLogger(__name__)


class Attachments:
    """Carries out the `attach` of all apps."""

    def __init__(self, ns: Namespace, apps: Apps) -> None:
        self._ns = ns
        self._apps = apps
        self.trouble: dict[tuple[str, str], str] = {}  # (instance, app) -> why it is not attached

    async def carry_out(self, configs: Mapping[str, NetworkInstanceConfig], plan: Plan, stands: list[str]) -> None:
        """Attach what is wanted and there, detach what is wanted no more."""
        self.trouble = {}
        for name in stands:
            if name not in plan.instances:
                continue
            wanted = {app: config.attach for app, config in configs[name].apps.items() if config.attach}
            for app in self._apps.running(name).keys() | wanted.keys():
                try:
                    await self._carry_out(name, app, wanted.get(app), plan)
                except (OSError, SpawnerGone, SpawnError) as exc:
                    self.trouble[name, app] = f"can't be attached or detached: {exc}"

    async def _carry_out(self, name: str, app: str, attach: Attachment | None, plan: Plan) -> None:
        known = self._apps.running(name).get(app)
        if known is not None and known.kind == "tap" and (attach is None or attach.tap != known.port):
            await self.give_back(name, app, known.port)
        if known is not None and known.kind == "container" and (attach is None or attach.container != known.pid):
            await self._leave(name, app)
        if attach is not None and attach.tap is not None:
            self._take_tap(name, app, attach.tap)
        elif attach is not None and attach.container is not None:
            await self._join(name, app, attach.container, plan)

    def _take_tap(self, name: str, app: str, tap: str) -> None:
        index = self._ns.ifindex(tap)
        if not index:
            if app not in self._apps.running(name):
                self.trouble[name, app] = f"waiting for tap {tap} on the host"
            return
        if link_kind(self._ns.link_messages.get(index, b"")) != "tun":
            self.trouble[name, app] = f"{tap} is no tap; name one that `ip tuntap` lists"
            return
        netns = os.open(f"{NETNS_DIR}/{name}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            self._ns.rtnl.request(RTM_NEWLINK, 0, IFINFOMSG.pack(0, 0, index, 0, 0) + u32(IFLA_NET_NS_FD, netns))
        finally:
            os.close(netns)
        log.info("instance %s: ip link set %s netns %s", name, tap, name)
        self._apps.remember(name, app, AppRecord("tap", None, tap), None)

    async def give_back(self, name: str, app: str, tap: str) -> None:
        """Move a tap to the host again: it would die with the instance's namespace."""
        command = ("ip", "link", "set", tap, "netns", str(os.getpid()))
        if failure := await self._apps.ask(own_order(name, command)):
            log.warning("instance %s: tap %s is not given back: %s", name, tap, failure)
        else:
            log.info("instance %s: %s", name, " ".join(command))
        self._apps.forget(name, app)

    async def give_all_back(self, name: str) -> None:
        """Move all taps of an instance to the host again, before its end."""
        for app, known in self._apps.running(name).items():
            if known.kind == "tap":
                await self.give_back(name, app, known.port)

    async def _join(self, name: str, app: str, pid: int, plan: Plan) -> None:
        if app in self._apps.running(name):
            return
        child = Child.of(pid)
        planned = planned_app(plan.instances[name], app)
        if child is None or planned is None:
            self.trouble[name, app] = f"waiting for a process {pid}"
            return
        try:
            self._apps.link(name, app, plan.instances[name].config.mtu, f"/proc/{pid}/ns/net")
        except FileExistsError:
            child.close()
            self.trouble[name, app] = (
                f"the container of process {pid} has a link {APP_IFNAME} already; remove that first"
            )
            return
        self._apps.remember(name, app, AppRecord("container", child.identity, app_port(app)), child)
        gateway = plan.instances[name].config.router
        command = configure(planned, gateway.network.prefixlen, str(gateway.ip))
        if failure := await self._apps.ask(own_order(name, command, pid)):
            await self._leave(name, app)  # and try again in the next pass
            self.trouble[name, app] = failure

    async def _leave(self, name: str, app: str) -> None:
        """Take away a container's link; both ends go."""
        command = ("ip", "link", "del", app_port(app))
        log.info("instance %s: %s", name, " ".join(command))
        await self._apps.ask(own_order(name, command))
        self._apps.forget(name, app)


def link_kind(message: bytes) -> str:
    """Return the kind of the link that a message tells of; a tap is of kind tun."""
    info = attributes(message, IFINFOMSG.size).get(IFLA_LINKINFO, b"")
    return string(attributes(info, 0).get(IFLA_INFO_KIND))


def configure(app: NamespaceApp, prefixlen: int, gateway: str) -> tuple[str, ...]:
    """Return the command that finishes a container's end of its link; all words come from typed values."""
    steps = (
        f"ip link set {APP_IFNAME} address {app.mac} up",
        f"ip addr add {app.address}/{prefixlen} dev {APP_IFNAME}",
        f"ip route replace default via {gateway} dev {APP_IFNAME}",
    )
    return ("sh", "-c", " && ".join(steps))
