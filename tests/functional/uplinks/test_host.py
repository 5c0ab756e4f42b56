"""The host's own routes, rules, settings and traffic: the same before, while and after instances run."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.functional.uplinks.conftest import instance
from tests.functional.uplinks.rig import Rig
from tests.hosts import Host, Topology, wait_until
from tests.hosts.topology import OUTSIDE, OUTSIDE6

OURS = re.compile(r"proto 196|protocol 196| table 19[56]\d{3}|100\.127\.|fd6e:|v-(red|blue)")
AGES = re.compile(r" expires \S+|\bhoplimit \d+")
# What docs/design.md says that is set of links that aren't ours, and given back.
BORROWED = re.compile(r"\.(src_valid_mark|forwarding|force_forwarding|accept_ra|mc_forwarding) = ")
CONFIG = {"instances": {"red": instance("eth0", 81, []), "blue": instance("eth1", 82, [])}}


def routing(host: Host) -> set[str]:
    """Return the host's own routes, rules and addresses, without their ages and without what is marked as ours."""
    said = host.sh(
        "ip route show table all; ip -6 route show table all; ip rule; ip -6 rule; "
        "ip -o addr show dev eth0; ip -o addr show dev eth1"
    )
    lines = {AGES.sub("", line).strip() for line in said.splitlines() if not OURS.search(line)}
    # The kernel's own: rule 0, which moves to 100 while instances run; the addresses of routers, which a host has from
    # when it forwards IPv6, before Linux 6.17 only as a whole; and what it counts.
    lines = {line for line in lines if "lookup local" not in line and not line.startswith("anycast ")}
    return {re.sub(r"valid_lft .*", "", line) for line in lines}


def settings(host: Host) -> dict[str, str]:
    """Return the sysctls of the network, but of our own links."""
    lines = host.sh("sysctl -a 2> /dev/null | grep -E '^net\\.ipv[46]\\.(conf|neigh|route|ip_)'").splitlines()
    return dict(
        line.split(" = ", 1) for line in lines if "v-red" not in line and "v-blue" not in line and " = " in line
    )


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    """Two uplinks; the first has its IPv6 router by RA, the second one also a table and rules of the host's own."""
    made = Rig(Topology(2, ipv6=True), CONFIG, ["blue/web"])
    made.host.sh(
        "ip route add default via 192.168.1.1 dev eth1 table 42; ip rule add pref 50 from 192.168.1.2 lookup 42; "
        "ip rule add pref 51 fwmark 0x10000/0x10000 lookup 42; ip route add 192.0.2.0/24 via 192.168.1.1 dev eth1"
    )
    made.before = routing(made.host), settings(made.host)  # type: ignore[attr-defined]  # the tests' own
    with made:
        yield made


def test_its_routes_rules_and_addresses_stay(rig: Rig) -> None:
    before, _ = rig.before  # type: ignore[attr-defined]
    assert any("proto ra" in line for line in before)
    assert routing(rig.host) == before


def test_of_its_settings_only_the_borrowed_ones_differ(rig: Rig) -> None:
    _, before = rig.before  # type: ignore[attr-defined]
    now = settings(rig.host)
    changed = {f"{name} = {before.get(name)} -> {value}" for name, value in now.items() if before.get(name) != value}
    strange = {line for line in changed if not BORROWED.search(line)}
    assert not strange, strange
    assert any("src_valid_mark" in line for line in changed)  # the comparison can fail


def test_its_router_by_ra_is_refreshed(rig: Rig) -> None:
    """Forwarding IPv6 makes a kernel forget and ignore routers that tell themselves by RA."""

    def seconds() -> int:
        found = re.search(r"expires (\d+)sec", rig.host.sh("ip -6 route show default proto ra"))
        return int(found[1]) if found else 0

    # Told each 3 to 4 seconds, for 1800.
    wait_until(lambda: 0 < seconds() < 1798, what="the route grows old")
    wait_until(lambda: seconds() >= 1798, what="the route is told anew")


def test_its_own_traffic_goes_as_before(rig: Rig) -> None:
    assert rig.host.fetch(f"http://{OUTSIDE}/").strip() == "outside to 192.168.0.2"
    assert rig.host.fetch(f"http://[{OUTSIDE6}]/").startswith("outside to 2001:db8::")
    argv = ["curl", "-sS", "--interface", "192.168.1.2", f"http://{OUTSIDE}/"]
    assert rig.host.run(argv).stdout.strip() == "outside to 192.168.1.2"  # by its own rule and table
    assert rig.asker("blue/web") == "192.168.1.2"


def test_routes_that_come_and_go_are_followed_in_the_uplinks_table(rig: Rig) -> None:
    """As a DHCP client's or an administrator's; the instance's packets go by them."""
    rig.host.sh("ip route replace default via 192.168.1.1 dev eth1 metric 100")
    rig.topology.gateway.sh("ip addr add 192.168.1.9/24 dev up1")
    rig.host.sh("ip route add 198.51.100.77/32 via 192.168.1.9 dev eth1")
    device = rig.device("eth1")
    table = f"ip route show table {device.table}"
    wait_until(lambda: "198.51.100.77 via 192.168.1.9" in rig.host.sh(table), what="the route in the uplink's table")
    rig.host.sh("ip route del 198.51.100.77/32")
    wait_until(lambda: "198.51.100.77" not in rig.host.sh(table), what="the route's end")
    lines = rig.host.sh(table)
    assert "unreachable default" in lines
    assert "192.168.0." not in lines  # nothing of the other uplink
    assert "192.168.1.9" in "".join(rig.topology.gateway.sh("ip addr show up1"))


def test_after_down_everything_is_as_before(rig: Rig) -> None:
    before, sysctls = rig.before  # type: ignore[attr-defined]
    rig.daemon.down()
    wait_until(lambda: "v-" not in rig.host.sh("ip -br link"), what="the links' end")
    assert routing(rig.host) == before
    assert settings(rig.host) == sysctls
    assert "nsvisor" not in rig.host.sh("nft list tables")
    rules = rig.host.sh("ip rule; ip -6 rule").splitlines()
    assert sum(line.startswith("0:\tfrom all lookup local") for line in rules) == 2
    assert rig.host.fetch(f"http://[{OUTSIDE6}]/").startswith("outside to 2001:db8::")
