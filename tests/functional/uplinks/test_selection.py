"""Which uplink an instance gets: by name, by label, by cost, any, none; and what stays as it is."""

from __future__ import annotations

from pubsub.topics import State
from tests.functional.uplinks.rig import RETRY, Rig, go_home
from tests.hosts import wait_until


def test_each_instance_is_on_the_cheapest_uplink_of_those_it_names(moving: Rig) -> None:
    go_home(moving)
    expected = {"mover": "eth0", "other": "eth2", "faithful": "eth1", "wide": "eth0"}
    for instance, ifname in expected.items():
        moving.wait_bound(instance, ifname)
        status = moving.status(instance)
        assert status.uplink_since > 0
        assert status.uplink_reason
        assert status.uplinks == (ifname,)
        assert moving.asker(f"{instance}/web") == f"192.168.{ifname[3:]}.2"
    assert {"mover", "wide"} <= set(moving.device("eth0").instances)
    assert not {"other", "even", "faithful", "none"} & set(moving.device("eth0").instances)


def test_an_instance_without_uplinks_has_no_link(moving: Rig) -> None:
    assert moving.status("none").state == State.READY
    assert "v-none" not in moving.host.sh("ip -br link")
    assert "outside" not in moving.asker("none/web", RETRY)


def test_labels_and_costs_are_followed_when_they_change(moving: Rig) -> None:
    config = moving.config["uplinks"]
    config["eth1"]["labels"] = ["wan"]  # `even` may use eth2 only
    config["eth1"]["cost"] = 0
    config["eth0"]["cost"] = 20  # `mover` and `wide` prefer eth1
    moving.configure()
    try:
        wait_until(lambda: moving.status("even").uplinks == ("eth2",), what="one uplink in use")
        for instance in ("mover", "wide"):
            moving.wait_bound(instance, "eth1")
            moving.wait_asker(f"{instance}/web", "192.168.1.2")
        assert moving.device("eth0").cost == 20
        assert moving.device("eth1").labels == ("wan",)
    finally:
        config["eth1"]["labels"] = ["wan", "spare"]
        config["eth1"]["cost"] = 10
        del config["eth0"]["cost"]
        moving.configure()
    for instance, ifname in {"mover": "eth0", "wide": "eth0", "faithful": "eth1"}.items():
        moving.wait_bound(instance, ifname)
    wait_until(lambda: moving.status("even").uplinks == ("eth1", "eth2"), what="both uplinks in use")


def test_a_list_that_changes_moves_its_instance(moving: Rig) -> None:
    since = moving.wait_bound("faithful", "eth1").uplink_since
    moving.config["instances"]["faithful"]["uplinks"] = ["wired"]
    moving.configure()
    try:
        assert moving.wait_bound("faithful", "eth0").uplink_since > since
        moving.wait_asker("faithful/web", "192.168.0.2")
    finally:
        moving.config["instances"]["faithful"]["uplinks"] = ["eth1", "eth2"]
        moving.configure()
    moving.wait_bound("faithful", "eth1")


def test_names_that_mean_no_uplink_are_told(moving: Rig) -> None:
    moving.config["instances"]["lost"] = {"uplinks": ["eth9", "moon"]}
    moving.configure()
    try:
        wait_until(lambda: moving.status("lost").state == State.WAITING, what="lost waits")
        reason = moving.status("lost").reason
        assert "'eth9', 'moon'" in reason or ("'eth9'" in reason and "'moon'" in reason)
        assert "eth0" in reason  # what is known
    finally:
        del moving.config["instances"]["lost"]
        moving.configure()
    wait_until(lambda: "v-lost" not in moving.host.sh("ip -br link"), what="lost's end")
