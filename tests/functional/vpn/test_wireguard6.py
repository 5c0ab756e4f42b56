"""IPv6 through WireGuard, and WireGuard over IPv6."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.functional.vpn.world import APP, PAGE, SECRETS, SUBNET, World
from tests.hosts import Topology
from tests.hosts.wireguard import PORT, WireguardCloud, kernel_has_wireguard, new_key, new_secret, public_key

pytestmark = pytest.mark.skipif(not kernel_has_wireguard(), reason="this kernel has no WireGuard: see scripts/test-vm")

LAN6 = "fd00:c1"
PREFIX = "fd00:10::/64"
OUTER6 = "2001:db8:c1::1"
INNER = f"net {SUBNET} or net {PREFIX} or net {LAN6}::/64"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """One instance with both protocols, and a tunnel to a cloud's IPv6 address."""
    with contextlib.ExitStack() as stack:
        topology = Topology(2, ipv6=True)
        stack.callback(topology.__exit__, None, None, None)
        private, secret = new_key(), new_secret()
        cloud = stack.enter_context(
            WireguardCloud(
                topology.gateway, "cloud1", "192.168.111.1", client=public_key(private), secret=secret,
                lan="192.168.0", address6=OUTER6, lan6=LAN6, clients6=PREFIX,
            )
        )  # fmt: skip
        topology.host.put_file(f"{SECRETS}/key", private, mode=0o600)
        topology.host.put_file(f"{SECRETS}/psk", secret, mode=0o600)
        peer = {
            "public_key": cloud.public, "remote": OUTER6, "remote_subnets": [cloud.lan, f"{LAN6}::/64"],
            "secret_file": f"{SECRETS}/psk",
        }  # fmt: skip
        config = {
            "instances": {
                "ni6": {
                    "type": "vpn", "subnet": SUBNET, "subnet6": PREFIX, "uplinks": ["eth1"],
                    "vpn": {"wireguard": {"key_file": f"{SECRETS}/key", "peers": {"cloud": peer}}},
                    "apps": {"web": {"address": APP}},
                }
            }
        }  # fmt: skip
        yield stack.enter_context(World(topology, config, ["ni6/web"], {"cloud1": cloud}))


def test_both_protocols_pass_and_nothing_goes_around(world: World) -> None:
    assert world.wait_up("ni6").remote == f"[{OUTER6}]:{PORT}"
    world.run("ni6/web", "busybox", "sh", "-c", "until ip -6 route | grep -q default; do sleep 0.05; done")
    with world.cables[1].capture(f"udp port {PORT} or ({INNER})") as capture:
        assert world.fetch("ni6/web", PAGE) == f"cloud1 to {APP}"
        assert world.fetch("ni6/web", f"http://[{LAN6}::1]/").startswith("cloud1 to fd00:10:")
    assert capture.packets
    assert all(f".{PORT}" in packet for packet in capture.packets)
    elsewhere = {"outside": "http://[2001:db8:ffff::1]/", "peer": f"http://[{OUTER6}]/"}
    assert world.reached(elsewhere, app="ni6/web") == {}
    for address in ("2001:db8:ffff::1", "2001:db8:1::1"):
        done = world.host.run(["ping", "-c", "1", "-w", "2", address], netns="ni6", check=False)
        assert done.returncode, done.stdout
