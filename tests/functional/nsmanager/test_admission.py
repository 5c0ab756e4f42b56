"""The limit of connections, by the kernel itself: a few are counted one by one, of many a sample."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from nsmanager.firewall.admission import FIRST, INSIDE, TO_LINK, Admission
from tests.hosts import Host, wait_until

FEW, MANY = 700, 4096
RATE = 1  # rules, the first, of how fast connections may be opened: that is another test's
# Opens so many connections that nobody answers; prints how many were refused.
OPEN = """
import socket, sys
refused, first, count = 0, *map(int, sys.argv[2:])
with socket.socket(type=socket.SOCK_DGRAM) as client:
    client.bind(("", 4000))
    for number in range(first, first + count):
        try:
            client.sendto(b"x", (f"{sys.argv[1]}.{1 + number // 10000}.1", 20000 + number % 10000))
        except PermissionError:
            refused += 1
print(refused)
"""


@pytest.fixture
def host() -> Iterator[Host]:
    with Host("host") as made:
        made.sh("ip link set lo up")
        yield made


def limit(host: Host, side: Admission, connections: int) -> None:
    """Let a host open so many connections, by the rules of a side."""
    lines = [*side.kept(connections), "chain refusing {", "drop", "}", "chain opening {"]
    lines += [*list(side.connections(connections))[RATE:], "}"]
    lines += ["chain out {", "type filter hook output priority 0;", f"{FIRST} goto opening", "}"]
    host.run(["nft", "-f", "-"], text="table inet limited {\n" + "\n".join(lines) + "\n}\n")


def tried(host: Host, first: int, count: int, network: str = "127.0") -> int:
    """Open connections from a number on; return how many were refused."""
    return int(host.run([sys.executable, "-SE", "-c", OPEN, network, first, count]).stdout)


def end_all(host: Host, connections: int) -> None:
    """End all connections; return when the kernel has noticed: it clears the list away, once a second."""
    host.sh("conntrack -F 2> /dev/null")
    wait_until(lambda: "ct count" not in host.sh(f"nft list set inet limited counted/{connections}"), what="no list")


def tracked(host: Host) -> int:
    return int(host.sh("cat /proc/sys/net/netfilter/nf_conntrack_count"))


@pytest.mark.parametrize("side", [INSIDE, TO_LINK], ids=["inside", "on the host"])
def test_a_few_are_counted_one_by_one(host: Host, side: Admission) -> None:
    limit(host, side, FEW)
    assert tried(host, 0, 3 * FEW) == 2 * FEW
    assert tracked(host) == FEW
    end_all(host, FEW)
    assert tried(host, 3 * FEW, FEW) == 0


@pytest.mark.parametrize("side", [INSIDE, TO_LINK], ids=["inside", "on the host"])
def test_of_many_a_sample_is_counted(host: Host, side: Admission) -> None:
    """Nobody is refused below the limit, at most a quarter more get in, and when all have ended there is room again."""
    limit(host, side, MANY)
    assert tried(host, 0, MANY) == 0
    refused = tried(host, MANY, 3 * MANY)
    most = tracked(host)
    assert MANY < most < MANY * 3 // 2
    assert refused == 4 * MANY - most
    assert tried(host, 4 * MANY, MANY) == MANY, "it stays full"
    end_all(host, MANY)
    assert tried(host, 5 * MANY, MANY) < MANY // 10, "one of the sample finds room for all"
    assert tracked(host) > MANY * 9 // 10


def test_a_link_of_the_same_name_is_not_full(host: Host) -> None:
    limit(host, TO_LINK, MANY)
    make = "ip link add x0 type veth peer x1; ip addr add 10.64.0.1/16 dev x0; ip link set x0 up arp off"
    host.sh(make)
    assert tried(host, 0, 2 * MANY, "10.64") > MANY // 4
    assert '"x0"' in host.sh("nft list set inet limited full/4096")
    end_all(host, MANY)
    host.sh(f"ip link del x0; {make}")
    assert tried(host, 0, MANY, "10.64") == 0
