"""A gateway that serves a LAN, a host whose eth3 is in it, and apps in namespaces of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self

from tests.hosts import Daemon, Host, connect, wait_until

PREFIX6 = "2001:db8:3::"
# A real server of the LAN's own: addresses by DHCP, a router by RA.
LAN = """
port=0
interface=lan0
bind-dynamic
dhcp-range=192.168.3.100,192.168.3.199,255.255.255.0,1h
dhcp-range={prefix},ra-only,64,1h
enable-ra
dhcp-authoritative
no-ping
user=root
pid-file=/run/lan.pid
dhcp-leasefile=/run/lan.leases
"""


class Rig:
    """A context manager: `host` with eth3, eth4, …, all in the LAN of `gateway` (192.168.3.1, a bridge `lan0`)."""

    def __init__(self, links: int = 1) -> None:
        self.stack = contextlib.ExitStack()
        self.apps: dict[str, Host] = {}
        self.links = [f"eth{3 + number}" for number in range(links)]

    def __enter__(self) -> Self:
        self.host = self.stack.enter_context(Host("host"))
        self.gateway = self.stack.enter_context(Host("gateway"))
        self.gateway.sh(f"""
            ip link add lan0 type bridge; ip link set lan0 up
            ip addr add 192.168.3.1/24 dev lan0; ip addr add {PREFIX6}1/64 dev lan0
            sysctl -qw net.ipv6.conf.all.forwarding=1
        """)
        for ifname in self.links:
            connect(self.host, ifname, self.gateway, f"g-{ifname}")
            self.gateway.sh(f"ip link set g-{ifname} master lan0")
        self.gateway.put_file("/etc/lan.conf", LAN.format(prefix=PREFIX6))
        self.gateway.sh("dnsmasq --conf-file=/etc/lan.conf")
        self.gateway.serve_page("gateway")
        self.daemon = self.stack.enter_context(Daemon(self.host))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stack.__exit__(kind, error, tb)

    def app(self, name: str) -> Host:
        """Return a host of an app's own; nsvisord's host knows its namespace by that name."""
        made = self.apps[name] = self.stack.enter_context(Host(name))
        self.host.sh(f"ip netns attach {name} {made.pid}")
        return made

    def host_of(self, name: str) -> Host:
        """Return the host of an app that was made before."""
        return self.apps[name]

    def wait_rules(self, app: str, *names: str) -> None:
        """Wait until exactly these rules of an app are in force."""

        def in_force() -> bool:
            found = [rule["name"] for rule in self.status(app)["rules"] if rule["name"] not in ("default", "spoofed")]
            assert tuple(found) == names, self.status(app)
            assert self.daemon.instance("sw")["state"] == "ready"
            return True

        wait_until(in_force, what=f"the rules of {app}")

    def configure(self, apps: Mapping[str, Any], uplinks: list[str] | None = None, **fields: Any) -> None:
        """Have one switch, `sw`."""
        known = {name: {"attach": {"netns": name, "configure": False}} | config for name, config in apps.items()}
        sw = {"type": "switch", "uplinks": self.links if uplinks is None else uplinks, "apps": known, **fields}
        self.daemon.configure({"instances": {"sw": sw}})

    def status(self, app: str) -> dict[str, Any]:
        """Return the status of an app; empty while there is none."""
        return next((one for one in self.daemon.get("apps") if one["app"] == app), {})

    def wait_attached(self, *apps: str) -> None:
        """Wait until these apps have their ports."""
        for app in apps:
            wait_until(partial(self._is_attached, app), what=f"{app} is attached")

    def _is_attached(self, app: str) -> bool:
        status = self.status(app)
        assert status.get("attached"), status
        return True
