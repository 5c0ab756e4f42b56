"""get and describe of uplinks that are probed, and of the instances on them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.hosts import Daemon, Topology, wait_until
from tests.hosts.topology import OUTSIDE

SILENT = "198.51.100.77"  # nobody has this address outside
CONFIG = {
    "uplinks": {
        "eth0": {
            "labels": ["fibre"],
            "next_hop": {"interval": "500ms", "timeout": "500ms"},
            "endpoints": [
                {"to": f"icmp://{OUTSIDE}", "interval": "500ms", "timeout": "500ms"},
                {"to": f"tcp://{SILENT}:443", "interval": "500ms", "timeout": "500ms"},
            ],
        },
        "eth1": {"cost": 10, "labels": ["radio", "spare"]},
    },
    "instances": {
        "red": {"uplinks": ["radio"], "routes": [{"to": "172.16.0.0/12", "uplink": "fibre"}]},
        "both": {"uplinks": ["fibre", "spare"]},
    },
}


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Topology(2) as topology, Daemon(topology.host, CONFIG) as daemon:
        daemon.wait_ready("red", "both")
        yield daemon


def described(daemon: Daemon, kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(daemon.cli("describe", kind, name, "-o", "json", check=True).stdout)
    return found


def probes(daemon: Daemon) -> dict[str, dict[str, Any]] | None:
    """Return eth0's probes by name, as soon as each has tried and the silent one is known to be."""
    found = {probe["name"]: probe for probe in described(daemon, "uplink", "eth0")["probes"]}
    silent = found.get(f"tcp://{SILENT}:443")
    tried = len(found) > 2 and all(probe["history"] for probe in found.values())
    return found if tried and silent and not silent["up"] else None


def test_uplinks_are_listed_with_cost_labels_and_instances(daemon: Daemon) -> None:
    rows = {row["name"]: row for row in daemon.get("uplinks")}
    assert {name: (row["cost"], row["labels"], row["instances"], row["healthy"]) for name, row in rows.items()} == {
        "eth0": (0, ["fibre"], ["both"], True),
        "eth1": (10, ["radio", "spare"], ["red"], True),
    }
    text = daemon.cli("get", "uplinks", check=True).stdout
    assert text.splitlines()[0].split() == [
        *("NAME", "UP", "HEALTHY", "COST", "LABELS", "ADDRESSES", "GATEWAYS", "LATENCY", "INSTANCES", "REASON")
    ]
    assert re.search(r"^eth1 +yes +yes +10 +radio, spare +192\.168\.1\.2/24 +192\.168\.1\.1 ", text, re.MULTILINE)
    assert re.search(r" 0x[0-9a-f]{3} +196\d{3} ", daemon.cli("get", "uplinks", "-o", "wide", check=True).stdout)


def test_each_probe_is_described_with_its_history(daemon: Daemon) -> None:
    found = wait_until(lambda: probes(daemon), what="the probes' answers")
    answering, silent = found[f"icmp://{OUTSIDE}"], found[f"tcp://{SILENT}:443"]
    assert answering["up"]
    assert answering["latency"] > 0
    assert (silent["latency"], set(silent["history"]), bool(silent["error"])) == (0, {-1}, True)


@pytest.mark.parametrize(("name", "lost"), [("C.UTF-8", "×"), ("C", "x")])
def test_the_history_is_drawn_as_the_terminal_can(daemon: Daemon, name: str, lost: str) -> None:
    wait_until(lambda: probes(daemon), what="the probes' answers")
    environment = {**daemon.environment, "LC_ALL": name}
    text = daemon.host.run([daemon.command, "describe", "uplink", "eth0"], env=environment).stdout
    assert re.search(rf"tcp://{SILENT}:443 +no +- .* {lost}+  (\d+) of \1 lost$", text, re.MULTILINE)
    assert re.search(rf"icmp://{OUTSIDE} +yes +[\d.]+ ms .* ms", text)
    assert text.isascii() == (name == "C")


def test_an_instance_tells_its_uplink_since_when_and_why(daemon: Daemon) -> None:
    found = described(daemon, "instance", "red")
    assert (found["uplink"], found["uplinks"]) == ("eth1", ["eth1"])
    assert found["uplink_since"] > 0
    assert found["uplink_reason"]
    assert [route["to"] for route in found["static_routes"]] == ["172.16.0.0/12"]
    assert "172.16.0.0/12" in [route["to"] for route in found["told_routes"]]
    text = daemon.cli("describe", "instance", "red", check=True).stdout
    assert re.search(r"^uplink since: +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", text, re.MULTILINE)
    assert re.search(r"^static routes:$", text, re.MULTILINE)
