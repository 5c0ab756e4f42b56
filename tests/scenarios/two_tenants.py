"""Two tenants with the same subnet on one host: what is promised about them, as steps that return their proof.

Each step raises AssertionError when its promise doesn't hold. Steps are done in order, on one network.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from tests.hosts import DEADLINE, Capture, Daemon, Stream, Topology, wait_until
from tests.hosts.host import TRAFFIC
from tests.hosts.topology import OUTSIDE

CONFIG = """\
instances:
  red:
    subnet: 10.1.0.0/24
    dns: {domain: red.internal, hosts: {printer: 10.1.0.9}}
    apps:
      web: {address: 10.1.0.80, ports: ["8080:80/tcp"]}
  blue:
    subnet: 10.1.0.0/24        # the same, on purpose
    dns: {domain: blue.internal, hosts: {printer: 10.1.0.7}}
"""
PAGE = "http://www.example.test/"
ECHO = (sys.executable, "-SE", TRAFFIC, "stream", OUTSIDE, "7", "1000")  # 1,000 numbered datagrams a second

# What the host has, as an administrator would look; one is compared with itself after everything is gone.
HOST_STATE = """
ip -br link; ip -br addr; ip rule; ip route show table all; nft list ruleset; ls /run/netns
sysctl -a 2> /dev/null | grep -E '^net.ipv4.(conf|ip_forward)'
"""


class TwoTenants:
    """The network and the daemon of the scenario. A context manager; nothing is left behind."""

    def __init__(self) -> None:
        self.topology = Topology()
        self.host = self.topology.host
        self.daemon = Daemon(self.host)
        self.before = self.host.sh(HOST_STATE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with self.topology:
            self.daemon.__exit__(kind, error, tb)

    def in_tenant(self, tenant: str, *argv: object, check: bool = True) -> str:
        """Run a command as an app of a tenant, address by DHCP; return what it prints."""
        done = self.daemon.cli("run", tenant, "--", *argv, check=check)
        return done.stdout.strip()

    @contextlib.contextmanager
    def app(self, tenant: str, name: str, *argv: object) -> Iterator[subprocess.Popen[str]]:
        """Keep a named app running in a tenant; it has printed its first line when this begins."""
        naming = ["--name", name] if name else []
        command = [self.daemon.command, "run", tenant, *naming, "--", *argv]
        process = self.host.popen(command, env=self.daemon.environment, stdout=subprocess.PIPE)
        assert process.stdout
        try:
            assert process.stdout.readline(), f"{tenant}: the app ended with {process.wait()}"
            yield process
        finally:
            process.terminate()
            process.wait(DEADLINE)

    # --- the steps --------------------------------------------------------------------------------------------------

    def come_up(self) -> str:
        """One YAML file: two tenants with the same subnet are ready."""
        self.daemon.start()
        began = time.monotonic()
        self.daemon.cli("apply", "-f", "-", text=CONFIG, check=True)
        self.daemon.wait_ready("red", "blue")
        took = time.monotonic() - began
        tenants = self.daemon.get()
        assert {tenant["subnet"] for tenant in tenants} == {"10.1.0.0/24"}, tenants
        managers = ", ".join(f"{tenant['name']} has manager {tenant['pid']}" for tenant in tenants)
        return f"ready {took:.1f} s after apply; {managers}"

    def reach_outside(self) -> str:
        """Each tenant fetches a page from outside by name, through its own NAT and DNS."""
        with Capture(self.topology.gateway, "up0", "host 10.1.0.1 or net 10.1.0.0/24") as leaked:
            for tenant in ("red", "blue"):
                assert self.in_tenant(tenant, "curl", "-sSf", "--max-time", "30", PAGE) == "outside to 192.168.0.2"
        assert not leaked.packets, leaked.packets
        return 'both got "outside to 192.168.0.2": the server saw the host, no packet of 10.1.0.0/24 left it'

    def have_own_names(self) -> str:
        """Each tenant has its own dnsmasq: the same name is another address."""
        found = {tenant: self.in_tenant(tenant, "getent", "hosts", "printer").split()[0] for tenant in ("red", "blue")}
        assert found == {"red": "10.1.0.9", "blue": "10.1.0.7"}, found
        return f"printer is {found['red']} in red and {found['blue']} in blue"

    def map_a_port(self) -> str:
        """A port map leads from outside to red's web server."""
        with self.red_web_server():
            page = self.topology.gateway.fetch("http://192.168.0.2:8080/")
            assert page.startswith("red "), page
        return f'the gateway asked 192.168.0.2:8080 and got "{page.strip()}"'

    def stay_apart(self) -> str:
        """Blue can't reach red's web server: not by its address, not by red's end of the link to the host."""
        with self.red_web_server():
            link = self.host.run(["ip", "-n", "red", "-4", "-o", "addr", "show", "up0"]).stdout.split()[3]
            doors = ["10.1.0.80", link.partition("/")[0]]
            assert self.in_tenant("red", "curl", "-sSf", "--max-time", "30", f"http://{doors[0]}/").startswith("red ")
            with Capture(self.host, "br0", "tcp", netns="red") as capture:
                for door in doors:
                    fetch = ["curl", "-sS", "--max-time", "1", f"http://{door}/"]
                    done = self.daemon.cli("run", "blue", "--", *fetch)
                    assert done.returncode in {7, 28}, f"{door}: exit {done.returncode}: {done.stdout}{done.stderr}"
            assert not capture.packets, capture.packets
        return (
            f"{' and '.join(doors)}: refused or timed out, and no packet of it reached red's bridge; red itself gets it"
        )

    def lose_no_packet(self) -> str:
        """A killed manager is back, and its tenant has lost no packet."""
        old = self.daemon.instance("red")
        with self.app("red", "", *ECHO) as process:
            stream = Stream(process)
            began = time.monotonic()
            os.kill(old["pid"], signal.SIGKILL)
            new = wait_until(lambda: self._back(old["pid"]), what="red's manager")
            took = time.monotonic() - began
            counted = stream.stop()
        assert counted["lost"] == 0, counted
        assert counted["received"] > 0, counted
        return (
            f"manager {old['pid']} killed, {new['pid']} ready {took * 1000:.0f} ms later; "
            f"{counted['received']:.0f} of {counted['sent']:.0f} numbered packets came back"
        )

    def _back(self, killed: int) -> dict[str, object] | None:
        status = self.daemon.instance("red")
        return status if status["state"] == "ready" and status["pid"] not in {0, killed} else None

    def lose_no_packet_without_supervisor(self) -> str:
        """A killed supervisor loses nothing either; the next one adopts what runs."""
        managers = {tenant["name"]: tenant["pid"] for tenant in self.daemon.get()}
        with self.app("red", "", *ECHO) as process:
            stream = Stream(process)
            self.daemon.kill()
            self.daemon.start()
            self.daemon.wait_ready("red", "blue")
            counted = stream.stop()
        assert counted["lost"] == 0, counted
        adopted = {tenant["name"]: tenant["pid"] for tenant in self.daemon.get()}
        assert adopted == managers, (managers, adopted)
        return f"managers kept their pids; {counted['received']:.0f} of {counted['sent']:.0f} packets came back"

    def leave_nothing(self) -> str:
        """`nsvisor down` leaves the host as it was."""
        self.daemon.down()
        wait_until(lambda: "v-" not in self.host.sh("ip -br link"), what="the links' end")
        after = self.host.sh(HOST_STATE)
        changed = set(self.before.splitlines()) ^ set(after.splitlines())
        assert not changed, sorted(changed)
        assert not self.host.pids(), f"still running: {self.host.pids()}"
        return "links, addresses, rules, routes, nft, sysctls and namespaces as before; no process left"

    def red_web_server(self) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
        """Keep red's configured app `web` running."""
        return self.app("red", "web", sys.executable, "-SE", TRAFFIC, "page", 80, "red")


STEPS: tuple[Callable[[TwoTenants], str], ...] = (
    TwoTenants.come_up,
    TwoTenants.reach_outside,
    TwoTenants.have_own_names,
    TwoTenants.map_a_port,
    TwoTenants.stay_apart,
    TwoTenants.lose_no_packet,
    TwoTenants.lose_no_packet_without_supervisor,
    TwoTenants.leave_nothing,
)
