"""A kernel without WireGuard: the instance says so, and lets nothing out."""

from __future__ import annotations

import pytest

from tests.functional.vpn.world import ECHO, PAGE, SECRETS, SUBNET, World
from tests.hosts import Topology
from tests.hosts.wireguard import kernel_has_wireguard, new_key, public_key


@pytest.mark.skipif(kernel_has_wireguard(), reason="this kernel has WireGuard")
def test_what_this_kernel_lacks_is_told_and_nothing_gets_out() -> None:
    topology = Topology(2)
    try:
        topology.host.put_file(f"{SECRETS}/key", new_key(), mode=0o600)
        config = {"instances": {"plain": {"uplinks": ["eth1"], "subnet": SUBNET}}}
        with World(topology, config, ["plain/web"], {}) as world:
            peer = {"public_key": public_key(new_key()), "remote": "192.168.111.1", "remote_subnets": [f"{ECHO}/32"]}
            world.config["instances"]["ni6"] = {
                "type": "vpn", "subnet": SUBNET, "uplinks": ["eth1"],
                "vpn": {"wireguard": {"key_file": f"{SECRETS}/key", "peers": {"cloud": peer}}},
            }  # fmt: skip
            world.configure()
            world.wait_reason("ni6", "this kernel has no WireGuard")
            with world.cables[1].capture(f"host {ECHO} or host 192.168.111.1") as capture:
                world.run("plain/web", "curl", "-s", "--max-time", "2", PAGE, check=False)
                world.host.run(["ping", "-c", "3", "-i", "0.2", "-w", "2", "192.168.111.1"], netns="ni6", check=False)
            assert any(f"{ECHO}.80" in packet for packet in capture.packets)  # the other instance's: it would be seen
            assert not [packet for packet in capture.packets if "192.168.111.1" in packet]
    finally:
        topology.__exit__(None, None, None)
