"""`nsvisor flows` and `nsvisor dns` of a running system."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import pytest

from tests.functional.uplinks.rig import Rig
from tests.hosts import DEADLINE, Topology, wait_until
from tests.hosts.topology import OUTSIDE

CONFIG = {
    "uplinks": {"eth0": {"next_hop": {"method": "none"}}},
    "instances": {
        "red": {
            "log": {"flows": True, "dns": True},
            "apps": {"web": {"rules": [{"name": "pages", "ports": [80], "protocol": "tcp"}]}},
        },
        "blue": {},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with Rig(Topology(), CONFIG, ["red/web"]) as made:
        yield made


def test_flows_of_an_instance(rig: Rig) -> None:
    assert rig.daemon.cli("flows", "red", check=True).stdout == ""
    rig.fetch("red/web", f"http://{OUTSIDE}/")
    rig.run("red/web", "curl", "-s", "--max-time", "0.5", f"http://{OUTSIDE}:81/", check=False)

    def told() -> list[dict[str, object]]:
        lines = rig.daemon.cli("flows", "red", "-o", "json", check=True).stdout.splitlines()
        return [json.loads(line) for line in lines]

    wait_until(lambda: {"allowed", "dropped"} <= {str(one["verdict"]) for one in told()}, what="both")
    assert {(one["app"], one["rule"]) for one in told()} == {("web", "pages"), ("web", "default")}
    lines = rig.daemon.cli("flows", "red", "--verdict", "dropped", check=True).stdout.splitlines()
    assert lines[0].split()[:4] == ["ENDED", "APP", "VERDICT", "RULE"]
    assert lines[1:] and all(" dropped  default " in line for line in lines[1:])
    assert rig.daemon.cli("flows", "red", "--app", "other", check=True).stdout == ""
    assert len(rig.daemon.cli("flows", "red", "-n", "1", check=True).stdout.splitlines()) == 2


def test_dns_goes_on_with_what_comes(rig: Rig) -> None:
    argv = [rig.daemon.command, "dns", "red", "-f"]
    follower = rig.host.popen(argv, env=rig.daemon.environment, stdout=-1)
    assert follower.stdout
    assert follower.stdout.readline().startswith("ASKED")
    name = "www.example.test"
    subnet = rig.status("red").subnet
    assert subnet
    rig.run("red/web", "busybox", "nslookup", "-type=a", name, subnet[1])
    assert f"  {name}  " in follower.stdout.readline()
    follower.send_signal(signal.SIGINT)
    assert follower.wait(DEADLINE) == 0


def test_an_instance_without_logs_and_none(rig: Rig) -> None:
    done = rig.daemon.cli("flows", "blue", check=True)
    assert (done.stdout, "nothing was logged" in done.stderr) == ("", True)
    done = rig.daemon.cli("dns", "grey")
    assert done.returncode == 3
    assert "no instance grey" in done.stderr
