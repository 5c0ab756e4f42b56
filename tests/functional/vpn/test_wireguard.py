"""Tunnels by WireGuard: two peers of one link, with the real kernel at both ends."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pubsub.topics import State
from tests.functional.vpn.test_kill_switch import held
from tests.functional.vpn.test_secrets import places
from tests.functional.vpn.world import APP, ECHO, PAGE, SECRETS, SUBNET, World
from tests.hosts import Topology, wait_until
from tests.hosts.topology import OUTSIDE
from tests.hosts.wireguard import PORT, WireguardCloud, kernel_has_wireguard, new_key, new_secret, public_key

pytestmark = pytest.mark.skipif(not kernel_has_wireguard(), reason="this kernel has no WireGuard: see scripts/test-vm")

LANS = {"cloud1": "192.168.0", "cloud2": "192.168.77"}
ADDRESSES = {"cloud1": "192.168.111.1", "cloud2": "192.168.222.1"}
PRIVATE = new_key() if kernel_has_wireguard() else ""


def peer(cloud: WireguardCloud) -> dict[str, object]:
    return {
        "public_key": cloud.public, "remote": cloud.address, "remote_subnets": [cloud.lan],
        "secret_file": f"{SECRETS}/{cloud.name}.psk", "keepalive": "1s",
    }  # fmt: skip


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """One instance with a peer in each cloud, and one without tunnels; both have the same subnet."""
    with contextlib.ExitStack() as stack:
        topology = Topology(3)
        stack.callback(topology.__exit__, None, None, None)
        clouds = {}
        for name, address in ADDRESSES.items():
            secret = new_secret()
            cloud = WireguardCloud(
                topology.gateway, name, address, client=public_key(PRIVATE), secret=secret, lan=LANS[name]
            )
            clouds[name] = stack.enter_context(cloud)
            topology.host.put_file(f"{SECRETS}/{name}.psk", f"{secret}\n", mode=0o600)
        topology.host.put_file(f"{SECRETS}/ni6.key", f"{PRIVATE}\n", mode=0o600)
        wireguard = {"key_file": f"{SECRETS}/ni6.key", "peers": {name: peer(one) for name, one in clouds.items()}}
        config = {
            "uplinks": {"eth1": {"cost": 10}, "eth2": {"cost": 20}},
            "instances": {
                "ni6": {
                    "type": "vpn", "subnet": SUBNET, "uplinks": ["eth1", "eth2"], "vpn": {"wireguard": wireguard},
                    "apps": {"web": {"address": APP}},
                },
                "plain": {"uplinks": ["eth1"], "subnet": SUBNET},
            },
        }  # fmt: skip
        yield stack.enter_context(World(topology, config, ["ni6/web", "plain/web"], clouds))


def cloud(world: World, name: str = "cloud1") -> WireguardCloud:
    found = world.clouds[name]
    assert isinstance(found, WireguardCloud)
    return found


def wait_up(world: World) -> None:
    """Return once the instance is ready and its app reaches both clouds."""
    for name in LANS:
        wait_until(lambda name=name: world.tunnel("ni6", name).up, what=f"the tunnel {name}")  # type: ignore[misc]
    wait_until(lambda: world.status("ni6").state == State.READY, what="ni6 is ready")
    for name, lan in LANS.items():
        assert world.fetch("ni6/web", f"http://{lan}.1/") == f"{name} to {APP}"


def test_an_app_reaches_both_clouds_and_they_reach_it(world: World) -> None:
    wait_up(world)
    tunnel = world.tunnel("ni6", "cloud2")
    assert (tunnel.kind, tunnel.remote) == ("wireguard", f"192.168.222.1:{PORT}")
    assert tunnel.networks == (f"{SUBNET} === 192.168.77.0/24",)
    assert tunnel.public_key == public_key(PRIVATE)
    assert tunnel.handshake
    world.serve("ni6/web", "page", 80, "app")
    assert cloud(world).server.fetch(f"http://{APP}/") == "app to 192.168.0.1\n"
    told = world.daemon.cli("describe", "instance", "ni6", check=True).stdout
    assert public_key(PRIVATE) in told
    assert "ChaCha20-Poly1305" in told


def test_outside_only_wireguards_packets_are_seen(world: World) -> None:
    wait_up(world)
    with world.watched("ni6", PORT) as seen:
        assert world.fetch("ni6/web", PAGE) == f"cloud1 to {APP}"
        tunnelled, clear = seen()
    assert tunnelled
    assert clear == []


def test_the_same_capture_sees_a_packet_in_the_clear(world: World) -> None:
    with world.watched("ni6", PORT) as seen:
        world.run("plain/web", "curl", "-s", "--max-time", "2", PAGE, check=False)
        _, clear = seen()
    assert any("192.168.1.2." in packet and f"{ECHO}.80" in packet for packet in clear)


def test_nothing_else_is_reached(world: World) -> None:
    wait_up(world)
    elsewhere = {"outside": f"http://{OUTSIDE}/", "peer": "http://192.168.111.1/", "gateway": "http://192.168.1.1:53/"}
    assert world.reached({"outside": f"http://{OUTSIDE}/"}, app="plain/web", must=["outside"]) != {}
    assert world.reached(elsewhere, app="ni6/web") == {}
    for address in (OUTSIDE, "192.168.111.1", "192.168.1.1"):
        done = world.host.run(["ping", "-c", "1", "-w", "2", address], netns="ni6", check=False)
        assert done.returncode, done.stdout


@pytest.mark.parametrize(
    "broken",
    [
        ":",
        "nft delete table inet nsvisor",
        "ip rule flush; ip rule add pref 0 lookup local; ip rule add pref 32766 lookup main",
    ],
    ids=["both guards", "without nft", "without rules"],
)
def test_without_its_link_nothing_gets_out_and_either_guard_alone_holds(world: World, broken: str) -> None:
    wait_up(world)
    with world.watched("ni6", PORT) as seen:
        with held(world.daemon.pid, world.status("ni6").pid):
            world.host.sh(f"{broken}; ip link del wg0", netns="ni6")
            assert world.run("ni6/web", "curl", "-sS", "--max-time", "1", PAGE, check=False).strip() == ""
            for command in ("ping -q -c 20 -i 0.01 -w 1", "busybox nslookup -type=a x.test"):
                world.run("ni6/web", "sh", "-c", f"timeout 1 {command} {ECHO} || true")
            world.host.run(["ping", "-q", "-c", "5", "-i", "0.01", "-w", "1", ECHO], netns="ni6", check=False)
        wait_up(world)
        tunnelled, clear = seen()
    assert tunnelled
    assert clear == []


def test_a_killed_manager_loses_no_packet_and_no_keys(world: World) -> None:
    wait_up(world)
    before, manager = cloud(world).seen("latest-handshakes"), world.status("ni6").pid
    shown = configured(world)
    flow = world.stream("ni6/web", ECHO)
    os.kill(manager, signal.SIGKILL)
    wait_until(lambda: world.status("ni6").pid not in (0, manager), what="another manager")
    wait_up(world)
    counted = flow.stop()
    print(f"a killed manager: {counted}, handshake {before} -> {cloud(world).seen('latest-handshakes')}")
    assert counted["sent"] > 50
    assert counted["lost"] == 0, counted
    assert configured(world) == shown


CHANGES = {
    "a peer is removed": "wg set wg0 peer {one} remove",
    "another endpoint": "wg set wg0 peer {one} endpoint 192.168.222.9:1",
    "another network": "wg set wg0 peer {one} allowed-ips 192.168.99.0/24",
    "a network more": "wg set wg0 peer {one} allowed-ips {lan},10.99.0.0/16",
    "no keepalive": "wg set wg0 peer {one} persistent-keepalive 0",
    "no secret": "wg set wg0 peer {one} preshared-key /dev/null",
    "a stranger": "wg set wg0 peer {stranger} allowed-ips 10.98.0.0/16",
    "another key": "wg genkey | wg set wg0 private-key /dev/stdin",
    "a mark": "wg set wg0 fwmark 5",
    "another port": "wg set wg0 listen-port 4",
    "no link": "ip link del wg0",
    "down": "ip link set wg0 down",
}


def test_whatever_is_changed_by_hand_is_back(world: World) -> None:
    """Each alone; where one peer is changed, the other one keeps its session."""
    wait_up(world)
    one, other = cloud(world), cloud(world, "cloud2").public
    before = configured(world)
    for what, change in CHANGES.items():
        kept = handshake(world, other)
        log = len(world.host.read_file(f"{world.daemon.run_dir}/logs/ni6.log"))
        stranger = public_key(new_key())
        world.host.sh(change.format(one=one.public, lan=one.lan, stranger=stranger), netns="ni6")
        wait_until(lambda: configured(world) == before, what=f"the link is as it was: {what}")
        if "{one}" in change:
            assert kept
            assert handshake(world, other) >= kept
        said = world.host.read_file(f"{world.daemon.run_dir}/logs/ni6.log")[log:]
        assert "wg set wg0" in said or "ip link set wg0" in said, what
        assert PRIVATE not in said
    print(f"{len(CHANGES)} changes, all repaired")
    wait_up(world)


def configured(world: World) -> list[str]:
    """Return what wg(8) shows of the instance's link, and whether that is up."""
    shown = world.host.sh("wg showconf wg0; ip -o link show wg0", netns="ni6", check=False)
    return sorted(line.partition(": ")[2] if " mtu " in line else line for line in shown.splitlines())


def handshake(world: World, key: str) -> int:
    """Return when the last handshake with a peer was; 0: none yet."""
    shown = dict(line.split() for line in world.host.sh("wg show wg0 latest-handshakes", netns="ni6").splitlines())
    return int(shown[key])


def test_a_tunnel_moves_with_its_instance_and_comes_back(world: World) -> None:
    wait_up(world)
    world.wait_bound("ni6", "eth1")
    flow = world.stream("ni6/web", ECHO)
    world.cables[1].unplug()
    try:
        world.wait_bound("ni6", "eth2")
        wait_until(lambda: cloud(world).seen("endpoints").startswith("192.168.2.2:"), what="the peer knows eth2's")
        assert world.fetch("ni6/web", PAGE) == f"cloud1 to {APP}"
    finally:
        world.cables[1].plug()
        world.host.sh("ip route replace default via 192.168.1.1 dev eth1 metric 100")
    world.wait_bound("ni6", "eth1")
    wait_until(lambda: cloud(world).seen("endpoints").startswith("192.168.1.2:"), what="the peer knows eth1's")
    assert world.fetch("ni6/web", PAGE) == f"cloud1 to {APP}"
    counted = flow.stop()
    print(f"there and back: {counted}")
    assert counted["received"]


def test_a_peer_that_dies_is_noticed_and_its_return_too(world: World) -> None:
    wait_up(world)
    cloud(world).kill()
    try:
        flow = world.stream("ni6/web", "192.168.77.1")  # the other peer's, which goes on
        world.host.popen(world.inside("ni6/web", "ping", "-q", "-w", "3000", ECHO))
        world.wait_reason("ni6", "tunnel cloud1: the peer doesn't answer")
        assert world.status("ni6").state == State.DEGRADED
        assert world.tunnel("ni6", "cloud2").up
        counted = flow.stop()
        assert counted["lost"] == 0, counted
    finally:
        cloud(world).start()
    wait_up(world)
    assert "doesn't answer" in world.tunnel("ni6", "cloud1").last_error


def test_secrets_are_in_their_files_and_in_their_instance_only(world: World) -> None:
    wait_up(world)
    secret = world.host.read_file(f"{SECRETS}/cloud1.psk").strip()
    folder = world.folder("ni6")
    assert places(world, PRIVATE) == {f"{SECRETS}/ni6.key", f"{folder}/vpn-wg0.wg-key"}
    assert places(world, secret) == {f"{SECRETS}/cloud1.psk", f"{folder}/vpn-cloud1.wg-psk"}
    commands = (("describe", "instance", "ni6", "-o", "yaml"), ("get", "instances", "-o", "yaml"), ("logs", "ni6"))
    told = "".join(world.daemon.cli(*command).stdout for command in commands)
    assert PRIVATE not in told
    assert secret not in told


@pytest.mark.parametrize("file", ["ni6.key", "cloud1.psk"])
def test_a_file_without_a_key_is_told_and_the_tunnel_stays(world: World, file: str) -> None:
    wait_up(world)
    path = Path(SECRETS, file)
    before = world.host.read_file(path)
    world.host.put_file(path, "no key\n", mode=0o600)
    try:
        world.wait_reason("ni6", "holds no key of WireGuard")
        assert world.fetch("ni6/web", PAGE) == f"cloud1 to {APP}"
    finally:
        world.host.put_file(path, before, mode=0o600)
    wait_up(world)


def test_another_secret_is_taken_over(world: World) -> None:
    wait_up(world)
    one = cloud(world)
    path, secret = f"{SECRETS}/cloud1.psk", new_secret()
    before = world.host.read_file(path)
    for text in (secret, before):
        one.edge.put_file("/run/wg.psk", text, mode=0o600)
        one.edge.sh(f"wg set wg0 peer {public_key(PRIVATE)} preshared-key /run/wg.psk")
        world.host.put_file(path, text, mode=0o600)
        shown = f"{one.public}\t{text.strip()}"
        wait_until(lambda: shown in world.host.sh("wg show wg0 preshared-keys", netns="ni6"), what="the new secret")  # noqa: B023
        wait_up(world)


def test_what_becomes_local_has_nothing_of_wireguard_left_and_comes_back(world: World) -> None:
    wait_up(world)
    before = dict(world.config["instances"]["ni6"])
    world.config["instances"]["ni6"] |= {"type": "local", "vpn": None}
    world.configure()
    try:
        wait_until(lambda: (world.status("ni6").type, world.status("ni6").state) == ("local", "ready"), what="local")
        left = world.host.sh(
            "ip rule; ip route show table 195; ip -br link; nft list ruleset", netns="ni6", check=False
        )
        assert not [word for word in ("lookup 195", "wg0", "sealed", "192.168.222.1") if word in left]
        assert not [*world.host.path(world.folder("ni6")).glob("vpn-*")]
    finally:
        world.config["instances"]["ni6"] = before
        world.configure()
    wait_up(world)
