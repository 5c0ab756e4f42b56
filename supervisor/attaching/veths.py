"""Apps that have a network namespace of their own, made by others: a veth is made, each end born where it belongs."""

from __future__ import annotations

import logging
import os
import shlex

from msgspec.structs import replace

from pubsub.topics import Attachment, NamespaceApp
from supervisor import syscalls
from supervisor.apps import Apps, own_order
from supervisor.child import Child
from supervisor.names import app_port
from supervisor.orders import Exec
from supervisor.plan import InstancePlan, planned_app
from supervisor.records import AppRecord

log = logging.getLogger(__name__)


class Veths:
    """The links of containers and named namespaces."""

    def __init__(self, apps: Apps) -> None:
        self._apps = apps

    async def join(self, name: str, app: str, attach: Attachment, netns: str, plan: InstancePlan) -> str:
        """Link a namespace to an instance and finish its end. Returns why it isn't so; empty: it is."""
        known = self._apps.running(name).get(app)
        if known is not None:
            return "" if not known.begun and known.netns else f"app {app} runs already as {known.kind}; end that first"
        what = f"process {attach.container}" if attach.container else f"network namespace {netns}"
        inode, planned = look(netns), planned_app(plan, app)
        child = Child.of(attach.container) if attach.container else None
        process = child.identity if child else None
        try:
            if not inode or planned is None or (attach.container and child is None):
                return f"waiting for {what}"
            if inode == look("/proc/self/ns/net") or self._apps.is_instance(inode):
                return f"{what} is the host's own or an instance's; name one of the app's"
            record = AppRecord(kind_of(attach), process, app_port(app), netns, inode, attach.ifname)
            # On record before it is made: who dies in between finds it, and begins again.
            self._apps.note(name, app, replace(record, begun=True))
            try:
                self._apps.link(name, app, plan.config.mtu, netns, ifname=attach.ifname, mac=planned.mac)
            except FileExistsError:
                await self.leave(name, app, record)
                return f"{what} has a link {attach.ifname} already; remove that, or choose another ifname"
            if failure := await self._apps.ask(finish(name, attach, plan, planned)):
                await self.leave(name, app, record)  # and try again in the next pass
                return failure
            self._apps.remember(name, app, record, child)
            child = None
            return ""
        finally:
            if child:
                child.close()

    async def leave(self, name: str, app: str, known: AppRecord) -> None:
        """Take away an app's link, if it is there; both ends go. Raises OSError."""
        command = ("ip", "link", "del", known.port)
        script = f"[ ! -e /sys/class/net/{known.port} ] || {shlex.join(command)}"
        if failure := await self._apps.ask(own_order(name, ("sh", "-c", script))):
            raise OSError(failure)
        log.info("instance %s: %s", name, " ".join(command))
        self._apps.forget(name, app)


def look(path: str) -> int:
    """Return the inode of the network namespace at a path; 0: there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return os.fstat(fd).st_ino if syscalls.is_network_namespace(fd) else 0
    finally:
        os.close(fd)


def kind_of(attach: Attachment) -> str:
    """Return which field of an attachment is set, of those with a veth."""
    return "container" if attach.container is not None else "netns"


def finish(name: str, attach: Attachment, plan: InstancePlan, app: NamespaceApp) -> Exec:
    """Return the order that finishes an app's end of its link, in the app's namespace."""
    ifname = shlex.quote(attach.ifname)
    # Its IPv6 address follows from its MAC address, so that port maps know it beforehand.
    steps = [f"! echo 0 2>&- > /proc/sys/net/ipv6/conf/{ifname}/addr_gen_mode", f"ip link set {ifname} up"]
    if attach.configure and plan.config.bridge and app.address:
        router = plan.config.router
        steps.append(f"ip addr replace {app.address}/{router.network.prefixlen} dev {ifname}")
        if plan.place.linked:  # another interface of it may lead out already
            default = f"ip route add default via {router.ip} dev {ifname}"
            steps.append(f'if [ -z "$(ip -4 route show default)" ]; then {default}; fi')
    script = "\n".join(["set -e", *steps])
    return own_order(attach.netns or name, ("sh", "-c", script), attach.container or 0)
