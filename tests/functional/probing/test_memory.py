"""What the probes found stays: over a restart, over changes of what doesn't concern them, over a link that rests."""

from __future__ import annotations

import json
from ipaddress import IPv4Interface

import msgspec

from supervisor.probing import Target
from tests.functional.probing.rig import RUN_DIR, SHORT, Rig, config, endpoint, next_hop, silence
from tests.hosts import wait_until

OUTSIDE = "tcp://198.51.100.1:80"


def down(rig: Rig) -> Target:
    """Have eth1's only endpoint fall silent after it answered; return the target when that is on disk."""
    target = Target(rig.uplink(1), config(endpoint(OUTSIDE, SHORT)))
    rig.follow(target)
    rig.wait_answered(target.uplink.ifname, 1)
    silence(rig.outside, "tcp dport 80")
    rig.wait_health(target.uplink.ifname, False)
    wait_until(lambda: not json.loads(rig.host.read_file(f"{RUN_DIR}/probes.json"))[f"eth1 {OUTSIDE}"].get("up", True))
    return target


def test_a_restart_keeps_the_state(rig: Rig) -> None:
    target = down(rig)
    before = rig.look()["statuses"]["eth1"][0]
    rig.kill()  # without any chance to save: what brought it down is on disk at once
    rig.start()
    seen = rig.follow(target)
    after = seen["statuses"]["eth1"][0]
    assert not seen["health"]["eth1"]["healthy"]
    assert (after["up"], after["since"], after["latency"]) == (False, before["since"], before["latency"])
    assert after["history"][: len(before["history"])][-4:] == [-1.0] * 4
    assert oct(rig.host.path(f"{RUN_DIR}/probes.json").stat().st_mode)[-3:] == "600"


def test_answers_are_on_disk_too(rig: Rig) -> None:
    rig.follow(Target(rig.uplink(1), config(hop=next_hop())))
    file = rig.host.path(f"{RUN_DIR}/probes.json")
    wait_until(lambda: file.exists() and json.loads(file.read_text())["eth1 arp 192.168.1.1"]["run"] >= 20)


def test_a_damaged_file_costs_the_past_only(rig: Rig) -> None:
    target = down(rig)
    rig.kill()
    rig.host.put_file(f"{RUN_DIR}/probes.json", '{"eth1 tcp:')
    rig.start()
    assert rig.follow(target)["health"]["eth1"]["healthy"]
    assert "probes.json can't be read" in rig.log()
    rig.wait_health("eth1", False)


def test_changes_that_do_not_concern_a_probe_leave_it_alone(rig: Rig) -> None:
    target = down(rig)
    before = rig.look()["statuses"]["eth1"][0]
    uplink = msgspec.structs.replace(target.uplink, mtu=1400, forwarded=True)
    labelled = msgspec.structs.replace(target.config, cost=9, labels=("lte",))
    more = msgspec.structs.replace(labelled, endpoints=(*labelled.endpoints, endpoint("tcp://198.51.100.1:81", SHORT)))
    for changed in (Target(uplink, labelled), Target(uplink, more)):
        seen = rig.follow(changed, Target(rig.uplink(0), config()))
        status = seen["statuses"]["eth1"][0]
        assert (status["up"], status["since"]) == (False, before["since"])
        assert status["history"][:3] == before["history"][:3] or len(status["history"]) == 60


def test_a_changed_address_keeps_the_state_and_is_probed_by_the_new_one(rig: Rig) -> None:
    target = down(rig)
    rig.host.sh("ip addr flush dev eth1; ip addr add 192.168.1.9/24 dev eth1")
    moved = msgspec.structs.replace(target.uplink, addresses=(IPv4Interface("192.168.1.9/24"),))
    assert not rig.follow(Target(moved, target.config))["health"]["eth1"]["healthy"]
    rig.wait(lambda seen: "no connection" in seen["statuses"]["eth1"][0]["error"])


def test_probes_of_a_link_that_is_down_rest_and_keep_their_state(rig: Rig) -> None:
    up, resting = (rig.uplink(1, up=up) for up in (True, False))
    good = config(hop=next_hop(timeout=SHORT))
    rig.follow(Target(up, good), Target(rig.uplink(0), good))
    rig.wait_answered("eth1", 3)
    rig.follow(Target(resting, good), Target(rig.uplink(0), good))
    rig.host.sh("ip link set eth1 down")
    before = rig.look()["statuses"]["eth1"]
    count = len(rig.look()["statuses"]["eth0"][0]["history"])
    rig.wait(lambda seen: len(seen["statuses"]["eth0"][0]["history"]) >= min(count + 10, 60))
    assert rig.look()["statuses"]["eth1"] == before
    assert rig.look()["health"]["eth1"]["healthy"]
    rig.host.sh("ip link set eth1 up")
    rig.follow(Target(up, good))
    rig.wait(lambda seen: len(seen["statuses"]["eth1"][0]["history"]) > len(before[0]["history"]))
    assert before[0]["since"] == rig.look()["statuses"]["eth1"][0]["since"]


def test_a_gateway_that_was_away_for_a_moment_comes_back_as_it_was(rig: Rig) -> None:
    """A link that goes down loses its default route; what was found of its gateway isn't lost with it."""
    target = Target(rig.uplink(1), config(hop=next_hop(timeout=SHORT)))
    rig.gateway.sh("ip link set up1 arp off")
    rig.follow(target)
    rig.wait_health("eth1", False)
    without = msgspec.structs.replace(target.uplink, routes=())
    assert rig.follow(Target(without, target.config))["health"]["eth1"]["healthy"]
    assert not rig.follow(target)["health"]["eth1"]["healthy"]


def test_a_link_that_is_down_has_what_it_has_to_prove_still(rig: Rig) -> None:
    target = Target(rig.uplink(1), config(hop=next_hop(timeout=SHORT)))
    rig.gateway.sh("ip link set up1 arp off")
    rig.follow(target)
    rig.wait_health("eth1", False)
    seen = rig.follow(Target(msgspec.structs.replace(target.uplink, up=False, routes=()), target.config))
    assert [status["name"] for status in seen["statuses"]["eth1"]] == ["next hop 192.168.1.1"]
    assert not seen["health"]["eth1"]["healthy"]


def test_who_is_not_followed_is_not_told_of(rig: Rig) -> None:
    rig.follow(Target(rig.uplink(1), config(hop=next_hop())))
    rig.wait_answered("eth1", 1)
    seen = rig.follow(Target(rig.uplink(0), config()))
    assert list(seen["health"]) == ["eth0"]
    assert seen["statuses"]["eth0"] == []
