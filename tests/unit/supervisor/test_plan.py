"""What the host must look like, as the commands an administrator would type."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

import msgspec
import pytest

from nsmanager.items import nftables
from nsmanager.items.nftables import NftTable
from pubsub.topics import AppConfig, Ipv6Mode, NetworkInstanceConfig, StaticRoute
from pubsub.values import PortMap
from supervisor.conntrack import unbound
from supervisor.facts import Facts, Uplink, UplinkRoute
from supervisor.names import LAST_MARK, MARK_MASK
from supervisor.plan import Lot, Plan, Wanted, plan
from supervisor.uplinks.ways import router_marks
from tests.unit.supervisor.samples import SMALL, SUBNET, WEB, facts, planned, uplink

AIR_GAPPED = msgspec.structs.replace(SMALL, uplinks=())
ON_ETH1 = msgspec.structs.replace(SMALL, uplinks=("eth1",))
LOST = msgspec.structs.replace(SMALL, uplinks=("eth9",))
ROUTES = (
    StaticRoute(to=IPv4Network("172.16.0.0/12"), via=IPv4Address("192.0.0.9")),
    StaticRoute(to=IPv4Network("172.20.0.0/16"), uplink="eth1"),
    StaticRoute(to=IPv4Network("172.30.0.0/16"), uplink="lost"),
)
SIX = msgspec.structs.replace(
    uplink(),
    addresses6=(IPv6Interface("2001:db8::2/64"),),
    routes=(*uplink().routes, UplinkRoute(IPv6Network("::/0"), via=IPv6Address("fe80::1"), metric=1024)),
)
ROUTED = msgspec.structs.replace(SMALL, subnet6=IPv6Network("2001:db8:1::/64"), ipv6=Ipv6Mode.ROUTED)
NEXT_DOOR = msgspec.structs.replace(uplink(1), addresses=(IPv4Interface("192.0.0.3/24"),))
NAMED = msgspec.structs.replace(
    SMALL,
    apps={"web": AppConfig(address=IPv4Address("10.1.0.80"), ports=(PortMap.parse("eth1:8080:80"),))},
)
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
    "static-routes": (
        {"red": msgspec.structs.replace(SMALL, uplinks=("eth0",), routes=ROUTES)},
        HOST,
    ),
    "balance": ({"red": msgspec.structs.replace(SMALL, balance=True)}, HOST),
    "ipv6-routed": ({"red": ROUTED}, facts(SIX, stand=("red",))),
    "ipv6-off": ({"red": msgspec.structs.replace(SMALL, ipv6=Ipv6Mode.OFF)}, HOST),
    "ipv6-before-6.17": (
        {"red": SMALL},
        msgspec.structs.replace(facts(msgspec.structs.replace(SIX, accepts_ra=True), stand=("red",)), forced6=False),
    ),
    "one-lan": ({"red": SMALL}, facts(uplink(), NEXT_DOOR, stand=("red",))),
    "a-named-uplink": ({"red": NAMED}, HOST),
    "vlan-uplink": (
        {"red": msgspec.structs.replace(SMALL, uplinks=("eth0.5",))},
        facts(msgspec.structs.replace(uplink(), ifname="eth0.5"), stand=("red",)),
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


def test_a_failover_changes_elements_alone() -> None:
    configs = {f"i{number}": SMALL for number in range(3)}
    stand = tuple(configs)
    before = planned(configs, facts(uplink(), uplink(1), stand=stand)).table
    after = planned(configs, facts(uplink(up=False), uplink(1), stand=stand)).table
    assert before is not None
    assert after is not None
    assert before.text == after.text
    changed = {name for (name, was), (_, is_) in zip(before.elements, after.elements, strict=True) if was != is_}
    assert changed == {"uplink_of"}
    loaded = msgspec.structs.replace(before, loaded=digest_of(before))
    lines = after.redo(loaded).splitlines()[1:-1]
    assert [line.split()[0] for line in lines] == ["delete", "add"]
    assert '"v-i0" : 0x103' in lines[1]
    # Where somebody else changed the table, it is made anew.
    assert "flush table" in after.redo(msgspec.structs.replace(before, loaded=""))


def digest_of(table: NftTable) -> str:
    """Return what a table that was just loaded is observed with."""
    return next(
        text for text in (nftables._digest(table),) if table.matches(msgspec.structs.replace(table, loaded=text))
    )


def test_what_is_taken_over_from_the_plan_before_is_what_would_be_made_anew() -> None:
    configs = {"red": WEB, "blue": NAMED}
    moved = facts(uplink(up=False), uplink(1, mtu=1400), stand=("red", "blue"), ports=("red/web",))
    lots = {name: Lot(slot, config.subnet or SUBNET) for slot, (name, config) in enumerate(configs.items())}
    first = plan(Wanted(configs), HOST, lots)
    assert plan(Wanted(configs), moved, lots, first) == plan(Wanted(configs), moved, lots)
    assert plan(Wanted(configs), HOST, lots, first) == first


def test_connections_that_stick_to_a_dead_uplink_are_known() -> None:
    configs = {"red": SMALL, "blue": msgspec.structs.replace(SMALL, uplinks=("eth0",))}
    stand = ("red", "blue")
    before = planned(configs, facts(uplink(), uplink(1), stand=stand))
    after = planned(configs, facts(uplink(up=False), uplink(1), stand=stand))
    stuck = unbound(before, after)
    assert stuck.outbound == {("100.127.0.1", 0x102), ("fd6e:7376:6973::3", 0x102)}  # red's; blue has no other
    assert not stuck.everything
    gone = unbound(before, planned({"red": SMALL}, facts(uplink(), uplink(1), stand=stand)))
    assert gone.everything == {"100.127.0.3", "fd6e:7376:6973::5"}
    assert not unbound(before, before)


def test_each_router_of_a_static_route_has_a_mark_of_its_own() -> None:
    routers = [(f"eth{n % 3}", IPv4Address(0xC0000000 + n)) for n in range(500)]
    marks = router_marks(routers)
    assert len(set(marks.values())) == 500
    assert all(LAST_MARK < mark <= MARK_MASK for mark in marks.values())
    assert router_marks(routers[:1]) == {routers[0]: marks[routers[0]]}
