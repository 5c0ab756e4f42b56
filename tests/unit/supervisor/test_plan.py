"""What the host must look like, as the commands an administrator would type."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from ipaddress import IPv4Network

import msgspec
import pytest

from nsmanager.items.nftables import NftTable
from pubsub.topics import NetworkInstanceConfig
from pubsub.values import PortMap
from supervisor.facts import Facts, Uplink
from supervisor.plan import Plan
from tests.unit.supervisor.samples import SMALL, WEB, facts, planned, uplink

AIR_GAPPED = msgspec.structs.replace(SMALL, uplinks=())
ON_ETH1 = msgspec.structs.replace(SMALL, uplinks=("eth1",))
LOST = msgspec.structs.replace(SMALL, uplinks=("eth9",))
HOST = facts(uplink(), uplink(1), stand=("red", "blue"), ports=("red/web",))
CASES: dict[str, tuple[dict[str, NetworkInstanceConfig], Facts]] = {
    "none": ({}, HOST),
    "one": ({"red": SMALL}, HOST),
    "air-gapped": ({"red": AIR_GAPPED}, HOST),
    "two-uplinks": ({"red": WEB, "blue": ON_ETH1}, HOST),
    "not-yet-a-namespace": ({"red": WEB}, facts(uplink())),
    "unknown-uplink": ({"red": LOST}, HOST),
    "uplink-without-carrier": ({"red": SMALL}, facts(uplink(up=False), stand=("red",))),
    "a-strangers-link": ({"red": SMALL}, facts(uplink(), Uplink("v-red", 9, up=True), stand=("red",))),
    "vlan-uplink": (
        {"red": msgspec.structs.replace(SMALL, uplinks=("eth0.5",))},
        facts(dataclasses.replace(uplink(), ifname="eth0.5"), stand=("red",)),
    ),
}


def script(plan: Plan) -> str:
    return "\n".join(map(str, plan.items))


@pytest.mark.parametrize("name", CASES)
def test_the_plan_is(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"plan-{name}", script(planned(*CASES[name])))


@pytest.mark.parametrize("name", CASES)
def test_no_two_items_stand_at_one_key(name: str) -> None:
    keys = [item.key for item in planned(*CASES[name]).items]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("name", CASES)
def test_a_plan_depends_on_its_arguments_alone(name: str) -> None:
    configs, host = CASES[name]
    assert planned(configs, host) == planned(dict(configs), host)


def test_what_fails_closed_comes_before_what_lets_through() -> None:
    lines = script(planned(*CASES["two-uplinks"])).splitlines()
    closed = next(n for n, line in enumerate(lines) if "type unreachable" in line and "fwmark 0" in line)
    assert closed < min(n for n, line in enumerate(lines) if line.startswith(("nft", "ip link add")))


def test_the_number_of_rules_depends_on_uplinks_not_on_instances() -> None:
    def rules(count: int) -> int:
        names = [f"i{number}" for number in range(count)]
        plan = planned(dict.fromkeys(names, SMALL), facts(uplink(), stand=tuple(names)))
        return sum(line.startswith("ip rule") for line in script(plan).splitlines())

    assert rules(1) == rules(100)


def test_an_instance_without_a_lot_is_left_out() -> None:
    assert not planned({}, HOST).instances


def test_the_smaller_mtu_counts() -> None:
    plan = planned({"red": SMALL}, facts(uplink(mtu=1400), stand=("red",)))
    assert plan.instances["red"].config.mtu == 1400
    assert "mtu 1400" in script(plan)


def test_a_port_is_the_older_instances() -> None:
    plan = planned({"red": WEB, "blue": WEB}, HOST)
    assert [portmap.outer for portmap in plan.instances["red"].mapped] == ["192.0.0.2:8080", "192.0.0.2:53"]
    assert not plan.instances["blue"].mapped


def test_the_same_port_of_two_uplinks_is_both_instances() -> None:
    plan = planned({"red": WEB, "blue": msgspec.structs.replace(WEB, uplinks=("eth1",))}, HOST)
    assert [p.outer for p in plan.instances["blue"].mapped] == ["192.0.1.2:8080", "192.0.1.2:53"]
    assert len(plan.instances["red"].mapped) == 2


def table(plan: Plan) -> str:
    (found,) = (item for item in plan.items if isinstance(item, NftTable))
    return found.transaction()


def test_instances_add_elements_and_no_rules() -> None:
    """Cost per packet must not grow with their number: beside the chain into each, only sets and maps differ."""

    def chains(count: int) -> list[str]:
        names = [f"i{number}" for number in range(count)]
        text = table(planned(dict.fromkeys(names, SMALL), facts(uplink(), stand=tuple(names))))
        return [line for line in text.splitlines() if not line.startswith(("add element", "  chain into_"))]

    assert chains(1) == chains(50)


def test_no_interval_set_concatenates() -> None:
    """libnftables 1.0.6 corrupts its memory when it reads one with an ifname: nsvisord ended at random."""
    text = table(planned(*CASES["two-uplinks"]))
    assert not [line for line in text.splitlines() if "interval" in line and " . " in line]


def test_a_port_map_is_an_element_by_uplink_and_address() -> None:
    text = table(planned(*CASES["two-uplinks"]))
    assert '"eth0" . 192.0.0.2 . tcp . 8080' in text
    assert "192.0.1.2 . tcp . 8080" not in text
    assert PortMap.parse("8080:80").inner == 80
    assert " : 100.127.0.1 . 8080" in text  # to the instance's end; the instance leads on to the app


def test_subnets_may_be_the_same() -> None:
    plan = planned({"red": SMALL, "blue": SMALL}, HOST)
    assert {instance.lot.subnet for instance in plan.instances.values()} == {IPv4Network("10.1.0.0/24")}
    assert len({instance.place.host_end for instance in plan.instances.values()}) == 2
