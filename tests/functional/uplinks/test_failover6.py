"""A failover moves IPv6 as it moves IPv4."""

from __future__ import annotations

from tests.functional.uplinks.rig import Rig
from tests.hosts import wait_until
from tests.hosts.topology import OUTSIDE6


def asker6(rig: Rig, app: str) -> str:
    done = rig.host.run(rig.inside(app, "curl", "-sS", "--max-time", "2", f"http://[{OUTSIDE6}]/"), check=False)
    return done.stdout.strip().removeprefix("outside to ") or done.stderr


def test_both_families_move_and_come_back(world: Rig) -> None:
    world.wait_bound("pair", "eth2")
    wait_until(lambda: asker6(world, "pair/web") == "2001:db8:2::2", what="out by eth2")
    flow = world.stream("blue/web", OUTSIDE6)
    world.cables[2].unplug()
    try:
        world.wait_bound("pair", "eth1")
        seen = world.seen(
            "ip6 and tcp",
            lambda: wait_until(lambda: asker6(world, "pair/web") == "2001:db8:1::2", what="out by eth1"),
            world.cables[1:2],
        )
        assert seen["eth1"]
        world.wait_asker("pair/web", "192.168.1.2")
    finally:
        world.cables[2].plug()
    world.wait_bound("pair", "eth2")
    wait_until(lambda: asker6(world, "pair/web") == "2001:db8:2::2", what="out by eth2 again")
    counted = flow.stop()
    assert counted["lost"] == 0 < counted["received"], counted
