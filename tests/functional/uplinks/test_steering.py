"""The fast path alone moves instances; a whole daemon's next pass would hide that it is gone."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.hosts import Topology
from tests.hosts.host import ROOT


@pytest.mark.parametrize("how", ["steer", "pass"])
def test_an_uplink_is_left_when_it_goes_and_taken_when_its_way_is_there(how: str) -> None:
    with Topology(2) as topology:
        host, cable = topology.host, topology.uplinks[0]
        mark = {name: 0x100 + int(host.sh(f"cat /sys/class/net/{name}/ifindex")) for name in ("eth0", "eth1")}
        argv = [sys.executable, "-m", "tests.functional.uplinks.steering", how]
        process = host.popen(argv, env={"PYTHONPATH": str(ROOT)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin
        assert process.stdout

        def found() -> tuple[bool, dict[str, int], list[str]]:
            assert process.stdout
            told = json.loads(process.stdout.readline())
            return told["moved"], told["bound"], told["ways"]

        def look() -> tuple[bool, dict[str, int], list[str]]:
            assert process.stdin
            process.stdin.write("look\n")
            process.stdin.flush()
            return found()

        both = {"v-red": mark["eth0"], "v-blue": mark["eth0"]}
        assert found() == (True, both, ["eth0", "eth1"])
        cable.unplug()
        left = {"v-red": mark["eth1"], "v-blue": mark["eth0"]}  # blue may use no other: it has no way now
        assert look() == (True, left, ["eth1"])
        assert look() == (how == "pass", left, ["eth1"])
        cable.plug()
        assert look() == (True, both, ["eth0", "eth1"])
