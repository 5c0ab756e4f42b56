"""What is known of uplinks and chosen for instances outlives unrelated changes and the supervisor."""

from __future__ import annotations

from tests.functional.uplinks.rig import Rig, go_home
from tests.hosts import wait_until


def test_probe_states_and_selections_survive_an_unrelated_change_and_a_restart(moving: Rig) -> None:
    """eth0's gateway stays silent: who forgot that would believe in eth0 again until the probes fail once more."""
    moving.wait_bound("mover", "eth0")
    moving.cables[0].silence()
    try:
        moved = moving.wait_bound("mover", "eth1")
        wait_until(lambda: not any(probe.up for probe in moving.device("eth0").probes), what="all probes are down")
        down = probed(moving)
        flow = moving.stream("mover/web")
        moving.config["instances"]["fresh"] = {"uplinks": ["eth2"]}
        moving.configure()
        moving.daemon.wait_ready("fresh")
        assert probed(moving) == down
        moving.daemon.kill()
        moving.daemon.start()
        moving.daemon.wait_ready("mover", "fresh")
        assert probed(moving) == down
        assert not moving.device("eth0").healthy
        assert moving.status("mover").uplink_since == moved.uplink_since
        counted = flow.stop()
        assert counted["lost"] == 0 < counted["received"], counted
    finally:
        moving.cables[0].speak()
        moving.config["instances"].pop("fresh", None)
        moving.configure()
    moving.wait_bound("mover", "eth0")
    wait_until(lambda: "v-fresh" not in moving.host.sh("ip -br link"), what="fresh's end")


def probed(rig: Rig) -> dict[str, tuple[bool, float]]:
    """Return of each probe of eth0 whether it is up, and since when."""
    return {probe.name: (probe.up, probe.since) for probe in rig.device("eth0").probes}


def test_of_equal_uplinks_the_present_one_stays_over_a_restart_too(moving: Rig) -> None:
    moving.wait_bound("faithful", "eth1")
    moving.cables[1].unplug()
    try:
        moved = moving.wait_bound("faithful", "eth2")
    finally:
        moving.cables[1].plug()
    wait_until(lambda: moving.device("eth1").healthy, what="eth1 is healthy again")
    flow = moving.stream("faithful/web")
    assert moving.status("faithful").uplink == "eth2"
    moving.daemon.kill()
    moving.daemon.start()
    moving.daemon.wait_ready("faithful")
    status = moving.status("faithful")
    assert (status.uplink, status.uplink_since) == ("eth2", moved.uplink_since)
    counted = flow.stop()
    assert counted["lost"] == 0 < counted["received"], counted
    go_home(moving)
