"""`settings.packet_steering` spreads instances' flows over the processors; what is changed by hand comes back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.packet_steering import mask
from supervisor.supervisor import FULL_PASS
from tests.functional.uplinks.rig import Rig
from tests.hosts import Topology, wait_until
from tests.hosts.topology import OUTSIDE

RPS = "/sys/class/net/v-red/queues/rx-0/rps_cpus"
ALL = sum(1 << number for number in os.sched_getaffinity(0))
FLOWS = 200
RECEIVED_RPS = 9  # column of softnet_stat: how often another processor handed packets over (scaling.rst)
SEND = f"""
import socket
for port in range({FLOWS}):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
        flow.sendto(b"x", ("{OUTSIDE}", 20000 + port))
"""

pytestmark = pytest.mark.skipif(ALL.bit_count() < 2, reason="one processor")


@pytest.fixture
def rig() -> Iterator[Rig]:
    config = {"settings": {"packet_steering": True}, "instances": {"red": {}, "air": {"uplinks": []}}}
    with Rig(Topology(), config, ["red/web"]) as rig:
        yield rig


def processors(rig: Rig) -> int:
    return int(rig.host.read_file(RPS).replace(",", ""), 16)


def handed_over() -> int:
    """Return how often one processor of this machine gave packets to another."""
    return sum(int(line.split()[RECEIVED_RPS], 16) for line in Path("/proc/net/softnet_stat").read_text().splitlines())


def test_flows_are_spread_over_the_processors(rig: Rig) -> None:
    assert processors(rig) == ALL
    before = handed_over()
    rig.run("red/web", "python3", "-c", SEND)
    assert handed_over() > before
    assert rig.fetch("red/web", f"http://{OUTSIDE}/") == "outside to 192.168.0.2"


def test_it_comes_back_when_changed_by_hand_and_goes_with_the_setting(rig: Rig) -> None:
    rig.host.sh(f"echo 1 > {RPS}")
    wait_until(lambda: processors(rig) == ALL, FULL_PASS / 2, "packets are steered again")  # no event tells
    assert f"host: echo {mask(ALL)} > {RPS}" in rig.daemon.log()
    rig.config["settings"] = {"packet_steering": False}
    rig.configure()
    wait_until(lambda: processors(rig) == 0, what="packets are steered no more")
    rig.config["settings"] = {"packet_steering": True}
    rig.configure()
    wait_until(lambda: processors(rig) == ALL, what="packets are steered once more")
