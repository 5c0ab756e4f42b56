"""What tests of tunnels ask of their world."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pubsub
from pubsub.topics import NamespaceStatus, NetworkInstanceMetrics, State, TunnelStatus
from tests.functional.uplinks.rig import Rig
from tests.hosts import DEADLINE, Capture, Topology, wait_until
from tests.hosts.cloud import Cloud

SECRET = "kaleidoscope-of-plums-7"  # found nowhere by chance
SECRETS = "/etc/nsvisor/secrets"
SUBNET = "10.10.10.0/24"  # of all instances here
APP = "10.10.10.80"
PAGE = "http://192.168.0.1/"  # of each cloud
LAN = "192.168.0.0/24"  # behind each cloud
ECHO = "192.168.0.1"
# What must never be seen outside of a tunnel: an app's address, or the address of what it asks, also behind NAT.
CLEAR = f"net {SUBNET} or (host {ECHO} and (tcp or udp or icmp or icmp6) and not udp port 4500)"


def connection(cloud: Cloud) -> dict[str, Any]:
    """Return what an instance's config says of a cloud."""
    proof: dict[str, Any] = {"secret_file": f"{SECRETS}/secret", "local_id": "edge.test"}
    if cloud.certificates:
        files = {"certificate_file": "edge.crt", "key_file": "edge.key", "ca_file": "ca.crt"}
        proof = {field: f"{SECRETS}/{file}" for field, file in files.items()} | {"local_id": "edge.test"}
    return {"remote": cloud.address, "remote_subnets": [LAN], "remote_id": cloud.id, "dpd": "2s", **proof}


def instance(uplinks: list[str], tunnel: Mapping[str, Any]) -> dict[str, Any]:
    """Return an instance with one tunnel and one app."""
    return {
        "type": "vpn", "subnet": SUBNET, "uplinks": uplinks, "vpn": {"connections": {"cloud": tunnel}},
        "apps": {"web": {"address": APP}},
    }  # fmt: skip


class World(Rig):
    """The rig of uplinks, with clouds."""

    def __init__(
        self, topology: Topology, config: Mapping[str, Any], apps: Iterable[str], clouds: Mapping[str, Cloud]
    ) -> None:
        super().__init__(topology, config, apps)
        self.clouds = clouds

    def tunnel(self, instance: str, name: str = "cloud") -> TunnelStatus:
        """Return what the manager says of a tunnel. Raises AssertionError when it says nothing."""
        status: NamespaceStatus = self._read(NamespaceStatus, instance)
        found = next((one for one in status.tunnels if one.name == name), None)
        assert found, f"no tunnel {name} in {status}"
        return found

    def metrics(self, instance: str) -> NetworkInstanceMetrics:
        """Return what the manager counted."""
        found: NetworkInstanceMetrics = self._read(NetworkInstanceMetrics, instance)
        return found

    def _read(self, topic: type[Any], instance: str) -> Any:
        async def read() -> Any:
            run_dir = self.host.path(self.daemon.run_dir)
            async with asyncio.timeout(DEADLINE), pubsub.connect(run_dir, agent="reader") as bus:
                return await bus.table(topic, agent="nsmanager", scope=instance)

        table = asyncio.run(read())
        assert instance in table, f"{instance}: nothing of {topic.__name__}"
        return table[instance]

    def wait_up(self, instance: str) -> TunnelStatus:
        """Return the tunnel of an instance once that is ready."""

        def up() -> TunnelStatus:
            status, tunnel = self.status(instance), self.tunnel(instance)
            assert status.state == State.READY, f"{status.state}: {status.reason}"
            assert tunnel.up, tunnel
            return tunnel

        return wait_until(up, what=f"the tunnel of {instance}")

    def wait_reason(self, instance: str, words: str) -> None:
        """Return once an instance says that it isn't ready, in these words."""

        def said() -> bool:
            status = self.status(instance)
            assert words in status.reason, f"{status.state}: {status.reason}"
            return True

        wait_until(said, what=f"{instance} says {words!r}")

    def charon(self, instance: str) -> int:
        """Return the pid of an instance's charon; 0: none runs."""
        processes = {process.name: process.pid for process in self.status(instance).processes}
        return processes.get("charon", 0)

    def folder(self, instance: str) -> str:
        """Return the instance's folder of volatile files."""
        return f"{self.daemon.run_dir}/instances/{instance}"

    @contextlib.contextmanager
    def watched(self, instance: str, port: int = 4500) -> Iterator[Callable[[], tuple[list[str], list[str]]]]:
        """Capture at each uplink's gateway, and on `up0`. Yields what stops and returns tunnels' packets, and others.

        `port`: of the tunnels.

        Each capture has seen a marked frame at its start and its end.
        """
        with contextlib.ExitStack() as stack:
            expression = f"udp port {port} or ({CLEAR})"
            captures = [stack.enter_context(cable.capture(expression)) for cable in self.cables]
            captures.append(stack.enter_context(Capture(self.host, "up0", expression, netns=instance)))

            def seen() -> tuple[list[str], list[str]]:
                packets = [packet for capture in captures for packet in capture.stop()]
                return [p for p in packets if f".{port}" in p], [p for p in packets if f".{port}" not in p]

            yield seen


def who_encrypts(world: World) -> str:
    """Return whether this kernel has what tunnels are bound to."""
    done = world.host.run(["unshare", "-n", "ip", "link", "add", "x0", "type", "xfrm", "if_id", "7"], check=False)
    return "user space" if done.returncode else "kernel"
