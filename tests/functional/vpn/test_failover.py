"""Another uplink: the tunnel is set up anew by it, before the old one ends."""

from __future__ import annotations

from tests.functional.vpn.world import APP, ECHO, PAGE, World
from tests.hosts import wait_until


def test_a_tunnel_moves_with_its_instance_and_comes_back(world: World) -> None:
    world.wait_up("ni4")
    world.wait_bound("ni4", "eth1")
    other = world.wait_up("ni5").since
    with world.clouds["cloud1"].capture("udp port 4500") as capture:
        flow = world.stream("ni4/web", ECHO)
        world.cables[1].unplug()
        try:
            world.wait_bound("ni4", "eth2")
            wait_until(lambda: from_address(world) == {"192.168.2.2"}, what="the peer knows the new address")
            assert world.fetch("ni4/web", PAGE) == f"cloud1 to {APP}"
        finally:
            world.cables[1].plug()
            world.host.sh("ip route replace default via 192.168.1.1 dev eth1 metric 100")
        world.wait_bound("ni4", "eth1")
        wait_until(lambda: from_address(world) == {"192.168.1.2"}, what="the peer knows the old address")
        assert world.fetch("ni4/web", PAGE) == f"cloud1 to {APP}"
        counted = flow.stop()
    assert {"192.168.1.2", "192.168.2.2"} <= {word.rpartition(".")[0] for p in capture.packets for word in p.split()}
    print(f"failover there and back: {counted}")
    assert counted["received"]
    assert world.tunnel("ni5").since == other


def from_address(world: World) -> set[str]:
    """Return from where the cloud sees its clients."""
    return {tunnel["remote-host"].decode() for tunnel in world.clouds["cloud1"].tunnels()}
