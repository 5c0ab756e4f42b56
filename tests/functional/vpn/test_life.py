"""Deaths, keys and returns: of the manager, of charon, of the peer."""

from __future__ import annotations

import os
import signal

from pubsub.topics import State
from tests.functional.vpn.world import APP, ECHO, PAGE, World
from tests.hosts import wait_until


def test_a_killed_manager_loses_no_packet_and_its_charon_is_adopted(world: World) -> None:
    world.wait_up("ni4")
    charon, manager = world.charon("ni4"), world.status("ni4").pid
    since = world.tunnel("ni4").since
    flow = world.stream("ni4/web", ECHO)
    os.kill(manager, signal.SIGKILL)
    wait_until(lambda: world.status("ni4").pid not in (0, manager), what="another manager")
    world.wait_up("ni4")
    counted = flow.stop()
    assert counted["sent"] > 50
    assert counted["lost"] == 0, counted
    assert world.charon("ni4") == charon
    assert abs(world.tunnel("ni4").since - since) < 5


def test_charon_keeps_its_tunnel_through_new_keys(world: World) -> None:
    world.wait_up("ni4")
    before = world.tunnel("ni4").rekeys
    flow = world.stream("ni4/web", ECHO)
    with world.clouds["cloud1"].session() as session:
        session.rekey({"child": "lan"})
    wait_until(lambda: world.tunnel("ni4").rekeys > before, what="new keys of ESP")
    spis = {tunnel["initiator-spi"] for tunnel in world.clouds["cloud1"].tunnels()}
    with world.clouds["cloud1"].session() as session:
        session.rekey({"ike": "edge"})
    wait_until(
        lambda: not spis & {tunnel["initiator-spi"] for tunnel in world.clouds["cloud1"].tunnels()},
        what="new keys of IKE",
    )
    world.wait_up("ni4")
    assert world.fetch("ni4/web", PAGE) == f"cloud1 to {APP}"
    counted = flow.stop()
    assert counted["received"], counted


def test_a_peer_that_dies_is_noticed_and_its_return_too(world: World) -> None:
    world.wait_up("ni4")
    cloud = world.clouds["cloud1"]
    cloud.kill()
    try:
        world.wait_reason("ni4", "tunnel cloud: the peer doesn't answer")
        assert world.status("ni4").state == State.WAITING
        assert not world.tunnel("ni4").up
        assert "doesn't answer" in world.tunnel("ni4").last_error
        assert world.status("ni5").state == State.READY
    finally:
        cloud.start()
    assert world.wait_up("ni4").last_error
    assert world.fetch("ni4/web", PAGE) == f"cloud1 to {APP}"


def test_a_tunnel_that_the_peer_ends_comes_back(world: World) -> None:
    world.wait_up("ni4")
    with world.clouds["cloud1"].session() as session:
        before = {tunnel["initiator-spi"] for tunnel in world.clouds["cloud1"].tunnels()}
        list(session.terminate({"ike": "edge"}))  # runs as it is read
    wait_until(
        lambda: {tunnel["initiator-spi"] for tunnel in world.clouds["cloud1"].tunnels()} - before, what="a new tunnel"
    )
    world.wait_up("ni4")
    assert world.fetch("ni4/web", PAGE) == f"cloud1 to {APP}"


def test_charon_killed_again_and_again_comes_back(world: World) -> None:
    for _ in range(2):
        world.wait_up("ni4")
        kill_charon(world)
    world.wait_up("ni4")
    assert world.fetch("ni4/web", PAGE) == f"cloud1 to {APP}"
    status = world.status("ni4")
    assert [process.name for process in status.processes].count("charon") == 1


def test_a_removed_tunnel_is_gone_and_comes_back_with_the_config(world: World) -> None:
    world.wait_up("ni4")
    instance = world.config["instances"]["ni4"]
    connections = instance["vpn"]["connections"]
    elsewhere = {**connections["cloud"], "remote": "192.168.111.9", "remote_subnets": ["192.168.77.0/24"]}
    instance["vpn"]["connections"] = {"other": elsewhere}
    world.configure()
    try:
        world.wait_reason("ni4", "tunnel other: the peer doesn't answer")
        wait_until(lambda: not world.clouds["cloud1"].tunnels(), what="the peer knows of the end")
        assert world.host.sh("ip route show table 195 192.168.0.0/24 proto 196", netns="ni4") == ""
        assert not world.host.path(f"{world.folder('ni4')}/vpn-cloud.psk").exists()
    finally:
        instance["vpn"]["connections"] = connections
        world.configure()
    world.wait_up("ni4")
    assert world.fetch("ni4/web", PAGE) == f"cloud1 to {APP}"


def kill_charon(world: World) -> None:
    """Kill charon and return when there is another."""
    before = world.charon("ni4")
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: world.charon("ni4") not in (0, before), what="another charon")


def test_what_becomes_local_has_nothing_of_tunnels_left_and_comes_back(world: World) -> None:
    world.wait_up("ni5")
    instance = world.config["instances"]["ni5"]
    before = dict(instance)
    instance |= {"type": "local", "vpn": None}
    world.configure()
    wait_until(lambda: (world.status("ni5").type, world.status("ni5").state) == ("local", "ready"), what="ni5 is local")
    assert world.asker("ni5/web") == "192.168.2.2"
    left = world.host.sh("ip rule; ip route show table 195; ip -br link; nft list ruleset", netns="ni5", check=False)
    assert not [word for word in ("lookup 195", "ipsec0", "sealed", "192.168.222.1") if word in left]
    assert not [*world.host.path(world.folder("ni5")).glob("vpn-*")]
    assert not world.charon("ni5")
    world.config["instances"]["ni5"] = before
    world.configure()
    world.wait_up("ni5")
    assert world.fetch("ni5/web", PAGE) == f"cloud2 to {APP}"
    assert world.asker("ni5/web", 1.0) != "192.168.2.2"
