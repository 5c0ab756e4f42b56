"""The fast path alone moves instances; a whole daemon's next pass would hide that it is gone."""

from __future__ import annotations

import json
import sys

from tests.hosts import Topology
from tests.hosts.host import ROOT


def test_an_uplink_that_goes_down_is_left_without_a_pass() -> None:
    with Topology(2) as topology:
        host = topology.host
        mark = {name: 0x100 + int(host.sh(f"cat /sys/class/net/{name}/ifindex")) for name in ("eth0", "eth1")}
        done = host.run([sys.executable, "-m", "tests.functional.uplinks.steering"], env={"PYTHONPATH": str(ROOT)})
    found = json.loads(done.stdout)
    assert found["before"] == {"v-red": mark["eth0"], "v-blue": mark["eth0"]}
    assert found["moved"]
    assert found["after"] == {"v-red": mark["eth1"], "v-blue": mark["eth0"]}  # blue may use no other
    assert not found["again"]
