"""One nsvisord, instances each of which floods one thing, and one that must not notice."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.hosts import DEADLINE, wait_until
from tests.hosts.topology import NAME, OUTSIDE
from tests.invariants.rig import Rig

FLOOD = Path(__file__).with_name("flood.py")
PORT = 9010  # outside, where each connection gets its number back
TRIES = 100  # new connections, and questions, of the instance that must not notice
ENDLESS = 1 << 40
MANY = 10_000  # neighbours that an instance looks for
QUIET = "quiet"  # that instance
CONNECTIONS, NEIGHBOURS, LEASES, QUERIES = 512, 64, 20, 200  # limits of those that flood
NOWHERE = "198.51.100.77"  # an address outside that is nobody's
LIMITS = {"connections": CONNECTIONS, "neighbours": NEIGHBOURS, "leases": LEASES, "queries": QUERIES}
# What floods, and who is inside it; each has another subnet.
FLOODING = ("tcp", "udp", "taken", "held", "near", "dhcp", "dns", "near6")


def instances() -> dict[str, Any]:
    """Return the configuration."""
    found: dict[str, Any] = {
        name: {"subnet": f"10.{number}.0.0/16", "limits": LIMITS, "apps": {"app": {}}}
        for number, name in enumerate(FLOODING, 1)
    }
    for name in ("near", "near6"):
        found[name]["limits"] = {**LIMITS, "connections": 4 * MANY}
    found["dhcp"]["apps"]["lan"] = {"attach": {"link": "x0"}}
    found["dns"]["dns"] = {"servers": [NOWHERE], "hosts": {"printer": "10.7.0.9"}}
    return found | {QUIET: {"subnet": "10.9.0.0/24"}}


class FloodRig(Rig):
    """A context manager."""

    def __init__(self) -> None:
        super().__init__(instances(), ipv6=True, start=False)
        self.lan = self.topology.add_host("lan")
        self.host.sh("ip link add x0 type veth peer x1; ip link set x0 up")
        self.host.sh(f"ip link set x1 name eth0 netns {self.lan.pid}")
        self.lan.sh("ip link set eth0 up")
        self._stack.enter_context(self.topology)
        self._stack.enter_context(self.daemon)
        self.wait_ready(*self._expected)
        self.topology.outside.start([sys.executable, "-SE", FLOOD, "answer", PORT])
        self.quiet = self._stack.enter_context(self.app(QUIET, "app"))

    def inside(self, app: int, script: str) -> str:
        """Run a script in the network namespace of an app."""
        return self.host.run(["nsenter", f"--net=/proc/{app}/ns/net", "sh", "-euc", script]).stdout

    def address(self, app: int, version: int = 4) -> str:
        """Return an app's address."""
        script = f"ip -{version} -o addr show dev eth0 scope global | awk '{{print $4}}' | head -1"
        return wait_until(lambda: self.inside(app, script).partition("/")[0], what="the app's address")

    def router(self, name: str) -> str:
        """Return the MAC address of an instance's bridge."""
        return self.host.sh("cat /sys/class/net/br0/address", netns=name).strip()

    def _argv(self, app: int, words: tuple[object, ...]) -> list[object]:
        return ["nsenter", f"--net=/proc/{app}/ns/net", sys.executable, "-SE", FLOOD, *words]

    def run(self, app: int, *words: object) -> int:
        """Run flood.py to its end; return the number that it printed."""
        return int(self.host.run(self._argv(app, words)).stdout.split()[-1])

    @contextlib.contextmanager
    def flooding(self, app: int, *words: object) -> Iterator[list[int]]:
        """Run flood.py meanwhile; then the list holds how much it sent."""
        sent: list[int] = []
        process: subprocess.Popen[str] = self.host.start(self._argv(app, words))
        try:
            yield sent
        finally:
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=DEADLINE)
            sent.append(int(output.split()[-1]))

    def assert_quiet(self) -> None:
        """See that the other instance opens connections and asks for names as ever."""
        assert self.run(self.quiet, "connect", OUTSIDE, PORT, TRIES) == TRIES
        assert self.run(self.quiet, "resolve", "10.9.0.1", NAME, TRIES) == TRIES

    def tracked(self, name: str) -> int:
        """Return how many connections of an instance the host tracks."""
        own = self.host.sh("ip -4 -o addr show dev up0 | awk '{print $4}'", netns=name).partition("/")[0]
        return int(self.host.sh(f"conntrack -L -s {own} 2> /dev/null | wc -l"))

    def tracked_inside(self, name: str) -> int:
        """Return how many connections are tracked in the namespace of an instance."""
        return int(self.host.sh("cat /proc/sys/net/netfilter/nf_conntrack_count", netns=name))

    def counters(self, name: str) -> dict[str, int]:
        """Return the packets of each counter inside an instance."""
        listed = json.loads(self.host.sh("nft -j list counters", netns=name))["nftables"]  # inet's and bridge's
        return {item["counter"]["name"]: item["counter"]["packets"] for item in listed if "counter" in item}

    def refused_on_host(self, which: str) -> dict[str, int]:
        """Return what the host refused, by link."""
        listed = json.loads(self.host.sh(f"nft -j list set inet nsvisor refused-{which}"))["nftables"]
        elements = next(item["set"] for item in listed if "set" in item).get("elem", [])
        return {one["elem"]["val"]: one["elem"]["counter"]["packets"] for one in elements}

    def leases(self, name: str) -> list[str]:
        """Return the leases in an instance's lease file."""
        lines = self.host.read_file(self.daemon.state_dir / "instances" / name / "leases").splitlines()
        return [line for line in lines if line.split()[0].isdecimal()]
