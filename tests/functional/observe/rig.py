"""One instance with its logs on, and everything that it tells, as it comes."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from ipaddress import IPv4Address
from typing import Any, Generic, Self, TypeVar

import pubsub
from nsmanager.names import eui64
from pubsub.topics import Action, Direction, DnsQuery, IPFlow, LogConfig, NamespaceApp, Rule
from pubsub.values import MacAddress, Network, PortMap, PortRange
from tests.functional.nsmanager.rig import BRIDGE6, LINK6, NAME
from tests.functional.nsmanager.rig import Rig as Base
from tests.hosts import Host, wait_until

PYTHON = (sys.executable, "-SE")
HOST = "100.127.0.0"  # the host's end of the link: what lies outside, here
HOST6 = str(LINK6.gateway6)
ROUTER, ROUTER6 = "10.1.0.1", str(BRIDGE6.ip)
SHORT = "net.netfilter.nf_conntrack_udp_timeout=1 net.netfilter.nf_conntrack_udp_timeout_stream=1 \
net.netfilter.nf_conntrack_icmp_timeout=1 net.netfilter.nf_conntrack_icmpv6_timeout=1"

T = TypeVar("T")


def app(name: str, number: int, **more: Any) -> NamespaceApp:
    """Return an app with address 10.1.0.<number> and its port."""
    mac = f"02:00:00:00:00:{number:02x}"
    return NamespaceApp(
        name=name, mac=MacAddress.parse(mac), address=IPv4Address(f"10.1.0.{number}"), ifname=f"p-{name}",
        address6=eui64(BRIDGE6.network, mac), **more,
    )  # fmt: skip


def ports(*found: int) -> tuple[PortRange, ...]:
    return tuple(PortRange.parse(port) for port in found)


# `free` may do all; `guarded` has rules.
FREE = app("free", 0x50, ports=(PortMap.parse("8080:80/tcp"),), user_data="#cloud-config\nhostname: x\n")
GUARDED = app(
    "guarded",
    0x51,
    rules=(
        Rule(name="pages", protocol="tcp", ports=ports(80)),
        Rule(name="echoes", protocol="udp", ports=ports(7)),
        Rule(name="never", protocol="tcp", ports=ports(81), action=Action.DROP),
        Rule(
            name="callers",
            direction=Direction.IN,
            protocol="tcp",
            ports=ports(80),
            remote=(Network.parse("0.0.0.0/0"),),
        ),
    ),
)


class Told(Generic[T]):
    """A stream of the instance, followed by a thread from its beginning."""

    def __init__(self, run_dir: Any, type_: type[T]) -> None:
        self.records: list[T] = []
        self.lost = 0
        self._run_dir, self._type = run_dir, type_
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=type_.__name__)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError), contextlib.closing(self._loop):
            self._task = self._loop.create_task(self._follow())
            self._loop.run_until_complete(self._task)

    async def _follow(self) -> None:
        async with pubsub.connect(self._run_dir, agent=f"reader-{self._type.__name__}") as bus:
            async for found in bus.follow(self._type, agent="nsmanager", scope=NAME, last=1_000_000):
                if isinstance(found, pubsub.Lost):
                    self.lost += found.count
                else:
                    self.records.append(found.value)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()

    def find(self, **fields: Any) -> list[T]:
        """Return the records whose fields are so; values are compared as text."""
        return [
            one for one in list(self.records)
            if all(str(getattr(one, name)) == str(value) for name, value in fields.items())
        ]  # fmt: skip

    def wait(self, count: int = 1, **fields: Any) -> list[T]:
        """Return such records once there are so many."""

        def look() -> list[T] | None:
            found = self.find(**fields)
            assert len(found) >= count, f"{len(found)} of {count} like {fields}; the last: {self.records[-5:]}"
            return found

        return wait_until(look, what=f"{count} records like {fields}")


class Rig(Base):
    """An instance with `free` and `guarded`, IPv4 and IPv6, all logs on; the host serves a page and an echo."""

    def __init__(self, **changes: Any) -> None:
        super().__init__()
        self.changes = changes

    def __enter__(self) -> Self:
        super().__enter__()
        self.host.sh(f"""
            ip addr add {LINK6.gateway6}/127 dev v-{NAME} nodad
            ip neigh add {LINK6.address6.ip if LINK6.address6 else ""} lladdr {LINK6.mac} dev v-{NAME} nud permanent
        """)
        apps = (FREE, GUARDED)
        log = LogConfig(flows=True, dns=True)
        self.publish(**{"link": LINK6, "bridge6": BRIDGE6, "apps": apps, "log": log, **self.changes})
        self.free, self.guarded = (self.attach(one.name, str(one.mac)) for one in apps)
        self.start()
        self.wait_ready()
        self.inside(f"sysctl -qw {SHORT}")
        self.flows = Told(self.run_dir, IPFlow)
        self.stack.callback(self.flows.close)
        self.queries = Told(self.run_dir, DnsQuery)
        self.stack.callback(self.queries.close)
        for each in (self.free, self.guarded):
            each.dhcp()
            self._wait_address6(each)
        return self

    def _wait_address6(self, one: Host) -> None:
        wait_until(lambda: "fd00:1::" in one.sh("ip -6 addr show dev eth0 scope global"), what="SLAAC")
