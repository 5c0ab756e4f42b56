"""Two clouds with the same LAN, an instance with a tunnel to each: one by a shared secret, one by certificates."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.functional.vpn.world import SECRET, World, connection, instance
from tests.hosts import Topology
from tests.hosts.cloud import Cloud, make_authority

ADDRESSES = {"cloud1": "192.168.111.1", "cloud2": "192.168.222.1"}


@pytest.fixture(scope="package")
def world() -> Iterator[World]:
    """The world; a test leaves its tunnels up, and its uplinks as they were. eth0 is in the clouds' LAN, too."""
    with contextlib.ExitStack() as stack:
        topology = Topology(3)
        host = topology.host
        stack.callback(topology.__exit__, None, None, None)
        proofs = make_authority(topology.gateway, "edge.test", "cloud2.test")
        clouds = {
            "cloud1": stack.enter_context(Cloud(topology.gateway, "cloud1", ADDRESSES["cloud1"], psk=SECRET)),
            "cloud2": stack.enter_context(
                Cloud(topology.gateway, "cloud2", ADDRESSES["cloud2"], certificates=proofs["cloud2.test"])
            ),
        }
        files = {
            "secret": f"{SECRET}\n",
            "ca.crt": proofs["edge.test"].authority,
            "edge.crt": proofs["edge.test"].certificate,
            "edge.key": proofs["edge.test"].key,
        }
        for name, content in files.items():
            host.put_file(f"/etc/nsvisor/secrets/{name}", content, mode=0o600)
        config: dict[str, Any] = {
            "uplinks": {"eth1": {"cost": 10}, "eth2": {"cost": 20}},
            "instances": {
                "ni4": instance(["eth1", "eth2"], connection(clouds["cloud1"])),
                "ni5": instance(["eth2"], connection(clouds["cloud2"])),
                "plain": {"uplinks": ["eth1"], "subnet": "10.10.10.0/24"},
            },
        }
        yield stack.enter_context(World(topology, config, ["ni4/web", "ni5/web", "plain/web"], clouds))
