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
import sys
from supervisor.conntrack import Stuck, forget_flows
everything, outbound = eval(sys.argv[1])
print(forget_flows(Stuck(frozenset(everything), frozenset(outbound))))
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
    said = host.run([sys.executable, "-c", FORGET, repr((everything, outbound))], env={"PYTHONPATH": str(ROOT)}).stdout
    assert listed(host) == left
    assert int(said) == len(CONNECTIONS) - len(left)
