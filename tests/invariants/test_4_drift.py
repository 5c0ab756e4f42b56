"""Invariant 4: the kernel is the memory. What is changed by hand is back, since an event told of it, on both sides."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.hosts import RULESET, wait_until
from tests.hosts.topology import OUTSIDE
from tests.invariants.rig import OUTER_PORT, REPAIR, TWO_TENANTS, Rig, kill

SETTINGS = "forwarding|rp_filter|src_valid_mark|send_redirects"

# What the plan is about, as an administrator would look, without numbers that differ from link to link made anew, and
# without links of running apps.
STATE = rf"""
ip -o link | sed 's/^[0-9]*: //; s/@.*: </: </; s/link.ether [^ ]*//; s/link-netnsid [0-9]*//; s/state [A-Z]*//' |
  sed 's/NO-CARRIER,//; s/,LOWER_UP//' | sort
ip -o addr | awk '{{print $2, $3, $4}}' | grep -v fe80 | sort
ip rule
ip -4 route show table all
sysctl -a 2> /dev/null | grep -E '^net.ipv4.(conf.(v-|eth|up0|all|lo|br0).*({SETTINGS})|ip_forward) '
{RULESET}
"""
FOREIGN = """
ip link add strange0 type bridge
ip addr add 192.0.2.1/32 dev {link}
ip route add 203.0.113.0/24 dev {link} proto static
ip route add 203.0.113.0/24 dev {link} table 77
ip rule add pref 4 from 192.0.2.7 lookup 77
nft add table inet other
nft add chain inet other forward '{{ type filter hook forward priority 10; }}'
sysctl -qw net.ipv4.conf.{link}.proxy_arp=1
"""
ON_THE_HOST = (
    "ip link del v-red",
    "ip link set v-red down",
    "ip link set v-red mtu 1400",
    "ip addr flush dev v-red",
    "ip route flush table 195999",
    "ip route del unreachable default table $(ip rule | sed -n 's/^10:.*lookup //p')",
    "ip route del default table $(ip rule | sed -n 's/^10:.*lookup //p')",
    "ip route add 198.51.100.7 dev eth0 table $(ip rule | sed -n 's/^10:.*lookup //p') proto 196",
    "ip rule del pref 1",
    "ip rule del pref 2",
    "ip rule del pref 3",
    "ip rule del pref 5",
    "ip rule del pref 10",
    "ip rule del pref 100",
    "ip rule add pref 0 lookup local",
    "sysctl -qw net.ipv4.conf.v-red.forwarding=0",
    "sysctl -qw net.ipv4.conf.v-red.src_valid_mark=0",
    "sysctl -qw net.ipv4.conf.v-red.rp_filter=0",
    "sysctl -qw net.ipv4.conf.eth0.forwarding=0",
    "sysctl -qw net.ipv4.conf.eth0.src_valid_mark=0",
    "nft delete table inet nsvisor",
    "nft delete table inet nsvisor_digest",
    "nft flush chain inet nsvisor forwarding",
    "nft insert rule inet nsvisor incoming accept",
    "nft flush map inet nsvisor uplink_of",
    "nft delete element inet nsvisor port_maps '{ 0x0 }'",  # replaced below by the element that is there
)
INSIDE = (
    "ip link del br0",
    "ip link set br0 down",
    "ip link set up0 down",
    "ip link del up0",
    "ip addr flush dev br0",
    "ip addr flush dev up0",
    "ip route del default",
    "sysctl -qw net.ipv4.ip_forward=0",
    "sysctl -qw net.ipv4.conf.up0.rp_filter=0",
    "nft delete table inet nsvisor",
    "nft flush chain inet nsvisor postrouting",
    "nft insert rule inet nsvisor forward accept",
    f"nft delete element inet nsvisor portmap '{{ udp . {OUTER_PORT} }}'",
)


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with Rig() as made:
        made.host.sh(FOREIGN.format(link="eth0"))
        for name in TWO_TENANTS:
            made.host.sh(FOREIGN.format(link="lo"), netns=name)
            wait_until(lambda: "state DOWN" in made.host.sh(f"ip -n {name} link show br0"))  # noqa: B023
        # A route of the uplink's in the main table is the instances' as well.
        wait_until(lambda: made.host.sh("ip route show table all").count("203.0.113.0/24 dev eth0") == 3)
        yield made


def state(rig: Rig) -> dict[str, list[str]]:
    """Return the host and both instances, ours and what is foreign."""
    return {name: rig.host.sh(STATE, netns=name).splitlines() for name in ("", *TWO_TENANTS)}


def check(rig: Rig, command: str, netns: str = "") -> None:
    """Do it by hand; all must be as before soon, and somebody must have had to do it."""
    before, said = state(rig), log(rig, netns)
    assert any("strange0" in line for line in before[netns])
    rig.host.sh(command, netns=netns)

    def mended() -> bool:
        now = state(rig)
        changed = [f"{name}: {line}" for name in now for line in sorted(set(now[name]) ^ set(before[name]))]
        assert not changed, "\n".join(changed)
        return log(rig, netns) != said

    wait_until(mended, REPAIR, command)


def log(rig: Rig, name: str) -> str:
    """Return what nsvisord, or the manager of an instance, has said so far."""
    return rig.host.read_file(rig.daemon.run_dir / f"logs/{name}.log") if name else rig.daemon.log()


@pytest.mark.parametrize("command", ON_THE_HOST)
def test_on_the_host(rig: Rig, command: str) -> None:
    if "port_maps" in command:
        listing = rig.host.sh("nft list map inet nsvisor port_maps")
        key = re.search(r"elements = \{ (\S+ \. (?:udp|17) \. \d+) :", listing)
        assert key, listing
        command = command.replace("0x0", key[1])
    check(rig, command)


@pytest.mark.parametrize("command", INSIDE)
def test_inside(rig: Rig, command: str) -> None:
    check(rig, command, "red")


def test_a_flushed_ruleset_is_back(rig: Rig) -> None:
    """As `systemctl restart nftables` does; what is foreign in it is nobody's to bring back."""
    before = rig.host.sh(f"{RULESET} table inet nsvisor")
    rig.host.sh("nft flush ruleset")
    wait_until(lambda: rig.host.sh(f"{RULESET} table inet nsvisor", check=False) == before, REPAIR)
    assert "other" not in rig.host.sh("nft list tables")
    rig.host.sh("nft add table inet other")


def test_a_killed_service_is_back(rig: Rig) -> None:
    old = rig.dnsmasq("red")
    kill(old)
    wait_until(lambda: rig.dnsmasq("red") != old and serves(rig), REPAIR, "dnsmasq")


def test_all_of_it_works_in_the_end(rig: Rig) -> None:
    with rig.app("red", "web"):
        page = rig.daemon.cli("run", "red", "--", "curl", "-sS", "--max-time", "30", f"http://{OUTSIDE}/")
        assert page.stdout.startswith("outside to 192.168.0.2"), page.stdout + page.stderr
        assert "ERROR" not in rig.daemon.log()


def serves(rig: Rig) -> bool:
    """Tell whether somebody answers DNS on red's bridge."""
    return "10.1.0.1:53" in rig.host.sh("ss -Hlun", netns="red")
