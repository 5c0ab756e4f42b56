"""The edge node: three instances on two uplinks, overlapping on purpose, as steps that return their proof.

```
app1 ─┬─ ni1 ──┐
      └─ ni2 ──┤ eth0 192.168.0.2/24 ─┐
app2 ─── ni2   │                      ├── gateway, .1 on each ── outside
app3 ─── ni3 ──┘ eth1 192.168.1.2/24 ─┘
```

ni1 and ni3 have the same subnet, ni2 has that of eth1. Each step raises AssertionError when its promise doesn't hold.
Steps are done in order, on one network.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from tests.hosts import Capture, Daemon, Stream, Topology, wait_until
from tests.hosts.host import DHCP_SCRIPT, TRAFFIC
from tests.hosts.topology import OUTSIDE

CONFIG = """\
uplinks:
  eth0: {next_hop: {interval: 500ms, timeout: 500ms}}
  eth1: {cost: 10, next_hop: {interval: 500ms, timeout: 500ms}}
instances:
  ni1:
    subnet: 10.10.1.0/24
    uplinks: [eth0, eth1]      # eth1 when eth0 fails
    apps:
      app1: {address: 10.10.1.11, mac: "02:00:00:00:01:01"}
  ni2:
    subnet: 192.168.1.0/24     # that of eth1, on purpose
    uplinks: [eth0]
    apps:
      app1: {address: 192.168.1.11, mac: "02:00:00:00:01:02"}
      app2: {address: 192.168.1.12, mac: "02:00:00:00:02:02", ports: ["8080:80/tcp"]}
  ni3:
    subnet: 10.10.1.0/24       # the same as ni1, on purpose
    uplinks: [eth1]
    apps:
      app3: {address: 10.10.1.13, mac: "02:00:00:00:03:03"}
"""
# (app, its link, instance, the link's MAC, the address that it must get)
LINKS = (
    ("app1", "eth0", "ni1", "02:00:00:00:01:01", "10.10.1.11"),
    ("app1", "eth1", "ni2", "02:00:00:00:01:02", "192.168.1.11"),
    ("app2", "eth0", "ni2", "02:00:00:00:02:02", "192.168.1.12"),
    ("app3", "eth0", "ni3", "02:00:00:00:03:03", "10.10.1.13"),
)
TALK = (sys.executable, "-SE", TRAFFIC)
INSTANCES = ("ni1", "ni2", "ni3")
APPS = ("app1", "app2", "app3")
PORT_MAP = "http://192.168.0.2:8080/"  # of app2
WEB = "tcp port 8080 or tcp port 80"
SHORT = 1  # seconds until an answer that must not come counts as absent
UNREACHED = (7, 28)  # curl: refused or unreachable, no answer
NOTHING: dict[str, list[str]] = {"eth0": [], "eth1": []}

# What the host has, as an administrator would look; one is compared with itself after everything is gone.
HOST_STATE = """
ip -br link; ip -br addr; ip rule; ip -6 rule; ip route show table all; ip -6 route show table all; nft list ruleset
ls /run/netns; sysctl -a 2> /dev/null | grep -E '^net.ipv[46].(conf|ip_forward)'
"""


class EdgeNode:
    """The network and the daemon of the scenario. A context manager; nothing is left behind."""

    def __init__(self) -> None:
        self.topology = Topology(2)
        self.host = self.topology.host
        self.daemon = Daemon(self.host)
        self.before = self._state()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with self.topology:
            self.daemon.__exit__(kind, error, tb)

    def _state(self) -> set[str]:
        return set(self.host.sh(HOST_STATE).splitlines())

    def fetch(self, app: str, url: str) -> str:
        """Return the page that an app gets. Raises AssertionError with curl's words when it gets none."""
        return self.host.fetch(url, netns=app).strip()

    def reaches(self, app: str, url: str) -> bool:
        """Tell whether an app gets any answer."""
        argv = ["curl", "-s", "-o", "/dev/null", "--max-time", str(SHORT), url]
        return self.host.run(argv, netns=app, check=False).returncode not in UNREACHED

    def on_the_wire(self, action: Callable[[], object], expression: str = WEB) -> dict[str, list[str]]:
        """Return what passes the cables while something is done; each capture has seen an echo of the host's."""
        cables = self.topology.uplinks
        with contextlib.ExitStack() as stack:
            captures = {c.ifname: stack.enter_context(c.capture(f"({expression}) or icmp")) for c in cables}
            for cable in cables:
                self.host.sh(f"ping -q -c 1 -w 60 -I {cable.ifname} {cable.router}")
            action()
        assert all(any("ICMP echo reply" in packet for packet in one.packets) for one in captures.values())
        return {name: [line for line in one.packets if "ICMP" not in line] for name, one in captures.items()}

    # --- the steps --------------------------------------------------------------------------------------------------

    def come_up(self) -> str:
        """Three instances on two uplinks are ready, though their subnets overlap."""
        self.daemon.start()
        self.daemon.cli("apply", "-f", "-", text=CONFIG, check=True)
        self.daemon.wait_ready("ni1", "ni2", "ni3")
        found = {one["name"]: (one["subnet"], one["uplink"]) for one in self.daemon.get()}
        assert found == {
            "ni1": ("10.10.1.0/24", "eth0"), "ni2": ("192.168.1.0/24", "eth0"), "ni3": ("10.10.1.0/24", "eth1"),
        }, found  # fmt: skip
        return "ni1 and ni3 are 10.10.1.0/24, ni2 is 192.168.1.0/24, which is eth1's own network"

    def get_addresses(self) -> str:
        """Every app asks for an address by DHCP on each of its links."""
        for app in APPS:
            self.host.sh(f"ip netns add {app}; ip -n {app} link set lo up")
        for app, ifname, instance, mac, address in LINKS:
            port = f"p-{app}"
            self.host.sh(
                f"ip -n {app} link add {ifname} address {mac} type veth peer name {port} netns {instance}; "
                f"ip -n {instance} link set {port} master br0 up; ip -n {app} link set {ifname} up"
            )
            # The second link's router is not the default one: a script that sets no route.
            script = DHCP_SCRIPT if ifname == "eth0" else "/bin/true"
            client = ["busybox", "udhcpc", "-i", ifname, "-n", "-q", "-t", "60", "-T", "1", "-s", script]
            said = self.host.run(client, netns=app)
            assert f"lease of {address} obtained" in said.stdout + said.stderr, said
            if ifname != "eth0":
                self.host.sh(f"ip -n {app} addr add {address}/24 dev {ifname}")
        for app in APPS:
            self.host.start([*TALK, "page", 80, app], netns=app)
        return ", ".join(f"{app} {address} in {instance}" for app, _, instance, _, address in LINKS)

    def hairpin_on_one_uplink(self) -> str:
        """app1 reaches app2's port map through ni1, on the same uplink, and nothing of it is on the wire."""
        pages = []
        seen = self.on_the_wire(lambda: pages.append(self.fetch("app1", PORT_MAP)))
        assert pages[0].startswith("app2 to"), pages
        assert seen == NOTHING, seen
        return f'"{pages[0]}", no packet at the gateway'

    def reach_outside(self) -> str:
        """app3 reaches the world outside."""
        page = self.fetch("app3", f"http://{OUTSIDE}/")
        assert page == "outside to 192.168.1.2", page
        return f'"{page}"'

    def hairpin_over_two_uplinks(self) -> str:
        """app3 reaches app2's port map out by eth1 and in by eth0; its source collides with ni2's subnet."""
        pages = []
        seen = self.on_the_wire(lambda: pages.append(self.fetch("app3", PORT_MAP)))
        assert pages[0].startswith("app2 to"), pages
        for ifname, packets in seen.items():
            assert any("192.168.1.2." in line and "> 192.168.0.2.8080" in line for line in packets), (ifname, packets)
        return f"\"{pages[0]}\"; {len(seen['eth1'])} packets at eth1's gateway, {len(seen['eth0'])} at eth0's"

    def have_own_neighbours(self) -> str:
        """app3 asks for app2's address directly: app2 is never reached, a host of eth1's real LAN is."""
        with Capture(self.host, "br0", "tcp port 80", netns="ni2") as silent:
            assert not self.reaches("app3", "http://192.168.1.12/")
            gateway = self.topology.gateway
            gateway.sh("ip addr add 192.168.1.12/24 dev up1")
            neighbour = gateway.serve_page("a neighbour")
            page = self.fetch("app3", "http://192.168.1.12/")
            neighbour.kill()
            gateway.sh("ip addr del 192.168.1.12/24 dev up1")
        assert page == "a neighbour to 192.168.1.2", page
        assert not silent.packets, silent.packets
        return f'first no answer, then "{page}"; nothing on ni2\'s bridge'

    def be_reached_from_outside(self) -> str:
        """The gateway gets app2's page, by the port map."""
        page = self.topology.gateway.fetch(PORT_MAP).strip()
        assert page.startswith("app2 to"), page
        return f'"{page}"'

    def be_reached_from_the_host(self) -> str:
        """The host gets app2's page by the port map, and app1's by `nsvisor exec`."""
        mapped = self.host.fetch(PORT_MAP).strip()
        inside = self.daemon.cli("exec", "ni1", "--", "curl", "-sSf", "http://10.10.1.11/", check=True).stdout.strip()
        assert mapped.startswith("app2 to"), mapped
        assert inside.startswith("app1 to"), inside
        return f'"{mapped}", "{inside}"'

    def stay_apart(self) -> str:
        """No app reaches an app of another instance by its address."""
        tries = [(app, end) for _, _, where, _, end in LINKS for app in APPS if app not in members(where)]
        with contextlib.ExitStack() as stack:
            captures = [
                stack.enter_context(Capture(self.host, "br0", f"tcp port 80 and ({ends})", netns=instance))
                for instance in INSTANCES
                for ends in [" or ".join(f"dst host {end}" for _, _, where, _, end in LINKS if where == instance)]
            ]
            assert self.fetch("app1", "http://192.168.1.12/").startswith("app2 to")  # who shares an instance does
            asked = {
                (app, end): self.host.popen(
                    ["curl", "-s", "-o", "/dev/null", "--max-time", SHORT, f"http://{end}/"], netns=app
                )
                for app, end in tries
            }
            reached = {where for where, curl in asked.items() if curl.wait() not in UNREACHED}
            assert not reached, reached
        strange = [line for one in captures for line in one.packets if "192.168.1.11." not in line]
        assert not strange, strange
        return f"{len(tries)} tries: no answer, and no packet on any bridge"

    def fail_over(self) -> str:
        """eth0 goes down: ni1 moves to eth1 with its new connections; ni3 sees nothing of it."""
        flow = Stream(self.host.start([*TALK, "stream", OUTSIDE, "7", "1000"], netns="app3"))
        self.host.sh("ip link set eth0 down")
        wait_until(lambda: self.daemon.instance("ni1")["uplink"] == "eth1", what="ni1 on eth1")
        pages = []

        def ask() -> None:
            pages.append(wait_until(lambda: self.fetch("app1", f"http://{OUTSIDE}/"), what="app1's page"))

        with self.topology.uplinks[1].capture("tcp port 80") as capture:
            ask()
        assert pages == ["outside to 192.168.1.2"], pages
        assert capture.packets
        self.host.sh("ip link set eth0 up; ip route add default via 192.168.0.1 dev eth0")
        wait_until(lambda: self.daemon.instance("ni1")["uplink"] == "eth0", what="ni1 on eth0 again")
        counted = flow.stop()
        assert counted["lost"] == 0, counted
        return f'"{pages[0]}", and back; of app3\'s {counted["sent"]} packets none was lost'

    def leave_nothing(self) -> str:
        """Everything deleted: the host as it was before."""
        for app in APPS:
            self.host.sh(f"ip netns pids {app} | xargs -r kill; ip netns del {app}")
        self.daemon.cli("delete", "instance", "ni1", "ni2", "ni3", check=True)
        self.daemon.down()
        wait_until(lambda: "v-" not in self.host.sh("ip -br link"), what="the links' end")
        wait_until(lambda: not differences(self.before, self._state()), what="the host as it was")
        return "links, addresses, rules, routes, nft, sysctls and namespaces as before"


def members(instance: str) -> set[str]:
    """Return the apps of an instance."""
    return {app for app, _, where, _, _ in LINKS if where == instance}


def differences(before: Iterable[str], after: Iterable[str]) -> set[str]:
    """Return what is told on one side only. Raises AssertionError with it, for a message."""
    changed = set(before) ^ set(after)
    assert not changed, sorted(changed)
    return changed


DRAWN_AFTER = EdgeNode.get_addresses
STEPS: tuple[Callable[[EdgeNode], str], ...] = (
    EdgeNode.come_up,
    EdgeNode.get_addresses,
    EdgeNode.hairpin_on_one_uplink,
    EdgeNode.reach_outside,
    EdgeNode.hairpin_over_two_uplinks,
    EdgeNode.have_own_neighbours,
    EdgeNode.be_reached_from_outside,
    EdgeNode.be_reached_from_the_host,
    EdgeNode.stay_apart,
    EdgeNode.fail_over,
    EdgeNode.leave_nothing,
)
