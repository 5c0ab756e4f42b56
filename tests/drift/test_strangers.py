"""What is somebody else's is left exactly as it was: through create, change, repair, crash and down.

Strangers are firewalld, docker and a container of its, the real ones, another nft table, and links, addresses, routes,
rules, a namespace and settings that look like ours or lie beside ours.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.drift.beside import CONFIG, CONTAINER, DOCKER6, machine_beside_others, ready
from tests.hosts import Machine, wait_until

# In seconds; once in a while a root file system is made.
pytestmark = [pytest.mark.timeout(900), pytest.mark.usefixtures("boots_machines")]
STRANGERS = """
firewall-cmd --zone=trusted --add-interface=v-+
iptables -I DOCKER-USER -i v-+ -j ACCEPT; iptables -I DOCKER-USER -o v-+ -j ACCEPT
ip6tables -I DOCKER-USER -i v-+ -j ACCEPT; ip6tables -I DOCKER-USER -o v-+ -j ACCEPT
nft add table inet other
nft 'add set inet other known { type ipv4_addr; elements = { 192.0.2.1, 192.0.2.2 }; }'
nft 'add chain inet other pass { type filter hook forward priority 3; }'
nft add rule inet other pass ip saddr @known counter drop
ip link add v-x type veth peer name x-v
ip link set v-x up; ip link set x-v up
ip addr add 192.0.2.9/24 dev v-x
ip link add lan7 type bridge; ip link set x-v master lan7; ip link set lan7 up
ip addr add 192.0.2.10/32 dev host0
ip route add 203.0.113.0/24 via 192.168.0.1 proto static
ip route add 203.0.113.128/25 dev v-x table 77 proto 42
ip route add 10.1.0.0/24 dev v-x table 77
ip rule add pref 4 from 192.0.2.7 lookup 77
ip rule add pref 10 fwmark 0x7 lookup 77
ip rule add pref 100 from 192.0.2.8 lookup 77
ip -6 rule add pref 5 from 2001:db8:7::/64 lookup 77
ip neigh add 192.0.2.20 lladdr 02:00:00:00:00:20 dev v-x nud permanent
sysctl -qw net.ipv4.conf.v-x.rp_filter=2 net.ipv4.conf.v-x.forwarding=0 net.ipv4.conf.host0.log_martians=1
sysctl -qw net.ipv4.ip_local_port_range='33000 44000'
ip netns add other
ip -n other link add br0 type bridge; ip -n other link set br0 addrgenmode none; ip -n other link set br0 up
ip -n other addr add 10.1.0.1/24 dev br0
ip -n other route add default via 10.1.0.9
ip netns exec other nft 'table inet nsvisor { chain forward { type filter hook forward priority 0; policy drop; }; }'
"""
NO_TIMERS = "sed 's/_timer *[0-9.]*//g'"  # of bridges
# Each in every detail, numbers of objects included: what was taken away and put back has another one.
LOOKS = {
    "firewalld's table": "nft -s -a list table inet firewalld",
    "docker's tables": "for t in 'ip filter' 'ip nat' 'ip6 filter' 'ip6 nat'; do nft -s -a list table $t; done",
    "docker's container": f"docker inspect -f '{{{{.State.Pid}}}} {{{{.State.StartedAt}}}}' web; "
    f"ip -d -o link show master docker0 | {NO_TIMERS}; "
    "docker exec web /usr/bin/busybox ping -qc1 -W5 198.51.100.1 | grep received",
    "another table": "nft -s -a list table inet other",
    "links": f"for i in v-x x-v lan7; do ip -d -o link show $i | {NO_TIMERS}; ip -o addr show $i; done",
    "an address of the uplink's": "ip -o addr show dev host0 | grep 192.0.2.10",
    "routes": "ip route show table 77; ip route show table main | grep -v 'dev v-[^x]'",
    "a neighbour": "ip neigh show dev v-x nud permanent",
    "rules": "ip -N rule | grep 'lookup 77'; ip -6 rule | grep 'lookup 77'",
    "settings": "grep -r . /proc/sys/net/ipv4/conf/v-x /proc/sys/net/ipv6/conf/v-x; "
    "sysctl net.ipv4.conf.host0.log_martians net.ipv4.ip_local_port_range",
    "a namespace": f"stat -Lc %i /run/netns/other; ip -n other -d -o link | {NO_TIMERS}; ip -n other -o addr; "
    "ip -n other route show table all; ip -n other rule; ip netns exec other nft -a list ruleset; "
    "ip netns exec other sysctl -a 2> /dev/null | grep -E 'conf|forward'",
}
# The host as a whole, in which nothing of ours is to be left by `down`.
HOST = r"""
ip -o link | sed 's/^[0-9]*: //'; ip -o -4 addr | sed 's/^[0-9]*: //'; ip rule; ip -6 rule
ip route show table all; ip -6 route show table all proto 196; ip neigh show nud permanent; nft -s list ruleset
ls /run/netns; mount | grep netns/ | grep -v other || true
sysctl -a 2> /dev/null | grep -E '^net.(ipv4|ipv6).(conf|ip_forward)' | grep -v -E 'mc_forwarding|stable_secret'
"""
CHANGED = CONFIG.replace("/24", "/25") + "  green: {subnet: 10.1.0.0/24, mtu: 1400}\n"
BY_HAND = """
nft delete table inet nsvisor
ip rule del pref 5
ip link del v-blue
ip netns exec red nft flush ruleset
"""


class Story:
    """The life of the instances beside strangers, told once; the tests look at its chapters."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.seen: dict[str, dict[str, list[str]]] = {}  # by chapter
        self.host: dict[str, list[str]] = {}

    def look(self, chapter: str) -> None:
        self.seen[chapter] = {what: self.machine.run("sh", "-c", script).splitlines() for what, script in LOOKS.items()}

    def tell(self) -> None:
        machine = self.machine
        machine.run("nsvisor", "down")
        # It tells firewalld of links, which then writes its rules anew; firewalld would start it again, by D-Bus.
        machine.run("systemctl", "mask", "--now", "--runtime", "NetworkManager")
        machine.run("systemctl", "start", "firewalld")
        # At its start it flushes what iptables has.
        wait_until(lambda: "running" in machine.run("firewall-cmd", "--state", check=False), what="firewalld")
        machine.run("sh", "-euc", CONTAINER)
        machine.run("sh", "-euc", DOCKER6)
        machine.run("sh", "-euc", STRANGERS)
        wait_until(self.is_settled, what="the kernel's word on links and addresses")
        self.host["before"] = machine.run("sh", "-c", HOST).splitlines()
        self.look("before")
        machine.run("systemctl", "start", "nsvisor")
        wait_until(lambda: ready(machine), what="both instances")
        self.look("create")
        machine.put_file("/etc/nsvisor/test.yaml", CHANGED)
        machine.run("nsvisor", "wait", "instance", "green", "--for", "ready", "--timeout", "120s", check=False)
        wait_until(lambda: ready(machine, "red", "blue", "green"), what="all three")
        self.look("change")
        machine.run("sh", "-euc", BY_HAND)
        wait_until(self.is_repaired, what="the repair")
        self.look("repair")
        machine.run("systemctl", "kill", "--kill-whom=all", "--signal=KILL", "nsvisor")
        wait_until(lambda: machine.run("pgrep", "-f", "supervisor.spawner", check=False), what="a new nsvisord")
        wait_until(lambda: ready(machine, "red", "blue", "green"), what="all three after the crash")
        self.look("crash")
        machine.run("systemctl", "kill", "--kill-whom=all", "--signal=KILL", "nsvisor")
        wait_until(lambda: ready(machine, "red"), what="red after the second crash")
        machine.run("nsvisor", "down")
        self.look("down")
        self.host["down"] = machine.run("sh", "-c", HOST).splitlines()

    def is_settled(self) -> bool:
        """Raises AssertionError while a link of the strangers lacks its carrier or its own address."""
        addresses = self.machine.run("sh", "-c", "ip -6 addr show dev v-x; ip -6 addr show dev lan7")
        assert addresses.count("fe80:") == 2, addresses
        tentative = self.machine.run("ip", "-6", "addr", "show", "tentative")
        assert not tentative, tentative
        return True

    def is_repaired(self) -> bool:
        """Raises AssertionError while something of ours is missing."""
        rules = self.machine.run("ip", "rule")
        assert "lookup 195999" in rules, rules
        for netns in ("", "red"):
            argv = ["ip", "netns", "exec", netns] if netns else []
            self.machine.run(*argv, "nft", "list", "table", "inet", "nsvisor_digest")
        self.machine.run("ip", "link", "show", "v-blue")
        return ready(self.machine, "red", "blue", "green")


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with machine_beside_others(tmp_path_factory.mktemp("image") / "root") as (_, machine):
        told = Story(machine)
        told.tell()
        yield told


@pytest.mark.parametrize("chapter", ["create", "change", "repair", "crash", "down"])
@pytest.mark.parametrize("what", LOOKS)
def test_what_is_somebody_elses_is_left_as_it_was(story: Story, what: str, chapter: str) -> None:
    assert story.seen[chapter][what] == story.seen["before"][what]


@pytest.mark.parametrize("what", LOOKS)
def test_the_look_sees_it(story: Story, what: str) -> None:
    """Else two empty looks would be equal too."""
    assert story.seen["before"][what]


def test_after_down_the_host_is_as_before(story: Story) -> None:
    changed = {*story.host["down"]} ^ {*story.host["before"]}
    assert not changed, "\n".join(sorted(changed))
