"""A real virtual machine on a tap: its lease, its gateway and what is outside, all by its instance."""

from __future__ import annotations

import pytest

from tests.hosts import Daemon, Topology, wait_until
from tests.hosts.topology import OUTSIDE
from tests.hosts.vm import Unavailable, VirtualMachine, image

pytestmark = pytest.mark.timeout(900)  # seconds; once a kernel is downloaded, and there is no KVM
MAC = "02:00:00:00:00:77"


def test_a_guest_gets_its_lease_and_reaches_the_outside_also_after_its_power_was_cut(topology: Topology) -> None:
    try:
        image()
    except Unavailable as exc:
        pytest.skip(str(exc))
    vm = {"mac": MAC, "address": "10.1.0.77", "attach": {"tap": "vm0"}}
    red = {"subnet": "10.1.0.0/24", "uplinks": ["eth0"], "apps": {"vm": vm}}
    with Daemon(topology.host, {"instances": {"red": red}}) as daemon:
        daemon.wait_ready("red")
        for _ in range(2):
            guest = VirtualMachine(topology.host, "vm0", MAC, f"http://{OUTSIDE}/", "vm")
            assert guest.said("address") == "10.1.0.77/24"
            assert guest.said("ping") == "10.1.0.1"
            assert guest.said("page") == "outside to 192.168.0.2"
            guest.stop()
            wait_until(lambda: not attached(daemon), what="its tap is gone")
        assert daemon.instance("red")["state"] == "ready"


def attached(daemon: Daemon) -> bool:
    return next(bool(one["attached"]) for one in daemon.get("apps") if one["app"] == "vm")
