"""One instance as a supervisor would make it: a hub, a namespace with the rights of birth, its link, its manager."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from pathlib import Path
from typing import Any, Self

import msgspec

import pubsub
from pubsub.codec import digest
from pubsub.topics import (
    BusGrant,
    NamespaceApp,
    NamespaceConfig,
    NamespaceLink,
    NamespaceStatus,
    NetworkInstanceMetrics,
)
from pubsub.values import AddressRange, Duration, MacAddress, PortMap
from supervisor.kernel import load_bridge_filter
from tests.hosts import DEADLINE, RULESET, Host, wait_until

UID_BASE = 0x7FF0_0000  # far from what a real daemon of this machine would give away
RUN_DIR = "/run/nsvisor"
NAME = "red"
REPAIR = 30.0  # seconds; half of a full pass, which would find it though no event told of it
HOST_MAC = "02:00:00:00:00:fe"  # of the host's end of the link
LINK = NamespaceLink(
    ifname="up0",
    address=IPv4Interface("100.127.0.1/31"),
    gateway=IPv4Address("100.127.0.0"),
    gateway_mac=MacAddress.parse(HOST_MAC),
)
CONFIG = NamespaceConfig(
    link=LINK,
    bridge=IPv4Interface("10.1.0.1/24"),
    mtu=1500,
    domain="red.internal",
    range=AddressRange.parse("10.1.0.64-10.1.0.191"),
    lease_time=Duration(3600),
    hosts={"printer": IPv4Address("10.1.0.9")},
    apps=(
        NamespaceApp(
            name="web",
            mac=MacAddress.parse("02:00:00:00:00:80"),
            address=IPv4Address("10.1.0.80"),
            ports=(PortMap.parse("8080:80/tcp"),),
        ),
    ),
)
INNER_MAC = "02:00:00:00:00:ff"  # of the instance's end
LINK6 = msgspec.structs.replace(
    LINK,
    mac=MacAddress.parse(INNER_MAC),
    address6=IPv6Interface("fd6e:7376:6973::3/127"),
    gateway6=IPv6Address("fd6e:7376:6973::2"),
)
BRIDGE6 = IPv6Interface("fd00:1::1/64")
APP6 = IPv6Address("fd00:1::ff:fe00:80")  # of the app, by its MAC


class Rig:
    """A context manager. The manager runs from `start` on."""

    def __init__(self) -> None:
        self.stack = contextlib.ExitStack()
        self.config = CONFIG
        self.pid = 0

    def __enter__(self) -> Self:
        load_bridge_filter()
        self.host = self.stack.enter_context(Host(NAME))
        self.run_dir = self.host.path(RUN_DIR)
        self.start_hub()
        self.nest = self.host.popen(
            [sys.executable, "-m", "tests.functional.nsmanager.nest"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.nest.stdout
        assert self.nest.stdout.readline() == "ready\n"
        self.order(f"namespace {NAME} {UID_BASE}")
        self.host.sh(f"""
            ip link add v-{NAME} address {HOST_MAC} group 196 up type veth peer name up0 netns {NAME}
            ip addr add 100.127.0.0/31 dev v-{NAME}
        """)
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def start_hub(self) -> None:
        folders = ["--run-dir", RUN_DIR, "--state-dir", "/var/lib/nsvisor"]
        self.hub = self.host.popen([sys.executable, "-m", "pubsub", *folders], stderr=subprocess.DEVNULL)

    def order(self, line: str) -> int:
        assert self.nest.stdin
        assert self.nest.stdout
        self.nest.stdin.write(line + "\n")
        self.nest.stdin.flush()
        return int(self.nest.stdout.readline())

    def start(self) -> None:
        """Start the manager."""
        self.pid = self.order(f"manager {NAME} {UID_BASE} /run/{NAME}.log")

    def with_ipv6(self, **changes: Any) -> Host:
        """Give instance and host IPv6 too, start the manager; return the config's app, which has its port."""
        self.host.sh(f"""
            ip addr add {LINK6.gateway6}/127 dev v-{NAME} nodad
            ip neigh add {LINK6.address6.ip if LINK6.address6 else ""} lladdr {INNER_MAC} dev v-{NAME} nud permanent
        """)
        app = self.app(ifname="p-web", address6=APP6)
        self.publish(**{"link": LINK6, "bridge6": BRIDGE6, "apps": (app,), **changes})
        made = self.attach("web", str(app.mac))
        self.start()
        self.wait_ready()
        return made

    def kill(self) -> None:
        """Kill the manager, as nothing could forbid."""
        os.kill(self.pid, signal.SIGKILL)
        wait_until(lambda: not self.alive(self.pid))

    def alive(self, pid: int) -> bool:
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        return False

    def publish(self, **changes: Any) -> None:
        """Publish the config with some fields changed, as the supervisor."""
        self.config = msgspec.structs.replace(self.config, **changes)
        asyncio.run(self._publish())

    async def _publish(self) -> None:
        grant = BusGrant(publish=(f"nsmanager/{NAME}/*",), subscribe=(f"supervisor/{NAME}/*",))
        async with pubsub.connect(self.run_dir, agent="supervisor") as bus:
            await bus.publish(BusGrant, initial={str(UID_BASE): grant})
            await bus.publish(NamespaceConfig, scope=NAME, initial={NAME: self.config})

    def status(self) -> NamespaceStatus | None:
        """Return what the manager published last."""

        async def read() -> NamespaceStatus | None:
            async with pubsub.connect(self.run_dir, agent="supervisor") as bus:
                return (await bus.table(NamespaceStatus, agent="nsmanager", scope=NAME)).get(NAME)

        return asyncio.run(read())

    def metrics(self) -> NetworkInstanceMetrics | None:
        """Return what the manager published last."""

        async def read() -> NetworkInstanceMetrics | None:
            async with pubsub.connect(self.run_dir, agent="supervisor") as bus:
                return (await bus.table(NetworkInstanceMetrics, agent="nsmanager", scope=NAME)).get(NAME)

        return asyncio.run(read())

    def wait_ready(self, timeout: float = DEADLINE) -> NamespaceStatus:
        """Wait until the manager says that the last config is in force."""

        def look() -> NamespaceStatus | None:
            status = self.status()
            return status if status and status.ready and status.config == digest(self.config) else None

        try:
            return wait_until(look, timeout, "ready")
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{self.status()}\n{self.log()}") from exc

    def attach(self, app: str, mac: str = "") -> Host:
        """Return a new host with an `eth0` whose other end is the port `p-<app>` of the instance's namespace."""
        made = self.stack.enter_context(Host(app))
        address = f"address {mac}" if mac else ""
        self.inside(f"""
            ip link add p-{app} group 196 type veth peer name eth0 netns {made.pid}
            nsenter --net=/proc/{made.pid}/ns/net ip link set eth0 {address} up
        """)
        return made

    def app(self, **changes: Any) -> NamespaceApp:
        """Return the app of the first config, with some fields changed."""
        return msgspec.structs.replace(CONFIG.apps[0], **changes)

    def inside(self, script: str) -> str:
        """Run a script in the instance's namespace, as an administrator would."""
        return self.host.sh(script, netns=NAME)

    def state(self) -> str:
        """Return all that the plan is about, as text; tables and sets in any order.

        Left out are indices, counters, and carriers: the kernel tells up to a second later that a bridge has none.
        """
        return self.inside(
            """
            for link in lo up0 br0; do ip -o link show "$link"; done |
                sed 's/^[0-9]*: //; s/NO-CARRIER,//; s/,LOWER_UP//; s/state [A-Z]*//'
            ip -o -4 addr show | awk '{print $2, $4}' | sort
            ip -o -6 addr show | awk '{print $2, $4}' | sort
            ip -4 route show table all | sed 's/ linkdown//'
            ip -6 route show table all | sed 's/ linkdown//' | sort
            ip -4 neigh show nud permanent
            ip -6 neigh show nud permanent
            ip link show master br0 | sed 's/^[0-9]*: //'
            sysctl net.ipv4.ip_forward net.ipv4.conf.all net.ipv4.conf.up0 net.ipv4.conf.br0
            [ ! -d /proc/sys/net/bridge ] || sysctl net.bridge
            sysctl net.ipv6.conf.all.disable_ipv6 net.ipv6.conf.all.forwarding net.ipv6.conf.all.accept_source_route
            for link in lo up0 br0; do sysctl net.ipv6.conf.$link.disable_ipv6; done
            for link in up0 br0; do for name in accept_ra accept_redirects addr_gen_mode; do
                sysctl net.ipv6.conf.$link.$name
            done; done
        """
            + RULESET
        )

    def log(self) -> str:
        return self.host.read_file(f"/run/{NAME}.log")

    def dnsmasq(self) -> int:
        """Return the pid in dnsmasq's pid file."""
        return self.service("dnsmasq")

    def service(self, name: str) -> int:
        """Return the pid in a service's pid file; 0 while there is none."""
        with contextlib.suppress(FileNotFoundError):
            return int(self.host.read_file(f"{RUN_DIR}/instances/{NAME}/{name}.pid").partition("\n")[0] or 0)
        return 0
