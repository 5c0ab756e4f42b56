"""What is done to come from what is there to what is planned, and in which order."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from hypothesis import given
from hypothesis import strategies as st

from nsmanager.item import Item
from nsmanager.items.address import Address
from nsmanager.items.link import Link
from nsmanager.items.neighbour import Neighbour
from nsmanager.items.nftables import NftTable
from nsmanager.items.route import Route
from nsmanager.items.rule import Rule
from nsmanager.items.service import Running, Service
from nsmanager.items.sysctl import Sysctl
from nsmanager.reconcile import diff

BRIDGE = Link("br0", kind="bridge", mtu=1500)
ADDRESS = Address("br0", IPv4Interface("192.0.2.1/24"))
DEFAULT = Route(IPv4Network("0.0.0.0/0"), via=IPv4Address("100.127.0.0"), dev="up0")
ITEMS: tuple[Item, ...] = (
    Sysctl("net.ipv4.ip_forward", "1"),
    BRIDGE,
    ADDRESS,
    DEFAULT,
    Rule(10, table=1000, mark=0x100),
    NftTable("inet", "nsvisor", "chain a { }"),
)


def found(*items: Item) -> dict[tuple[str, ...], Item]:
    return {item.key: item for item in items}


def commands(plan: tuple[Item, ...], observed: dict[tuple[str, ...], Item]) -> list[str]:
    return [str(change) for change in diff(plan, observed)]


def test_nothing_there_is_created_in_the_plans_order() -> None:
    assert commands(ITEMS, {}) == [str(item) for item in ITEMS]


def test_what_is_as_planned_is_left_alone() -> None:
    plan = (BRIDGE, ADDRESS, DEFAULT)
    assert not diff(plan, found(*plan))


def test_what_is_not_planned_goes_by_stage_in_reverse() -> None:
    assert commands((), found(BRIDGE, ADDRESS, DEFAULT)) == [
        "ip route del default proto 196",
        "ip addr del 192.0.2.1/24 dev br0",
        "ip link del br0",
    ]


def test_the_new_comes_before_the_old_goes() -> None:
    new = Address("br0", IPv4Interface("192.0.2.2/24"))
    assert commands((BRIDGE, new), found(BRIDGE, ADDRESS)) == [
        "ip addr add 192.0.2.2/24 dev br0",
        "ip addr del 192.0.2.1/24 dev br0",
    ]


def test_a_link_is_set_not_made_anew() -> None:
    assert commands((BRIDGE,), found(Link("br0", kind="bridge", mtu=1400))) == ["ip link set br0 mtu 1500 up"]


def test_what_a_link_does_not_ask_for_may_be_anything() -> None:
    assert not diff((Link("up0"),), found(Link("up0", kind="veth", mtu=1400, master="x", mac="02:00:00:00:00:01")))
    assert diff((Link("up0"),), found(Link("up0", up=False)))
    assert diff((Link("p", master="br0"),), found(Link("p")))


def test_a_link_that_somebody_renamed_gets_its_name_back() -> None:
    renamed = Link("up0", kind="veth", mac="02:00:00:00:00:01", called="away")
    assert commands((Link("up0", mac="02:00:00:00:00:01"),), found(renamed)) == ["ip link set away name up0"]


def test_a_strangers_link_does_not_match() -> None:
    assert diff((BRIDGE,), found(Link("br0", kind="bridge", mtu=1500, ours=False)))
    assert diff((BRIDGE,), found(Link("br0", kind="dummy", mtu=1500)))


def test_a_route_is_replaced_in_place() -> None:
    old = Route(DEFAULT.to, dev="lo")
    assert commands((DEFAULT,), found(old)) == ["ip route replace default via 100.127.0.0 dev up0 proto 196"]


def test_rules_are_compared_by_all_that_they_say() -> None:
    plan = (Rule(10, table=1000, mark=0x100),)
    assert not diff(plan, found(Rule(10, table=1000, mark=0x100, mask=0xFFFFFFFF)))
    assert commands(plan, found(Rule(10, table=1001, mark=0x100))) == [
        "ip rule add pref 10 fwmark 0x100 lookup 1000 protocol 196",
        "ip rule del pref 10 fwmark 0x100 lookup 1001 protocol 196",
    ]


def test_commands_are_those_of_an_administrator() -> None:
    pool = IPv4Network("100.127.0.0/16")
    assert [str(item) for item in (
        Link("br0", kind="bridge", mtu=1500, mac="02:00:00:00:00:01"),
        Link("up0", mtu=1500),
        Link("p-web", mtu=1500, master="br0"),
        Route(IPv4Network("0.0.0.0/0"), table=1000, type="unreachable", metric=4278198272),
        Route(IPv4Network("192.0.2.1/32"), table=1000, type="local", dev="eth0"),
        Route(IPv4Network("192.0.2.0/24"), table=1000, dev="eth0", src=IPv4Address("192.0.2.1")),
        Rule(1, "goto", target=100, iif="lo"),
        Rule(2, table=255, dst=pool),
        Rule(3, "unreachable", src=pool, mark=0, mask=0xFFFF),
        Neighbour("eth0", IPv4Address("192.0.2.9"), "02:00:00:00:00:09"),
    )] == [
        "ip link add br0 address 02:00:00:00:00:01 mtu 1500 group 196 up type bridge",
        "ip link set up0 mtu 1500 up",
        "ip link set p-web mtu 1500 master br0 up",
        "ip route add unreachable default table 1000 metric 4278198272 proto 196",
        "ip route add local 192.0.2.1/32 table 1000 dev eth0 proto 196",
        "ip route add 192.0.2.0/24 table 1000 dev eth0 src 192.0.2.1 proto 196",
        "ip rule add pref 1 iif lo goto 100 protocol 196",
        "ip rule add pref 2 to 100.127.0.0/16 lookup local protocol 196",
        "ip rule add pref 3 from 100.127.0.0/16 fwmark 0/0xffff type unreachable protocol 196",
        "ip neigh replace 192.0.2.9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent",
    ]  # fmt: skip


def test_a_service_is_reloaded_or_started_anew() -> None:
    service = Service(
        "x", ("x", "-f"), "/run/x.pid", files=(("/run/x.conf", "a\n"),), reloadable=(("/run/x.hosts", ""),)
    )
    paths = frozenset({"/run/x.conf", "/run/x.hosts"})

    def change(**differs: object) -> list[str]:
        facts = {"started": service.start_digest, "loaded": service.load_digest, "same_link": True}
        running = Running(**({"name": "x", "pid": 7, "files_as_planned": paths} | facts | differs))  # type: ignore[arg-type]
        return [str(change) for change in diff((service,), {running.key: running})]

    assert change() == []
    assert change(loaded="-") == change(files_as_planned=paths - {"/run/x.hosts"}) == ["kill -HUP $(cat /run/x.pid)"]
    assert change(started="-") == change(same_link=False) == ["kill 7; x -f"]
    assert change(files_as_planned=paths - {"/run/x.conf"}) == ["kill 7; x -f"]


@given(st.sets(st.sampled_from(ITEMS[1:5])), st.sets(st.sampled_from(ITEMS[1:5])))
def test_applied_changes_leave_the_plan(plan: set[Item], there: set[Item]) -> None:
    observed = found(*there)
    for change in diff(sorted(plan, key=ITEMS.index), observed):
        if change.item is None:
            del observed[change.key]
        else:
            observed[change.key] = change.item
    assert set(observed.values()) == plan
