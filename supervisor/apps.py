"""Running apps: who stands over them, their links to the instance's bridge, and taps lent to an instance.

The supervisor only makes or moves links; the manager puts them under its bridge when its config names them, and what is
inside an app's namespace is done by a process born there.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Sequence

import msgpack  # type: ignore[import-untyped]  # ships no types
from msgspec.structs import replace

from nsmanager.items.link import IFINFOMSG, IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU
from nsmanager.namespace import Namespace
from nsmanager.netlink import attribute, text, u32
from supervisor.birth import NETNS_DIR
from supervisor.child import Child, Identity
from supervisor.control import ControlError
from supervisor.items import IFLA_NET_NS_FD, mac_bytes, make_veth
from supervisor.names import app_port
from supervisor.orders import Exec, RunApp
from supervisor.plan import InstancePlan
from supervisor.records import AppRecord, Records
from supervisor.zygote import Zygote

log = logging.getLogger(__name__)

ASK_TIMEOUT = 10.0  # seconds
NOTE_RETRY = 1.0  # seconds until the end of an app is noted again, where that failed
OWN_PATH = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}  # environment of our own commands
APP_IFNAME = "eth0"  # the app's end of its link


class Apps:
    """The apps that run now, of all instances."""

    def __init__(self, ns: Namespace, records: Records, zygote: Zygote, wake: Callable[[], None]) -> None:
        self._ns = ns
        self._records = records
        self._zygote = zygote
        self._wake = wake
        self._watched: dict[Child, tuple[str, str]] = {}  # whose app each is
        self._starting: set[tuple[str, str]] = set()  # being born: their names are taken already
        self._new: asyncio.Queue[tuple[str, str, Child]] = asyncio.Queue()

    async def run(self) -> None:
        """Adopt the apps that run, and note the end of each. Runs until cancelled; the apps live on then."""
        async with asyncio.TaskGroup() as group:
            for name, record in list(self._records.entries.items()):
                for app, known in record.apps.items():
                    if known.process is None:
                        continue
                    child = Child.find(known.process)
                    if child is None:
                        group.create_task(self._note_end(name, app, known.process))
                    else:
                        self._new.put_nowait((name, app, child))
            while True:
                name, app, child = await self._new.get()
                group.create_task(self._watch(name, app, child))

    async def _watch(self, name: str, app: str, child: Child) -> None:
        self._watched[child] = name, app
        try:
            how = await child.ended()
        finally:
            del self._watched[child]
            child.close()
        log.info("instance %s: app %s (pid %s) %s", name, app, child.pid, how)
        await self._note_end(name, app, child.identity)

    async def _note_end(self, name: str, app: str, process: Identity) -> None:
        """Note the end of an app's process, unless it was detached before; on a full disk as soon as that can be."""
        while (known := self.running(name).get(app)) and known.process == process:
            try:
                self._lapse(name, app)
            except OSError as exc:
                log.warning("instance %s: the end of app %s isn't noted yet: %s", name, app, exc)
                await asyncio.sleep(NOTE_RETRY)
            else:
                break
        self._wake()

    def _lapse(self, name: str, app: str) -> None:
        """Note the end of an app's process. With a command goes its link; a container's may have to be deleted."""
        known = self.running(name)[app]
        if known.kind == "run":
            self.forget(name, app)
        else:
            self.note(name, app, replace(known, begun=True))

    def pids(self) -> set[int]:
        """The processes whose end is waited for here."""
        return {child.pid for child in self._watched}

    def ports(self) -> dict[str, dict[str, str]]:
        """The apps' ports on the bridges, by instance and app."""
        return {
            name: {app: known.port for app, known in record.apps.items() if not known.begun}
            for name, record in self._records.entries.items()
            if record.apps
        }

    def lent(self) -> dict[str, tuple[str, ...]]:
        """The links of the host that are lent, by instance."""
        return {name: tuple(record.lent) for name, record in self._records.entries.items() if record.lent}

    def running(self, name: str) -> dict[str, AppRecord]:
        """The running apps of one instance."""
        record = self._records.get(name)
        return dict(record.apps) if record else {}

    async def exec(self, order: Exec, fds: Sequence[int]) -> int:
        """Run a command inside an instance's own namespace. Returns its guardian's pid; nobody waits for its end."""
        return await (await self._zygote.current()).exec(order, fds)

    def is_taken(self, name: str, app: str) -> bool:
        """Whether an app of that name runs in the instance, or is about to."""
        return app in self.running(name) or (name, app) in self._starting

    async def start(self, name: str, plan: InstancePlan, app: str, order: RunApp, fds: Sequence[int]) -> int:
        """Run a command as an app: its guardian is born, then linked to the instance. Returns the guardian's pid."""
        if self.is_taken(name, app):
            raise ControlError(f"app {app} of instance {name} runs already; choose another --name, or end it", 1)
        self._starting.add((name, app))
        try:
            return await self._start(name, plan, app, order, fds)
        finally:
            self._starting.discard((name, app))

    async def _start(self, name: str, plan: InstancePlan, app: str, order: RunApp, fds: Sequence[int]) -> int:
        pid = await (await self._zygote.current()).run_app(order, fds)
        child = Child.of(pid)
        if child is None:
            raise ControlError(f"app {app} of instance {name} ended before it began", 1)
        netns = f"/proc/{pid}/ns/net"
        try:
            try:
                self.link(name, app, plan.config.mtu, netns)
            except FileExistsError:  # of an earlier run's, whose namespace the kernel is still clearing up
                await self.ask(own_order(name, ("ip", "link", "del", app_port(app))))
                self.link(name, app, plan.config.mtu, netns)
            self.remember(name, app, AppRecord("run", child.identity, app_port(app)), child)
        except OSError as exc:
            child.signal(signal.SIGKILL)
            child.close()
            raise ControlError(f"app {app} of instance {name} can't be linked: {exc}", 1) from exc
        return pid

    async def ask(self, order: Exec, output: int | None = None) -> str:
        """Run a short command of our own in a named or a container's namespace. Returns what went wrong.

        `output`: the descriptor that it writes to; else nobody hears it.
        """
        said = await self._said(order, output)
        if said.get("exit") == 0:
            return ""
        return str(said.get("error") or f"`{' '.join(order.argv)}` failed: {said}")

    async def is_inside(self, name: str, ifname: str) -> bool:
        """Ask whether a link is in an instance's namespace; where nobody can tell, it may be."""
        said = await self._said(own_order(name, ("test", "!", "-e", f"/sys/class/net/{ifname}")))
        return said.get("exit") != 0

    async def _said(self, order: Exec, output: int | None = None) -> dict[str, object]:
        """Run a command and return what its guardian says of it."""
        ours, theirs = socket.socketpair()
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        with ours, theirs:
            try:
                said_to = null if output is None else output
                await self.exec(order, [null, said_to, said_to, theirs.fileno()])
            finally:
                os.close(null)
            theirs.close()
            ours.setblocking(False)
            said: dict[str, object] = {}
            unpacker = msgpack.Unpacker()
            async with asyncio.timeout(ASK_TIMEOUT):
                while data := await asyncio.get_running_loop().sock_recv(ours, 65536):
                    unpacker.feed(data)
                    for message in unpacker:
                        said |= message
        return said

    def link(self, name: str, app: str, mtu: int, netns: str, *, ifname: str = APP_IFNAME, mac: str = "") -> None:
        """Make the veth between an instance and an app's namespace, both ends where they belong. Raises OSError."""
        inner = os.open(f"{NETNS_DIR}/{name}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            outer = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
            try:
                peer = IFINFOMSG.pack(0, 0, 0, 0, 0) + text(IFLA_IFNAME, ifname) + u32(IFLA_NET_NS_FD, outer)
                peer += u32(IFLA_MTU, mtu) + (attribute(IFLA_ADDRESS, mac_bytes(mac)) if mac else b"")
                make_veth(self._ns, app_port(app), mtu, peer, netns=inner)
            finally:
                os.close(outer)
        finally:
            os.close(inner)
        log.info(
            "instance %s: ip link add %s netns %s mtu %s up type veth peer name %s netns %s",
            *(name, app_port(app), name, mtu, ifname, netns),
        )

    def remember(self, name: str, app: str, known: AppRecord, child: Child | None) -> None:
        """Note a running app; its process, where it has one, is watched from now on."""
        self.note(name, app, known)
        if child is not None:
            self._new.put_nowait((name, app, child))
        self._wake()

    def note(self, name: str, app: str, known: AppRecord) -> None:
        """Write an app into the record, and nothing else."""
        record = self._records[name]
        self._records.put(name, replace(record, apps={**record.apps, app: known}))

    def is_instance(self, inode: int) -> bool:
        """Tell whether a network namespace is an instance's."""
        return any(record.inode == inode for record in self._records.entries.values())

    def changed(self) -> None:
        """Have all planned again."""
        self._wake()

    def forget(self, name: str, app: str) -> None:
        """Drop an app from the record."""
        record = self._records.get(name)
        if record is not None and app in record.apps:
            self._records.put(name, replace(record, apps={k: v for k, v in record.apps.items() if k != app}))
            if not record.apps[app].begun:  # else its manager was never told of it
                self._wake()

    def end_all(self, name: str) -> None:
        """End the commands that `run` started in an instance; with its guardian ends all of an app."""
        running = self.running(name)
        for child, (instance, app) in self._watched.items():
            if instance == name and app in running and running[app].kind == "run":
                child.signal(signal.SIGKILL)


def own_order(name: str, argv: tuple[str, ...], container: int = 0) -> Exec:
    """Return the order for a short command of our own."""
    return Exec(
        instance=name, container=container, argv=argv, env=OWN_PATH, cwd="/", uid=0, gid=0, groups=(), resolv_conf=""
    )
