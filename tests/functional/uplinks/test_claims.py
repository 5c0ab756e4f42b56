"""Port maps that name their uplink: where they are reached, which way answers go, and two who want the same."""

from __future__ import annotations

from tests.functional.uplinks.rig import Rig, ends
from tests.hosts import wait_until
from tests.hosts.topology import OUTSIDE

# claimer is on eth0; `spare` means eth1 and eth2.
DOORS = {
    f"{port} by eth{number}": f"http://192.168.{number}.2:{port}/" for port in (8092, 8093, 8094) for number in range(3)
}
OPEN = {"8092 by eth1", "8093 by eth1", "8093 by eth2", "8094 by eth0"}


def test_a_port_map_is_on_the_uplinks_it_names(moving: Rig) -> None:
    pages = moving.reached(DOORS, host=moving.topology.outside, must=OPEN)
    assert set(pages) == OPEN
    assert set(pages.values()) == {f"claimer to {OUTSIDE}"}
    listed = {(one.uplink, one.outer.rpartition(":")[2]) for one in moving.status("claimer").portmaps}
    assert listed == {("eth1", "8092"), ("eth1", "8093"), ("eth2", "8093"), ("eth0", "8094")}


def test_answers_leave_by_the_uplink_on_which_the_question_came(moving: Rig) -> None:
    pages = []
    seen = moving.seen(
        "tcp portrange 8092-8094",
        lambda: pages.append(moving.topology.outside.fetch("http://192.168.1.2:8092/")),
    )
    assert pages == [f"claimer to {OUTSIDE}\n"]
    assert ends(seen["eth1"]) == {f"{OUTSIDE} > 192.168.1.2", f"192.168.1.2 > {OUTSIDE}"}
    assert seen["eth0"] == seen["eth2"] == []


def test_a_port_map_of_one_uplink_outlives_a_failure_of_the_selected_one(moving: Rig) -> None:
    moving.cables[0].unplug()
    try:
        moving.wait_bound("claimer", "eth1")
        expected = {*OPEN - {"8094 by eth0"}, "8094 by eth1"}  # which is where the selected one is now
        wait_until(lambda: set(moving.reached(DOORS, host=moving.topology.outside)) == expected, what="the doors")
    finally:
        moving.cables[0].plug()
    moving.wait_bound("claimer", "eth0")
    wait_until(lambda: set(moving.reached(DOORS, host=moving.topology.outside)) == OPEN, what="the doors as before")


def test_the_second_who_claims_a_port_is_told_and_the_first_keeps_it(moving: Rig) -> None:
    thief = {"address": "10.9.0.80", "ports": ["wired:8070:80", "spare:8092:80"]}
    moving.config["instances"]["thief"] = {
        "uplinks": ["wired", "spare"],
        "subnet": "10.9.0.0/24",
        "apps": {"web": thief},
    }
    moving.configure()
    try:
        wait_until(lambda: "8092" in complaint(moving), what="the complaint")
        assert "claimer" in complaint(moving)
        assert "eth1" in complaint(moving)
        assert moving.topology.outside.fetch("http://192.168.1.2:8092/") == f"claimer to {OUTSIDE}\n"
    finally:
        del moving.config["instances"]["thief"]
        moving.configure()
    wait_until(lambda: "v-thief" not in moving.host.sh("ip -br link"), what="thief's end")
    moving.wait_bound("claimer", "eth0")


def complaint(rig: Rig) -> str:
    """Return what the status of `thief` says of what it can't have."""
    status = rig.status("thief")
    return " ".join(
        [status.reason, status.last_error, *(one.reason for one in status.conditions if not one.ok)]
    ).strip()
