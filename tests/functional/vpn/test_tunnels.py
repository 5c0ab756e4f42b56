"""Each instance reaches its cloud, and nothing else; only ESP in UDP is seen outside."""

from __future__ import annotations

from tests.functional.vpn.world import APP, ECHO, PAGE, SUBNET, World, who_encrypts
from tests.hosts import wait_until
from tests.hosts.topology import OUTSIDE

BIG = 20_000_000  # bytes


def test_two_instances_with_the_same_selectors_reach_a_cloud_each(world: World) -> None:
    for name, cloud in (("ni4", "cloud1"), ("ni5", "cloud2")):
        tunnel = world.wait_up(name)
        assert tunnel.networks == (f"{SUBNET} === 192.168.0.0/24",)
        assert world.fetch(f"{name}/web", PAGE) == f"{cloud} to {APP}"


def test_outside_only_esp_in_udp_is_seen(world: World) -> None:
    world.wait_up("ni4")
    with world.watched("ni4") as seen:
        assert world.fetch("ni4/web", PAGE) == f"cloud1 to {APP}"
        tunnelled, clear = seen()
    assert any("UDP-encap: ESP" in packet for packet in tunnelled)
    assert clear == []


def test_a_capture_would_see_a_packet_in_the_clear(world: World) -> None:
    """The same capture sees the same page when an instance without a tunnel asks for it."""
    with world.watched("plain") as seen:
        world.run("plain/web", "curl", "-s", "--max-time", "2", PAGE, check=False)
        _, clear = seen()
    assert any("192.168.1.2." in packet and f"{ECHO}.80" in packet for packet in clear)


def test_nothing_else_is_reached(world: World) -> None:
    world.wait_up("ni4")
    assert world.reached({"outside": f"http://{OUTSIDE}/"}, app="plain/web", must=["outside"]) != {}
    elsewhere = {"outside": f"http://{OUTSIDE}/", "peer": "http://192.168.111.1/", "gateway": "http://192.168.1.1:53/"}
    assert world.reached(elsewhere, app="ni4/web") == {}


def test_who_is_in_the_namespace_itself_has_no_other_way_out(world: World) -> None:
    world.wait_up("ni4")
    assert f"cloud1 to {world.status('ni4').subnet and '10.10.10.1'}" in world.host.fetch(PAGE, netns="ni4")
    for address in (OUTSIDE, "192.168.111.1", "192.168.1.1"):
        done = world.host.run(["ping", "-c", "1", "-w", "2", address], netns="ni4", check=False)
        assert done.returncode, done.stdout


def test_the_cloud_reaches_the_app_by_its_own_address(world: World) -> None:
    world.wait_up("ni4")
    world.serve("ni4/web", "page", 80, "app")
    assert world.clouds["cloud1"].server.fetch(f"http://{APP}/") == "app to 192.168.0.1\n"


def test_dns_asks_nobody_in_the_clear(world: World) -> None:
    world.wait_up("ni4")
    with world.watched("ni4") as seen:
        asked = world.run("ni4/web", "busybox", "nslookup", "www.example.test", "10.10.10.1", check=False)
        assert "198.51.100" not in asked
        _, clear = seen()
    assert clear == []
    assert "www.example.test" not in "".join(world.topology.dns_log(number) for number in range(3))
    assert "10.10.10.80" in world.run("ni4/web", "busybox", "nslookup", "web.ni4.internal", "10.10.10.1")


def test_large_transfers_and_packets_that_may_not_be_cut(world: World) -> None:
    world.wait_up("ni4")
    server = world.clouds["cloud1"].server
    server.sh(f"mkdir -p /run/big; head -c {BIG} /dev/zero > /run/big/file")
    server.start(["sh", "-c", "cd /run/big && busybox httpd -p 8000 && echo ready"])
    size = world.run("ni4/web", "curl", "-sS", "-o", "/dev/null", "-w", "%{size_download}", f"http://{ECHO}:8000/file")
    assert int(size) == BIG
    told = world.run("ni4/web", "ping", "-M", "do", "-s", "1450", "-c", "1", "-w", "5", ECHO, check=False)
    assert "Frag needed" in told
    mtu = int(told.partition("mtu = ")[2].partition(")")[0])
    fits = world.run("ni4/web", "ping", "-M", "do", "-s", str(mtu - 28), "-c", "1", "-w", "10", ECHO)
    assert "1 received" in fits
    assert f" mtu {mtu} " in world.host.sh("ip link show br0", netns="ni4")


def test_status_and_metrics_count_what_passes(world: World) -> None:
    before = world.wait_up("ni4")
    world.run("ni4/web", "ping", "-q", "-c", "50", "-i", "0.01", ECHO)
    wait_until(lambda: world.tunnel("ni4").sent_packets >= before.sent_packets + 50, what="50 packets more")
    tunnel = world.tunnel("ni4")
    assert tunnel.received_packets >= before.received_packets + 50
    assert tunnel.sent_bytes >= before.sent_bytes + 50 * 84
    assert (tunnel.esp, tunnel.remote) == (who_encrypts(world), "192.168.111.1:4500")
    assert tunnel.since
    assert "AES" in tunnel.cipher
    wait_until(lambda: counted(world).get("sent packets", 0) >= tunnel.sent_packets, what="the metrics tell of it")
    told = world.daemon.cli("describe", "instance", "ni4", check=True).stdout
    assert f"{SUBNET} === 192.168.0.0/24" in told
    assert "TunnelsUp" in told


def counted(world: World) -> dict[str, int]:
    """Return what the metrics say of ni4's tunnel."""
    services = {one.service: one.counters for one in world.metrics("ni4").services}
    return services.get("tunnel cloud", {})


def test_an_apps_rules_hold_through_a_tunnel(world: World) -> None:
    world.wait_up("ni5")
    server = world.clouds["cloud2"].server
    world.serve("ni5/web", "page", 81, "app")
    ping = ["ping", "-c", "1", "-w", "2", ECHO]
    assert "1 received" in world.run("ni5/web", *ping)
    assert server.fetch(f"http://{APP}:81/").startswith("app to")
    app = world.config["instances"]["ni5"]["apps"]["web"]
    app["rules"] = [{"name": "pages", "protocol": "tcp", "ports": [80]}]
    world.configure()
    try:
        wait_until(lambda: "1 received" not in world.run("ni5/web", *ping, check=False), what="echo is dropped")
        assert world.fetch("ni5/web", PAGE) == f"cloud2 to {APP}"
        assert world.reached({"app": f"http://{APP}:81/"}, host=server) == {}
    finally:
        del app["rules"]
        world.configure()
    wait_until(lambda: "1 received" in world.run("ni5/web", *ping, check=False), what="echo passes")
