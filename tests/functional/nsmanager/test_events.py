"""Which transactions of nftables wake a manager, which then lists the whole tables: not those of answers of DNS."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.hosts import Host

SETS = """
table inet nsvisor {
    set h4_0123 { type ipv4_addr; flags timeout; timeout 60s; elements = { 192.0.2.99 }; }
    set h6_0123 { type ipv6_addr; flags timeout; timeout 60s; elements = { 2001:db8::99 }; }
    set reserved4 { type ipv4_addr; elements = { 192.0.2.99 }; }
    chain c { drop; }
}
table inet other { set h4_0123 { type ipv4_addr; }; }
"""
OURS, THEIRS = "element inet nsvisor", "element inet other"
AS_DNSMASQ = f"add {OURS} h4_0123 {{ 192.0.2.1 }}"
AS_THE_MANAGER = f"""
add {OURS} h4_0123 {{ 192.0.2.2 timeout 9s }}
delete {OURS} h4_0123 {{ 192.0.2.2 }}
add {OURS} h4_0123 {{ 192.0.2.2 timeout 9s }}
add {OURS} h6_0123 {{ 2001:db8::2 timeout 9s }}
"""
MANY = "\n".join(f"add {OURS} h4_0123 {{ 192.0.3.{last} }}" for last in range(256))  # several datagrams of the kernel
IDLE = (AS_DNSMASQ, AS_THE_MANAGER, f"delete {OURS} h6_0123 {{ 2001:db8::99 }}", MANY, "flush set inet nsvisor h4_0123")
WAKING = (
    f"add {OURS} reserved4 {{ 192.0.2.1 }}",
    f"delete {OURS} reserved4 {{ 192.0.2.99 }}",
    f"add {THEIRS} h4_0123 {{ 192.0.2.1 }}",
    f"{AS_THE_MANAGER}add {OURS} reserved4 {{ 192.0.2.1 }}",
    f"add {OURS} reserved4 {{ 192.0.2.1 }}\n{AS_THE_MANAGER}",
    f"{MANY}\nadd rule inet nsvisor c accept\n",
    "add rule inet nsvisor c accept",
    "delete set inet nsvisor h4_0123",
    "add set inet nsvisor h4_4567 { type ipv4_addr; }",
    "flush chain inet nsvisor c",
    "delete table inet nsvisor",
    "flush ruleset",
)

Wakes = Callable[[str], bool]


@pytest.fixture(scope="module")
def wakes() -> Iterator[Wakes]:
    """What gives a command to nft, with the sets anew, and tells whether a manager would have woken."""
    with Host("red") as host:
        process = host.popen(
            [sys.executable, "-m", "tests.functional.nsmanager.waking"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

        def does(command: str) -> bool:
            assert process.stdin and process.stdout
            process.stdin.write(json.dumps(command) + "\n")
            process.stdin.flush()
            code, woken = json.loads(process.stdout.readline())
            assert code == 0, command
            return bool(woken)

        def after_sets(command: str) -> bool:
            assert does(f"flush ruleset\n{SETS}")
            return does(command)

        yield after_sets
        process.kill()
        process.wait()


@pytest.mark.parametrize("command", IDLE)
def test_what_answers_bring_wakes_nobody(wakes: Wakes, command: str) -> None:
    assert not wakes(command)


@pytest.mark.parametrize("command", WAKING)
def test_everything_else_wakes(wakes: Wakes, command: str) -> None:
    assert wakes(command)
