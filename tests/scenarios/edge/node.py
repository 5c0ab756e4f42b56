"""The edge node and the network around it; what its steps have in common.

```
app1 ─┬─ ni1 local ──┐
      └─ ni2 local ──┤ eth0 192.168.0.2/24 ─┐
app2 ─── ni2         │                      │
app3 ─── ni3 local ──┤ eth1 192.168.1.2/24 ─┤── gateway .1 on each ─┬─ cloud1 192.168.111.1, LAN 192.168.0.0/24
app4 ─── ni4 vpn ────┤ (eth1)               │   (DHCP on eth3's)    ├─ cloud2 192.168.222.1, LAN 192.168.0.0/24
app5 ─── ni5 vpn ────┤ eth2 192.168.2.2/24 ─┤                       └─ outside: www.github.test, www.other.test
app6 ─── ni6 switch ─┘ eth3 (in ni6) ───────┘
```
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from tests.hosts import Cable, Capture, Daemon, Topology
from tests.hosts.cloud import Cloud
from tests.hosts.host import TRAFFIC
from tests.scenarios.edge.config import APPS, SECRET_FOLDER, SECRETS, Link

GITHUB, OTHER = "www.github.test", "www.other.test"
NAMES = {GITHUB: 11, OTHER: 12}  # names outside, with the last number of their addresses
NAME_TTL = 3600  # seconds: who asked once may use the address until the end, however slow the machine is
PORT_MAP = "http://192.168.0.2:8080/"  # of app2
WEB = "tcp port 8080 or tcp port 80"
TALK = (sys.executable, "-SE", TRAFFIC)
SHORT = 1  # seconds until an answer that must not come counts as absent
UNREACHED = (7, 28)  # curl: refused or unreachable, no answer

# What the host has, as an administrator would look; it is compared with itself after everything is gone.
# A route by RA tells how long it lives. br_netfilter, a module that any host's daemon may load, is not unloaded again.
HOST_STATE = r"""
ip -br link; ip addr | grep -vE 'valid_lft|<'; ip rule; ip -6 rule
ip route show table all | sed -E 's/ expires [0-9]+sec//'; ip -6 route show table all | sed -E 's/ expires [0-9]+sec//'
nft list ruleset; ls /run/netns
sysctl -a 2> /dev/null | grep -E '^net[.]' | grep -vE 'conntrack_count|^net[.]bridge[.]'
find /run/nsvisor /etc/nsvisor ! -name supervisor.lock \( -type f -o -type s \) | sed 's/^/file /'
"""


class EdgeNode:
    """The network and the daemon of the scenario. A context manager; nothing is left behind."""

    def __init__(self) -> None:
        self.topology = Topology(3, ipv6=True, names=NAMES, name_ttl=NAME_TTL)
        self.host, self.gateway = self.topology.host, self.topology.gateway
        try:
            self.cables: list[Cable] = [*self.topology.uplinks, self.topology.add_served_uplink()]
            self.gateway.serve_page("gateway")  # whatever leaks to 192.168.0.1 is answered
            self.clouds = [
                self.topology.add(Cloud(self.gateway, name, address, psk=SECRETS[name]))
                for name, address in (("cloud1", "192.168.111.1"), ("cloud2", "192.168.222.1"))
            ]
            for name, secret in SECRETS.items():
                self.host.put_file(f"{SECRET_FOLDER}/{name}", secret + "\n", mode=0o600)
            for app in APPS:
                self.host.sh(f"ip netns add {app}; ip -n {app} link set lo up")
                self.host.put_file(f"/etc/netns/{app}/resolv.conf", "")
            self.app_processes: list[subprocess.Popen[str]] = []  # web servers
            self.daemon = Daemon(self.host)
            self.before = self.state()
        except BaseException:
            self.topology.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with self.topology:
            self.daemon.__exit__(kind, error, tb)

    def state(self) -> set[str]:
        """Return what the host has, a line each."""
        return set(self.host.sh(HOST_STATE).splitlines())

    def fetch(self, app: str, url: str, *options: object) -> str:
        """Return the page that an app gets. Raises AssertionError with curl's words when it gets none."""
        argv = ["curl", "-sSf", "--max-time", "60", *options, url]
        return self.host.run(argv, netns=app).stdout.strip()

    def fetch_by(self, resolver: str, app: str, url: str, *options: object) -> str:
        """Return the page that an app gets when it asks that resolver for the name."""
        file = self.host.put_file(f"/run/resolver-{resolver}", f"nameserver {resolver}\n")
        argv = ["curl", "-sSf", "--max-time", "60", *options, url]
        bound = ["sh", "-euc", f'mount --bind {file} /etc/resolv.conf; exec "$@"', "sh", *argv]
        return self.host.run(bound, netns=app).stdout.strip()

    def reaches(self, app: str, url: str, *options: object) -> bool:
        """Tell whether an app gets any answer."""
        argv = ["curl", "-s", "-o", "/dev/null", "--max-time", SHORT, *options, url]
        return self.host.run(argv, netns=app, check=False).returncode not in UNREACHED

    def on_the_wire(self, action: Callable[[], object], expression: str = WEB) -> dict[str, list[str]]:
        """Return what passes eth0 to eth2 while something is done; each capture has seen an echo of the host's."""
        cables = self.cables[:3]
        with contextlib.ExitStack() as stack:
            captures = {c.ifname: stack.enter_context(c.capture(f"({expression}) or icmp")) for c in cables}
            for cable in cables:
                self.host.sh(f"ping -q -c 1 -w 60 -I {cable.ifname} {cable.router}")
            action()
        assert all(any("ICMP echo reply" in packet for packet in one.packets) for one in captures.values())
        return {name: [line for line in one.packets if "ICMP" not in line] for name, one in captures.items()}

    def capture_link(self, link: Link, expression: str) -> Capture:
        """Return a capture of what passes an app's link, at the app's end."""
        return Capture(self.host, link.ifname, expression, netns=link.app)

    @contextlib.contextmanager
    def following(self, *args: object) -> Iterator[Callable[[], list[str]]]:
        """Keep a `nsvisor` command running; yields what returns the lines that it has printed."""
        output = self.host.path("/run/followed")
        with output.open("w") as file:
            process = self.host.popen([self.daemon.command, *args], env=self.daemon.environment, stdout=file)
        try:
            yield lambda: output.read_text().splitlines()
        finally:
            process.terminate()
            process.wait()

    def app_status(self, name: str) -> dict[str, Any]:
        """Return the status of an app, INSTANCE/APP, as `describe` prints it."""
        found: dict[str, Any] = json.loads(self.daemon.cli("describe", "app", name, "-o", "json", check=True).stdout)
        return found

    def rule(self, app: str, name: str) -> dict[str, Any]:
        """Return what is told of a rule of an app. Raises AssertionError when it has none of that name."""
        rules = [rule for rule in self.app_status(app)["rules"] if rule["name"] == name]
        assert rules, self.app_status(app)
        return dict(rules[0])

    def tunnel(self, instance: str) -> dict[str, Any]:
        """Return what is told of the tunnel of a VPN instance. Raises AssertionError when nothing is."""
        words = self.daemon.cli("describe", "instance", instance, "-o", "json", check=True).stdout
        tunnels = json.loads(words)["tunnels"]
        assert tunnels, words
        return dict(tunnels[0])

    def address(self, app: str, ifname: str = "eth0") -> str:
        """Return the IPv4 address that an app has on a link; empty: none."""
        words = self.host.sh(f"ip -br -4 addr show dev {ifname}", netns=app).split()
        return words[2].partition("/")[0] if len(words) > 2 else ""

    def address6(self, app: str, ifname: str = "eth0") -> str:
        """Return the global IPv6 address that an app has on a link; empty: none."""
        words = self.host.sh(f"ip -br -6 addr show dev {ifname} scope global", netns=app).split()
        return words[2].partition("/")[0] if len(words) > 2 else ""


def nothing(seen: dict[str, list[str]]) -> bool:
    """Tell whether no packet was seen on any uplink."""
    return not any(seen.values())


def differences(before: Iterable[str], after: Iterable[str]) -> set[str]:
    """Return what is told on one side only. Raises AssertionError with it, for a message."""
    changed = set(before) ^ set(after)
    assert not changed, sorted(changed)
    return changed


def shown(pages: Iterable[str]) -> str:
    """Return pages in quotes, for a proof."""
    return ", ".join(f'"{page}"' for page in pages)
