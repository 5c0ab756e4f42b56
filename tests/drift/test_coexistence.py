"""Other network software on a machine that really boots: its firewall is told of, and its network managers leave us be.

docker, firewalld, systemd-networkd and NetworkManager are the real ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.drift.beside import CONTAINER, DOCKER6, PUBLISHED, gets, instance, machine_beside_others, reaches, ready
from tests.hosts import Machine, Topology, wait_until
from tests.hosts.topology import OUTSIDE, OUTSIDE6

# In seconds; once in a while a root file system is made.
pytestmark = [pytest.mark.timeout(900), pytest.mark.usefixtures("boots_machines")]
# A filter as many write it by hand: answers pass.
BY_HAND = """
iptables -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -A FORWARD -i lan7 -j ACCEPT
iptables -P FORWARD DROP
"""
BY_NFT = "nft 'table inet mine { chain pass { type filter hook forward priority 5; policy drop; }; }'"
ALL_FOREIGN_GONE = """
systemctl stop firewalld docker.socket docker
ip link del docker0 2> /dev/null && sysctl -qw net.ipv4.ip_forward=0 || :
for table in 'ip filter' 'ip nat' 'ip6 filter' 'ip6 nat' 'inet mine'; do nft delete table $table 2> /dev/null || :; done
"""
# What a network manager could take for its own.
OURS = r"""
ip -o link | sed 's/^[0-9]*: //' | grep -E '^(v-|lo)'; ip -o addr | sed 's/^[0-9]*: //' | grep '^v-'
ip rule; ip -6 rule; ip route show table all; ip -6 route show table all proto 196; ip neigh show nud permanent
grep -r . /proc/sys/net/ipv4/conf/v-* /proc/sys/net/ipv6/conf/v-* 2> /dev/null | sort
nft -s -t list table inet nsvisor
"""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Topology, Machine]]:
    with machine_beside_others(tmp_path_factory.mktemp("image") / "root") as made:
        yield made


@pytest.fixture(scope="module")
def topology(network: tuple[Topology, Machine]) -> Topology:
    return network[0]


@pytest.fixture(scope="module")
def machine(network: tuple[Topology, Machine]) -> Machine:
    return network[1]


def told(machine: Machine, words: str) -> str:
    """Return the reason once the status of an instance has these words and doctor says the same.

    Whoever makes the rules does so one by one: the first look may find some of them.
    """

    def said() -> str:
        status = instance(machine)
        [condition] = [one for one in status["conditions"] if one["name"] == "HostForwards"]
        reason = str(condition["reason"])
        assert words in reason, status
        assert status["state"] == "degraded"
        assert words in status["reason"]
        findings = json.loads(machine.run("nsvisor", "doctor", "-o", "json"))
        doctors = [
            f"{one['found']}; let them pass: {one['remedy']}" for one in findings if one["check"] == "forwarding"
        ]
        assert "; ".join(sorted(doctors)) == "; ".join(sorted(re.split(r"; (?=policy drop|rule `)", reason)))
        return reason

    return wait_until(said, what=words)


def mend(machine: Machine, reason: str) -> None:
    """Type what the reason says, and see that it helps."""
    for command in re.findall(r"let them pass: (.*?)(?=; (?:policy drop|rule `)|$)", reason):
        machine.run("sh", "-euc", command)
    wait_until(lambda: ready(machine), what="the status without it")
    assert reaches(machine)


@pytest.fixture(autouse=True)
def _as_before(machine: Machine) -> Iterator[None]:
    assert reaches(machine)
    yield
    machine.run("sh", "-c", ALL_FOREIGN_GONE)
    wait_until(lambda: ready(machine), what="both instances without the rules of others")


def dockers_container_works(topology: Topology, machine: Machine) -> bool:
    """Raises AssertionError unless docker's container is reached from outside, and reaches what is there."""
    page = f"http://192.168.0.2:{PUBLISHED}/"
    assert topology.outside.sh(f"curl -sf --max-time 2 {page}") == "from docker\n"
    machine.run("docker", "exec", "web", "/usr/bin/busybox", "ping", "-qc1", "-W2", OUTSIDE)
    return True


def test_docker_works_on_and_its_policy_is_told_of_and_mended_by_one_command(
    topology: Topology, machine: Machine
) -> None:
    """On a host that forwarded nothing before us, so that its uplink is no way in for strangers."""

    def works() -> bool:
        return dockers_container_works(topology, machine)

    assert machine.run("sysctl", "-n", "net.ipv4.ip_forward") == "0\n"
    assert "host0" in machine.run("nft", "list", "set", "inet", "nsvisor", "guarded")
    machine.run("sh", "-euc", CONTAINER)
    wait_until(works, what="a container beside nsvisor")
    reason = told(machine, "policy drop in chain ip filter FORWARD of the host drops packets")
    assert "for way in i o; do iptables -I DOCKER-USER -$way v-+ -j ACCEPT; done" in reason
    assert not gets(machine, OUTSIDE, 1)
    assert gets(machine, f"[{OUTSIDE6}]", 20)
    mend(machine, reason)
    machine.run("systemctl", "restart", "docker")
    wait_until(works, what="the container after docker's restart")
    assert ready(machine)
    assert reaches(machine)
    machine.run("nsvisor", "down")
    assert works()
    machine.run("systemctl", "start", "nsvisor")
    wait_until(lambda: ready(machine), what="both instances")
    assert works()


def test_dockers_policy_for_ipv6_is_told_of_alone(machine: Machine) -> None:
    machine.run("sh", "-euc", DOCKER6)
    reason = told(machine, "policy drop in chain ip6 filter FORWARD of the host drops packets")
    assert "for way in i o; do ip6tables -I DOCKER-USER -$way v-+ -j ACCEPT; done" in reason
    assert "ip filter" not in reason
    assert not gets(machine, f"[{OUTSIDE6}]", 1)
    assert gets(machine, OUTSIDE, 20)
    mend(machine, reason)


@pytest.mark.parametrize(("rules", "chain"), [(BY_HAND, "ip filter FORWARD"), (BY_NFT, "inet mine pass")])
def test_a_policy_of_ones_own_is_told_of_and_mended(machine: Machine, rules: str, chain: str) -> None:
    machine.run("sh", "-euc", rules)
    reason = told(machine, f"policy drop in chain {chain}")
    assert not gets(machine, OUTSIDE, 1)
    mend(machine, reason)


def test_firewalld_is_told_of_by_its_rule_and_mended_in_its_words(machine: Machine) -> None:
    machine.run("systemctl", "start", "firewalld")
    assert "running" in machine.run("firewall-cmd", "--state")
    reason = told(machine, "rule `reject with icmpx admin-prohibited` in chain inet firewalld filter_FWD_public")
    assert "firewall-cmd --permanent --zone=trusted --add-interface=v-+ && firewall-cmd --reload" in reason
    assert not gets(machine, OUTSIDE, 1)
    mend(machine, reason)
    machine.run("systemctl", "restart", "firewalld")
    assert ready(machine)
    assert reaches(machine)


@pytest.mark.parametrize(
    "command",
    [
        "systemctl restart systemd-networkd",
        "networkctl reload",
        "networkctl reconfigure host0",
        "systemctl restart NetworkManager",
        "nmcli general reload",
    ],
)
def test_network_managers_leave_links_routes_and_rules_alone(machine: Machine, command: str) -> None:
    before = machine.run("sh", "-c", OURS)
    assert "v-red" in before
    machine.run("sh", "-c", command)
    machine.run("/usr/lib/systemd/systemd-networkd-wait-online", "--interface=host0", "--timeout=60")
    if "nmcli" in command or "Manager" in command:
        machine.run("nm-online", "-s", "-q", "-t", "60")

    def as_before() -> bool:
        assert machine.run("sh", "-c", OURS).splitlines() == before.splitlines()
        return True

    wait_until(as_before, what="the routes by an uplink that is there again")  # `reconfigure` takes its addresses away
    links = machine.run("networkctl", "--no-legend", "--no-pager", "list", "v-*")
    assert sorted(re.findall(r"v-(\S+) .* unmanaged", links)) == ["blue", "red"], links
    devices = machine.run("nmcli", "-t", "-f", "DEVICE,STATE", "device").splitlines()
    assert {"v-red:unmanaged", "v-blue:unmanaged"} <= set(devices), devices
