"""A host with two uplinks, made as nsvisord would make it, and the prober in it."""

from __future__ import annotations

import base64
import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path
from typing import Any

from pubsub.topics import EndpointProbe, NextHopMethod, NextHopProbe, UplinkConfig
from pubsub.values import Endpoint, Interval
from supervisor.facts import Uplink, UplinkRoute
from supervisor.names import uplink_mark, uplink_table
from supervisor.probing import Target
from tests.hosts import Host, Topology, wait_until

FAST = Interval(0.05)  # seconds between two tries
PATIENT = Interval(30.0)  # a timeout that no answer needs, however slow the machine is
SHORT = Interval(0.3)  # a timeout for what never answers
RUN_DIR = "/run/prober"
SERVER = Path(__file__).with_name("server.py")

# What nsvisord has on a host with uplinks: its rules, its chains for the host's own marked packets.
RULES = """
  sysctl -qw net.ipv4.conf.all.rp_filter=1
  for v in -4 -6; do
    ip $v rule add pref 100 lookup local
    ip $v rule add pref 1 iif lo fwmark 0/0xffff goto 100
    ip $v rule del pref 0
  done
  nft -f - <<END
    table inet nsvisor {
      chain output { type filter hook output priority mangle; meta mark & 0xffff != 0 ct mark set meta mark; }
      chain prerouting { type filter hook prerouting priority mangle;
        ct direction reply ct mark & 0xffff != 0 meta mark set ct mark
      }
    }
END
"""
TABLE = """
  sysctl -qw net.ipv4.conf.{ifname}.rp_filter=1 net.ipv4.conf.{ifname}.src_valid_mark=1
  ip rule add pref 10 fwmark {mark}/0xffff lookup {table}
  ip -6 rule add pref 10 fwmark {mark}/0xffff lookup {table}
  ip route add local {own} dev {ifname} table {table}
  ip route add {network} dev {ifname} table {table}
  ip route add default via {gateway} dev {ifname} table {table}
  ip route add unreachable default metric 4278198272 table {table}
  ip -6 route add unreachable default metric 4278198272 table {table}
"""
IPV6 = """
  ip -6 addr add {own}/64 dev {ifname} nodad
  ip -6 route add default via {gateway} dev {ifname} metric {metric}
  ip -6 route add local {own} dev {ifname} table {table}
  ip -6 route add {network} dev {ifname} table {table}
  ip -6 route add default via {gateway} dev {ifname} table {table}
"""


class Rig:
    """A context manager is the topology; the prober runs from `start` on."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.host, self.gateway, self.outside = topology.host, topology.gateway, topology.outside
        self.process: subprocess.Popen[str] | None = None
        self.host.sh(RULES)
        self.host.path(RUN_DIR).mkdir()
        for number in (0, 1):
            self.host.sh(TABLE.format(**self.numbers(f"eth{number}"), **names(number)))

    def numbers(self, ifname: str) -> dict[str, object]:
        index = self.ifindex(ifname)
        return {"mark": uplink_mark(index), "table": uplink_table(index)}

    def ifindex(self, ifname: str) -> int:
        return int(self.host.sh(f"cat /sys/class/net/{ifname}/ifindex"))

    def add_ipv6(self) -> None:
        """Give both uplinks, the gateway and `outside` IPv6."""
        self.gateway.sh("sysctl -qw net.ipv6.conf.all.forwarding=1; ip addr add 2001:db8:f::fe/64 dev out0 nodad")
        self.outside.sh("ip addr add 2001:db8:f::1/64 dev eth0 nodad; ip -6 route add default via 2001:db8:f::fe")
        for number in (0, 1):
            self.gateway.sh(f"ip addr add 2001:db8:1{number}::1/64 dev up{number} nodad")
            v6 = {"own": f"2001:db8:1{number}::2", "gateway": f"2001:db8:1{number}::1"}
            v6 |= {"network": f"2001:db8:1{number}::/64", "ifname": f"eth{number}", "metric": str(100 + number)}
            self.host.sh(IPV6.format(**self.numbers(f"eth{number}"), **v6))

    def uplink(self, number: int, *, up: bool = True, gateway6: str = "") -> Uplink:
        """Return what nsvisord would know of eth<number>."""
        ifname = f"eth{number}"
        routes = [UplinkRoute(IPv4Network("0.0.0.0/0"), IPv4Address(f"192.168.{number}.1"))]
        routes += [UplinkRoute(IPv6Network("::/0"), IPv6Address(gateway6))] if gateway6 else []
        return Uplink(
            ifname=ifname,
            ifindex=self.ifindex(ifname),
            up=up,
            mac=self.host.sh(f"cat /sys/class/net/{ifname}/address").strip(),
            addresses=(IPv4Interface(f"192.168.{number}.2/24"),),
            addresses6=(IPv6Interface(f"2001:db8:1{number}::2/64"),) if gateway6 else (),
            routes=tuple(routes),
        )

    def serve(self, status: int, *, address: str = "198.51.100.1", port: int = 8080, crowd: int = 0) -> None:
        """Have `outside` answer each GET by that status; it listens when this returns."""
        self.outside.start([sys.executable, "-SE", SERVER, address, port, status, crowd])

    def start(self, *, bounding: str = "") -> None:
        """Start a prober; `bounding` are the capabilities that it doesn't get, as setpriv(1) writes them."""
        with self.host.path("/run/prober.log").open("a") as log:
            argv = ["setpriv", f"--bounding-set={bounding}"] if bounding else []
            argv += [sys.executable, "-m", "tests.functional.probing.inside", RUN_DIR]
            self.process = self.host.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        assert self.process.stdout
        assert self.process.stdout.readline() == "ready\n", self.log()

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()

    def log(self) -> str:
        return self.host.read_file("/run/prober.log")

    def follow(self, *targets: Target) -> dict[str, Any]:
        return self.order({target.uplink.ifname: target for target in targets})

    def look(self) -> dict[str, Any]:
        return self.order(None)

    def order(self, order: Mapping[str, Target] | None) -> dict[str, Any]:
        assert self.process
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(base64.b64encode(pickle.dumps(order)).decode() + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, self.log()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def wait(self, wanted: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Return the first look that is as wanted."""

        def ask() -> dict[str, Any] | None:
            seen = self.look()
            assert wanted(seen), f"{json.dumps(seen, indent=1)}\n{self.log()}"
            return seen

        return wait_until(ask)

    def wait_health(self, ifname: str, healthy: bool) -> str:
        """Wait until an uplink is or isn't healthy; return the reason."""
        return str(self.wait(lambda seen: seen["health"][ifname]["healthy"] == healthy)["health"][ifname]["reason"])

    def wait_answered(self, ifname: str, times: int = 1) -> dict[str, Any]:
        """Wait until each probe of an uplink was answered so often from now on."""

        def answers(seen: dict[str, Any]) -> list[int]:
            return [sum(ms >= 0 for ms in s["history"][-times:]) for s in seen["statuses"][ifname]]

        return self.wait(lambda seen: answers(seen) and min(answers(seen)) >= times)


def names(number: int) -> dict[str, str]:
    subnet = f"192.168.{number}"
    return {"ifname": f"eth{number}", "own": f"{subnet}.2", "network": f"{subnet}.0/24", "gateway": f"{subnet}.1"}


def next_hop(method: NextHopMethod = NextHopMethod.ARP, timeout: Interval = PATIENT) -> NextHopProbe:
    return NextHopProbe(method=method, interval=FAST, timeout=timeout)


def endpoint(to: str, timeout: Interval = PATIENT) -> EndpointProbe:
    return EndpointProbe(to=Endpoint.parse(to), interval=FAST, timeout=timeout)


def config(*endpoints: EndpointProbe, hop: NextHopProbe | None = None) -> UplinkConfig:
    return UplinkConfig(next_hop=hop or NextHopProbe(method=NextHopMethod.NONE), endpoints=endpoints)


def silence(host: Host, what: str) -> None:
    """Have a host drop frames, as `arp` or `ip daddr …`: by nft, in a table of its own."""
    family = "arp" if what == "arp" else "inet"
    rule = "drop" if what == "arp" else f"{what} drop"
    host.sh(f"nft 'table {family} silence {{ chain input {{ type filter hook input priority 0; {rule}; }}; }}'")


def hear(host: Host, what: str) -> None:
    host.sh(f"nft delete table {'arp' if what == 'arp' else 'inet'} silence")
