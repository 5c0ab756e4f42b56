"""Which tracked connections are deleted when instances move, in the kernel's own list."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.hosts import Host
from tests.hosts.host import ROOT

# A connection for each: source, its mark, and what the answers come from where that is another.
CONNECTIONS = (
    ("100.127.0.1", 0x102, ""),
    ("100.127.0.1", 0x10102, ""),  # other bits of the mark aren't ours
    ("100.127.0.1", 0x103, ""),
    ("100.127.0.3", 0x102, ""),
    ("fd6e:7376:6973::1", 0x102, ""),
    ("203.0.113.9", 0x102, "100.127.0.1"),  # a port map: who answers is the instance
)
FORGET = """
import sys, tracemalloc
from supervisor.conntrack import Stuck, forget_flows
everything, outbound = eval(sys.argv[1])
tracemalloc.start()
print(forget_flows(Stuck(frozenset(everything), frozenset(outbound))), tracemalloc.get_traced_memory()[1])
"""
MANY = 20_000
MOST = 1 << 20  # bytes; all of them would take twenty times as much
# A datagram from each port.
KNOCK = """
import socket
for port in range(10_000, 10_000 + int(__import__("sys").argv[1])):
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", port))
        one.sendto(b"", ("127.0.0.2", 9))
"""


@pytest.fixture
def host() -> Iterator[Host]:
    with Host() as made:
        for number, (source, mark, answers) in enumerate(CONNECTIONS, 1):
            there = "2001:db8::1" if ":" in source else "198.51.100.1"
            back = ["-r", answers, "-q", source] if answers else []
            ports = ["--sport", str(number), "--dport", "53"]
            ports += ["--reply-port-src", "53", "--reply-port-dst", str(number)] if answers else []
            made.run(
                ["conntrack", "-I", "-p", "udp", "-s", source, "-d", there, *back, *ports, "-t", "3000", "-m", mark]
            )
        assert listed(made) == {1, 2, 3, 4, 5, 6}
        yield made


def listed(host: Host) -> set[int]:
    """Return the numbers of the connections that are tracked."""
    lines = host.sh("conntrack -L 2>/dev/null; conntrack -L -f ipv6 2>/dev/null").splitlines()
    return {int(line.partition("sport=")[2].split()[0]) for line in lines}


@pytest.mark.parametrize(
    ("everything", "outbound", "left"),
    [
        ((), [("100.127.0.1", 0x102)], {3, 4, 5, 6}),
        ((), [("100.127.0.1", 0x103), ("fd6e:7376:6973::1", 0x102)], {1, 2, 4, 6}),
        (["100.127.0.1"], [], {4, 5}),
        (["100.127.0.9"], [], {1, 2, 3, 4, 5, 6}),
    ],
)
def test_those_that_are_meant_are_gone_and_no_others(
    host: Host, everything: list[str], outbound: list[tuple[str, int]], left: set[int]
) -> None:
    count, _ = forget(host, everything, outbound)
    assert listed(host) == left
    assert count == len(CONNECTIONS) - len(left)


def forget(host: Host, everything: list[str], outbound: list[tuple[str, int]]) -> tuple[int, int]:
    """Return how many were deleted, and how many bytes that took at most."""
    argv = [sys.executable, "-c", FORGET, repr((everything, outbound))]
    count, most = host.run(argv, env={"PYTHONPATH": str(ROOT)}).stdout.split()
    return int(count), int(most)


def test_what_is_not_meant_takes_no_memory(host: Host) -> None:
    host.run(["nft", "add table ip t { chain c { type filter hook output priority 0; ct state new accept; }; }"])
    host.run([sys.executable, "-c", KNOCK, MANY])
    assert int(host.sh("sysctl -n net.netfilter.nf_conntrack_count")) > MANY
    count, most = forget(host, ["100.127.0.1"], [])
    assert count == 4
    assert most < MOST, f"{most} bytes"
