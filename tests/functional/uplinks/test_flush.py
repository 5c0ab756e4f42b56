"""`nft flush ruleset` under load opens nothing and is repaired; the host routes nothing for strangers."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator

import pytest

from tests.functional.uplinks.rig import PYTHON, TALK, Rig
from tests.functional.uplinks.test_isolation import captures, place
from tests.hosts import RULESET, wait_until
from tests.hosts.topology import OUTSIDE, OUTSIDE6

TIMES = 5
PRIVATE = ("100.127.0.0/16", "10.1.0.0/24", "fd6e:7376:6973::/48", "fd6e:7376:6974::/48")
LEAKS = " or ".join(f"src net {network}" for network in PRIVATE)
LINK_POOLS = ("100.127.", "fd6e:7376:6973:")
TABLE = f"{RULESET} table inet nsvisor | sed 's/elements = .*//'"


def test_nothing_leaks_and_all_is_back(world: Rig) -> None:
    """Streams of two instances run; a third one's forged packets are sent all the time."""
    chains = world.host.sh(TABLE)
    red, blue = place(world, "red"), place(world, "blue")
    targets = (*blue.inner, *blue.host_ends, "224.0.0.1", "ff02::1")
    own = [end for end in red.inner if end.startswith(LINK_POOLS)]
    floods = [
        flood(world, world.inside("red/web"), ("eth0", red.bridge_mac), (*red.inner, *blue.inner), targets),
        # As if red's own firewall weren't there. Of IPv6 with red's address only: nothing but nft checks others.
        flood(world, ["ip", "netns", "exec", "red"], ("up0", red.host_mac),
              (*own, *(end for end in blue.inner if ":" not in end)), targets),
    ]  # fmt: skip
    flows = [world.stream("pink/web"), world.stream("blue/web", OUTSIDE6)]
    try:
        with contextlib.ExitStack() as stack:
            silent = [stack.enter_context(capture) for capture in captures(world, "blue")]
            seen = world.seen(LEAKS, lambda: flush(world, chains))
        leaks = [packet for packets in seen.values() for packet in packets if "ICMP" not in packet]
        assert not leaks, leaks[:3]
        assert [capture.packets for capture in silent] == [[]] * len(silent)
    finally:
        for one in floods:
            one.kill()
    assert all(flow.stop()["received"] for flow in flows)
    assert world.fetch("red/web", f"http://{OUTSIDE}/") == "outside to 192.168.0.2"
    assert world.fetch("blue/web", f"http://[{OUTSIDE6}]/") == "outside to 2001:db8:1::2"


def flood(
    world: Rig, enter: list[object], by: tuple[str, str], sources: tuple[str, ...], targets: tuple[str, ...]
) -> subprocess.Popen[str]:
    """Send forged packets again and again, until it is killed."""
    ifname, mac = by
    lists = ((mac,), tuple(dict.fromkeys(sources)), tuple(dict.fromkeys(targets)))
    command = [*enter, *PYTHON, TALK, "forge", ifname, *(",".join(words) for words in lists)]
    loop = 'while :; do "$@" > /dev/null; done'
    return world.host.popen(["sh", "-c", loop, "sh", *command])


def flush(world: Rig, chains: str) -> None:
    for _ in range(TIMES):
        world.host.sh("nft flush ruleset")
        wait_until(lambda: world.host.sh(TABLE) == chains, what="the table is back")


@contextlib.contextmanager
def by_the_host(world: Rig, family: int) -> Iterator[list[object]]:
    """Let the gateway send what is for a neighbour on eth1 to the host's eth0; yields the command that tries it."""
    target, router = ("192.168.1.77", "192.168.0.2") if family == 4 else ("2001:db8:1::77", "2001:db8::2")
    gateway = world.topology.gateway
    gateway.sh(f"ip route add {target} via {router} dev up0")
    try:
        yield ["ping", "-c", "2", "-i", "0.1", "-W", "1", target]
    finally:
        gateway.sh(f"ip route del {target}")


@pytest.mark.parametrize("family", [4, 6])
def test_strangers_are_not_routed_from_uplink_to_uplink(world: Rig, family: int) -> None:
    gateway = world.topology.gateway
    expression = "host 192.168.1.77" if family == 4 else "host 2001:db8:1::77"
    with by_the_host(world, family) as attempt:
        seen = world.seen(expression, lambda: gateway.run(attempt, check=False), world.cables[1:])
        assert seen == {"eth1": [], "eth2": []}
        if family == 4:  # nothing but our table stands in the way: without that rule they would be
            with world.daemon.still():
                world.host.sh("nft flush chain inet nsvisor forwarding")
                seen = world.seen(expression, lambda: gateway.run(attempt, check=False), world.cables[1:2])
            assert seen["eth1"]
    wait_until(lambda: "guarded" in world.host.sh("nft list chain inet nsvisor forwarding"), what="the repair")
