"""apply, plan, delete and describe, for uplinks."""

from __future__ import annotations

import json
from typing import Any

from tests.hosts import Daemon, wait_until


def uplink(daemon: Daemon, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(daemon.cli("describe", "uplink", name, "-o", "json", check=True).stdout)
    return found


def configured(daemon: Daemon) -> Any:
    return uplink(daemon, "eth0")["config"]


def test_apply_keeps_an_uplink_in_a_file_of_its_own_and_delete_removes_it(daemon: Daemon) -> None:
    text = "uplinks:\n  # the cable\n  eth0: {cost: 7, labels: [wired]}\n"
    done = daemon.cli("apply", "-f", "-", "-o", "json", text=text)
    assert done.returncode == 0, done.stderr
    [row] = json.loads(done.stdout)
    assert (row["name"], row["action"], row["file"]) == (
        "uplink/eth0",
        "created",
        "/etc/nsvisor/uplink.eth0.yaml",
    )
    path = daemon.host.path("/etc/nsvisor/uplink.eth0.yaml")
    assert path.read_text() == text
    wait_until(lambda: uplink(daemon, "eth0")["cost"] == 7, what="eth0 with its cost")
    assert uplink(daemon, "eth0")["labels"] == ["wired"]
    again = daemon.cli("apply", "-f", "-", "-o", "json", text=text, check=True)
    assert json.loads(again.stdout)[0]["action"] == "unchanged"
    done = daemon.cli("delete", "uplink", "eth0")
    assert (done.returncode, done.stdout) == (0, "uplink/eth0 deleted\n")
    assert not path.exists()
    wait_until(lambda: uplink(daemon, "eth0")["cost"] == 0, what="eth0 with the default cost")
    done = daemon.cli("delete", "uplink", "eth0")
    assert done.returncode == 3
    assert "no file in /etc/nsvisor defines an uplink eth0; see `nsvisor get uplinks`" in done.stderr


def test_an_instance_and_the_uplink_whose_label_it_names_are_applied_together(daemon: Daemon) -> None:
    text = "uplinks: {eth0: {labels: [wired]}}\ninstances: {cable: {uplinks: [wired]}, every: {uplinks: all}}\n"
    assert "ip netns add cable" in daemon.cli("plan", "-f", "-", text=text, check=True).stdout
    done = daemon.cli("apply", "-f", "-", text=text)
    assert done.returncode == 0, done.stderr
    assert {daemon.instance(name)["uplink"] for name in ("cable", "every")} == {"eth0"}
    daemon.host.put_file("/run/together.yaml", text)
    daemon.cli("delete", "-f", "/run/together.yaml", check=True)
    assert not daemon.host.path("/etc/nsvisor/uplink.eth0.yaml").exists()


def test_a_mistake_in_an_uplink_is_told_and_the_last_good_config_in_force(daemon: Daemon) -> None:
    done = daemon.cli("apply", "-f", "-", text="uplinks:\n  eth0: {cost: 256}\n")
    assert done.returncode == 6
    assert "-:2: uplinks.eth0.cost: a cost of 256 is not possible; use 0 to 255" in done.stderr
    daemon.cli("apply", "-f", "-", text="uplinks: {eth0: {cost: 3}}", check=True)
    daemon.configure("uplinks:\n  eth0: {cost: 256}\n", "uplink.eth0.yaml")
    wait_until(lambda: uplink(daemon, "eth0")["problems"], what="the mistake in the status")
    [problem] = uplink(daemon, "eth0")["problems"]
    assert (problem["line"], problem["field"], problem["value"]) == (2, "uplinks.eth0.cost", "256")
    assert configured(daemon) == {"cost": 3}
    assert "uplink.eth0.yaml:2" in daemon.cli("doctor", "-q").stdout
    daemon.cli("delete", "uplink", "eth0", check=True)
    wait_until(lambda: configured(daemon) is None, what="eth0 without a config")
