"""Measures the packets' way: its cost with many instances, beside a rule per instance; and against one NAT by hand.

Everything runs in throwaway hosts with a gateway each. All that is compared is measured in turns, in the same minute.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from rich.console import Console
from rich.table import Table

from nsmanager.marks import LINK_GROUP, NFT_TABLE
from supervisor.facts import Uplink
from supervisor.firewall import Bound, host_table, own_chains
from supervisor.names import TABLE_LINKS
from supervisor.uplinks.tables import uplink_way
from tests.bench.instances import python_loop
from tests.functional.uplinks.rig import Rig
from tests.hosts import Host, Topology
from tests.hosts.host import ROOT
from tests.hosts.topology import OUTSIDE

COUNTS = (1, 64, 256, 1000)
ROUNDS = 9  # of each measurement; the least disturbed of them counts: nothing makes a path faster than it is
SECONDS = 0.5  # of packets in each round
ECHOES = 4000  # round trips in each round
LINE = "tbf rate 1gbit burst 256kb latency 20ms"  # a line that is slower than the machine, as real ones are
TCP_ROUNDS, TCP_SECONDS = 5, 3
OURS, STEERED = "behind nsvisor", "the same, packet_steering"
LOAD = (sys.executable, "-SE", ROOT / "tests/bench/load.py")
SINK_PORT = 9  # discard; dropped at the gateway's door
RULES_FIRST = 1000  # preference of the first rule per instance
RULES_TABLE = 1  # where they lead
OTHERS, OTHERS6 = IPv4Address("100.127.200.0"), IPv6Address("fd6e:7376:6973::c800")  # links nobody else has here
NO_RULES = "while ip rule | grep -q .; do ip rule flush; ip rule del pref 0 2> /dev/null || true; done"
MASQUERADE = "table ip nat { chain post { type nat hook postrouting priority 100; oifname eth0 masquerade; }; }\n"
EXPLANATION = f"""\
maps: nsvisord's own tables and rules as they stand, one instance of it real, the others its elements, links and routes
  without anybody in them; rules: one `ip rule iif` per instance and one masquerade, no other check; the measured
  instance's rule stands in the middle
packets/s: datagrams of 18 bytes from an app, counted at the gateway; round trip: an echo from the app to `outside`;
  the least disturbed of {ROUNDS} rounds, in turns; ratios: to the same design with one instance
by hand: one namespace, one veth, one masquerade on the host; second hop: as behind nsvisor, but a plain masquerade each
  in the instance and on the host, no check at all; behind nsvisor: app, bridge, NAT of the instance, veth, NAT of the
  host; packet_steering: as set, another processor may go on at the host's end of the link;
  TCP: iperf3, one stream, {TCP_SECONDS} s, bound by this machine's CPUs and by a line of 1 Gbit/s"""


@dataclasses.dataclass
class Path:
    """One way from an app to the outside, prepared and waiting."""

    name: str
    topology: Topology
    inside: Callable[..., list[object]]  # gives the command that runs another one in the app's namespace
    use: Callable[[], object]  # makes this the way; two designs share a host

    def packets(self) -> float:
        """Return the packets a second that reach the gateway."""
        counter = "/sys/class/net/up0/statistics/rx_packets"
        gateway = self.topology.gateway
        before = int(gateway.read_file(counter))
        self.topology.host.run(self.inside(*LOAD, "flood", OUTSIDE, SINK_PORT, SECONDS))
        return (int(gateway.read_file(counter)) - before) / SECONDS

    def round_trips(self) -> tuple[float, float]:
        """Return the 50th and 99th percentile, in microseconds."""
        done = self.topology.host.run(self.inside(*LOAD, "rtt", OUTSIDE, ECHOES))
        half, most = json.loads(done.stdout)
        return half, most

    def throughput(self) -> float:
        """Return the Gbit/s of one TCP stream."""
        argv = ["iperf3", "-c", OUTSIDE, "-t", TCP_SECONDS, "-J"]
        done = self.topology.host.run(self.inside(*argv))
        return float(json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"]) / 1e9


@contextlib.contextmanager
def behind_nsvisor(count: int, *, steered: bool = False) -> Iterator[tuple[Path, Path, Path]]:
    """Give the ways of one app with so many instances configured: by maps, by rules, and by two plain NATs."""
    config = {
        "settings": {"packet_steering": steered},
        "uplinks": {"eth0": {"next_hop": {"method": "none"}}},
        "instances": {"red": {}},
    }
    with Rig(Topology(), config, ["red/web"]) as rig:
        os.kill(rig.status("red").pid, signal.SIGSTOP)  # they would repair what we do; packets don't need them
        rig.daemon.kill()
        serve(rig.topology)
        host = rig.host
        add_others(host, count - 1)
        host.sh("nft -s list table inet nsvisor > /run/maps.nft; ip rule save > /run/maps.rules")
        host.sh("nft -s list table inet nsvisor > /run/red.nft", netns="red")
        host.put_file("/run/plain.nft", MASQUERADE.replace("eth0", "up0"))
        host.put_file("/run/rules.nft", MASQUERADE)
        host.put_file("/run/rules.batch", "\n".join(rules_per_instance(count)) + "\n")

        def by_maps() -> None:
            host.sh(f"nft flush ruleset; nft -f /run/maps.nft; {NO_RULES}; ip rule restore < /run/maps.rules")

        def by_rules() -> None:
            host.sh(f"nft flush ruleset; nft -f /run/rules.nft; {NO_RULES}; ip -batch /run/rules.batch")

        def inside(*argv: object) -> list[object]:
            return rig.inside("red/web", *argv)

        def use(outer: Callable[[], None], inner: str) -> Callable[[], None]:
            def change() -> None:
                outer()
                host.sh(f"nft flush ruleset; nft -f /run/{inner}.nft", netns="red")

            return change

        ways = {"maps": use(by_maps, "red"), "rules": use(by_rules, "red"), "second hop": use(by_rules, "plain")}
        maps, rules, hop = (Path(name, rig.topology, inside, way) for name, way in ways.items())
        yield maps, rules, hop


def serve(topology: Topology) -> None:
    """Prepare both far ends: datagrams end at the gateway's door, TCP at `outside`."""
    topology.gateway.sh(
        "nft add table netdev door; nft 'add chain netdev door arriving "
        "{ type filter hook ingress device up0 priority 0; }'; "
        f"nft add rule netdev door arriving udp dport {SINK_PORT} drop"
    )
    topology.outside.run(["iperf3", "-s", "-D"])


def add_others(host: Host, count: int) -> None:
    """Give the host's table and kernel what nsvisord gives them for so many more instances on eth0."""
    if not count:
        return
    ifindex = int(host.sh("cat /sys/class/net/eth0/ifindex"))
    eth0 = Uplink("eth0", ifindex, up=True)
    others = [
        Bound(
            f"v-t{number}", OTHERS + 2 * number, OTHERS + 2 * number + 1, IPv4Network("10.1.0.0/24"), eth0,
            inner_end6=OTHERS6 + 2 * number + 1, subnet6=IPv6Network("fd00:1::/64"),
        )
        for number in range(count)
    ]  # fmt: skip
    table = host_table(others, [eth0], [uplink_way(eth0)], guard6=True)
    chains = "\n".join(line for one in others for line in own_chains(one))
    text = f"table inet {NFT_TABLE} {{\n{chains}\n}}\n"
    for name, elements in table.elements:
        text += f"add element inet {NFT_TABLE} {name} {{ {', '.join(elements)} }}\n" if elements else ""
    host.run(["nft", "-f", "-"], text=text)
    host.sh("ip netns add others")
    commands = [
        command
        for number, one in enumerate(others)
        for command in (
            f"link add {one.link} up group {LINK_GROUP} type veth peer name u{number} netns others",
            f"addr add {one.host_end}/31 dev {one.link}",
            f"route add {one.inner_end}/32 dev {one.link} table {TABLE_LINKS}",
        )
    ]
    host.run(["ip", "-batch", "-"], text="\n".join(commands) + "\n")


def rules_per_instance(count: int) -> list[str]:
    """Return ip(8)'s commands of the other design."""
    names = [f"v-t{number}" for number in range(count - 1)]
    names.insert(len(names) // 2, "v-red")
    return [
        "rule add pref 100 lookup local",
        "rule add pref 32766 lookup main",
        f"rule add pref 5 to 100.127.0.0/16 lookup {TABLE_LINKS}",  # answers pass none of the others
        f"route replace default via 192.168.0.1 dev eth0 table {RULES_TABLE}",
        *(f"rule add pref {RULES_FIRST + place} iif {name} lookup {RULES_TABLE}" for place, name in enumerate(names)),
    ]


@contextlib.contextmanager
def by_hand() -> Iterator[Path]:
    """Give the way of one namespace behind one NAT, as one would build it by hand."""
    with Topology() as topology:
        serve(topology)
        host = topology.host
        host.put_file("/run/rules.nft", MASQUERADE)
        host.sh(
            "sysctl -qw net.ipv4.ip_forward=1; nft -f /run/rules.nft; ip netns add hand; "
            "ip link add h0 type veth peer name eth0 netns hand; ip addr add 10.250.0.1/30 dev h0; ip link set h0 up; "
            "ip -n hand addr add 10.250.0.2/30 dev eth0; ip -n hand link set eth0 up; ip -n hand link set lo up; "
            "ip -n hand route add default via 10.250.0.1; "
            "ip netns exec hand sysctl -qw net.ipv4.ping_group_range='0 2147483647'"
        )

        def inside(*argv: object) -> list[object]:
            return ["ip", "netns", "exec", "hand", *argv]

        yield Path("by hand", topology, inside, lambda: None)


@dataclasses.dataclass
class Figures:
    """What was measured of one way, a value a round."""

    packets: list[float] = dataclasses.field(default_factory=list)  # a second
    half: list[float] = dataclasses.field(default_factory=list)  # p50 of round trips, microseconds
    most: list[float] = dataclasses.field(default_factory=list)  # p99
    throughput: list[float] = dataclasses.field(default_factory=list)  # Gbit/s
    on_line: float = 0.0  # Gbit/s, through LINE

    def measure(self, path: Path) -> None:
        """Do one round."""
        path.use()
        self.packets.append(path.packets())
        half, most = path.round_trips()
        self.half.append(half)
        self.most.append(most)

    def cells(self) -> list[str]:
        """Return packets and round trips as text."""
        return [f"{max(self.packets):,.0f}", f"{min(self.half):.1f} µs", f"{min(self.most):.1f} µs"]


def many(console: Console, counts: tuple[int, ...]) -> None:
    """Compare the two designs with so many instances each."""
    found: dict[tuple[int, str], Figures] = {}
    with contextlib.ExitStack() as stack:
        prepared = [(count, stack.enter_context(behind_nsvisor(count))) for count in counts]
        for _ in range(ROUNDS):
            for count, paths in prepared:
                for path in paths[:2]:
                    found.setdefault((count, path.name), Figures()).measure(path)
    table = Table("instances", "design", "packets/s", "round trip p50", "p99", "packets, to one", "p50, to one")
    for (count, design), figures in sorted(found.items(), key=lambda item: (item[0][1], item[0][0])):
        one = found[counts[0], design]
        packets, half = max(figures.packets) / max(one.packets), min(figures.half) / min(one.half)
        table.add_row(str(count), design, *figures.cells(), f"{packets:.3f}", f"{half:.3f}")
    console.print(table)


def one(console: Console) -> None:
    """Compare the way behind nsvisor with one by hand, and with what a second hop costs whoever builds it."""
    with behind_nsvisor(1) as (maps, _, hop), behind_nsvisor(1, steered=True) as (other, *_), by_hand() as plain:
        ours, steered = dataclasses.replace(maps, name=OURS), dataclasses.replace(other, name=STEERED)
        paths = (plain, hop, ours, steered)
        found = {path.name: Figures() for path in paths}
        for _ in range(TCP_ROUNDS):
            for path in paths:
                found[path.name].measure(path)
                found[path.name].throughput.append(path.throughput())
        for path in paths:
            path.use()
            path.topology.host.sh(f"tc qdisc replace dev eth0 root {LINE}")
            found[path.name].on_line = path.throughput()
            path.topology.host.sh("tc qdisc del dev eth0 root")
    table = Table("way", "TCP", "to by hand", "TCP on a line", "to by hand", "packets/s", "round trip p50", "p99")
    theirs = found[plain.name]
    for name, figures in found.items():
        table.add_row(
            name,
            f"{max(figures.throughput):.1f} Gbit/s", f"{max(figures.throughput) / max(theirs.throughput):.3f}",
            f"{figures.on_line:.3f} Gbit/s", f"{figures.on_line / theirs.on_line:.3f}", *figures.cells(),
        )  # fmt: skip
    console.print(table)


def main() -> int:
    """Measure both; the arguments are counts of instances."""
    counts = tuple(int(argument) for argument in sys.argv[1:]) or COUNTS
    console = Console(width=120)
    console.print(f"ten million additions in Python: {python_loop():.2f} s")
    one(console)
    many(console, counts)
    print(EXPLANATION)
    return 0


if __name__ == "__main__":
    sys.exit(main())
