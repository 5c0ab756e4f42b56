"""Rules by a host's name in two instances that look alike: each opens only what its own apps have resolved."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.functional.uplinks.rig import PYTHON, TALK, WHO_PORT, Rig
from tests.hosts import Topology, wait_until
from tests.hosts.topology import OUTSIDE, OUTSIDE6, near

NAME, ALIKE = "www.cdn.test", "www.evilcdn.test"
TTL = 10  # seconds, of both
LAST = {NAME: 11, ALIKE: 12}  # the last number of their addresses
ROUTER = "10.1.0.1"
SHORT = "0.5"  # seconds for an answer that must not come; its drop is counted beside
ONE: dict[str, Any] = {
    "uplinks": ["eth0"],
    "subnet": "10.1.0.0/24",
    "subnet6": "fd00:1::/64",
    "apps": {"app": {"address": "10.1.0.80", "rules": [{"name": "cdn", "host": "cdn.test"}]}},
}
CONFIG: dict[str, Any] = {"uplinks": {"eth0": {"next_hop": {"method": "none"}}}, "instances": {"a": ONE, "b": ONE}}
FAMILIES = ("a", "aaaa")  # the types of their records
NET_ADMIN, NET_RAW, NET_BIND_SERVICE = 1 << 12, 1 << 13, 1 << 10  # capabilities(7)


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    """Both instances behind one gateway, whose dnsmasq knows the names."""
    with Rig(Topology(1, ipv6=True, names=LAST, name_ttl=TTL), CONFIG, ["a/app", "b/app"]) as made:
        made.topology.outside.start([*PYTHON, TALK, "who", WHO_PORT])
        yield made


def address(family: str, name: str = NAME) -> str:
    return near(OUTSIDE if family == "a" else OUTSIDE6, LAST[name])


def url(family: str, name: str = NAME) -> str:
    found = address(family, name)
    return f"http://{f'[{found}]' if ':' in found else found}/"


def resolve(rig: Rig, instance: str, family: str, name: str = NAME, then: str = "") -> str:
    """Have an app ask its instance's DNS, and do something at once with what it is then allowed to."""
    script = f"busybox nslookup -type={family} {name} {ROUTER}" + (f" && {then}" if then else "")
    said = rig.run(f"{instance}/app", "sh", "-c", script)
    assert address(family, name) in said, said
    return said


def resolve_and_fetch(rig: Rig, instance: str, family: str) -> None:
    """Have an app get the page by what it resolves; the set is filled before the answer comes: no packet is lost."""
    before = dropped(rig, instance)
    assert "outside" in resolve(rig, instance, family, then=f"curl -sSf --max-time 60 '{url(family)}'")
    assert dropped(rig, instance) == before


def dropped(rig: Rig, instance: str) -> int:
    """Return how many packets of the app no rule has let through."""
    listed = rig.host.sh(f"ip netns exec {instance} nft -j list counters table inet nsvisor")
    counters = (item["counter"] for item in json.loads(listed)["nftables"] if "counter" in item)
    return next(int(one["packets"]) for one in counters if one["name"] == "met/app/default")


def is_closed(rig: Rig, instance: str, family: str, name: str = NAME) -> bool:
    """Tell whether an address can't be reached and the packets to it were dropped by the last rule."""
    before = dropped(rig, instance)
    said = rig.run(f"{instance}/app", "curl", "-sS", "--max-time", SHORT, url(family, name), check=False)
    return not said and dropped(rig, instance) > before


@pytest.mark.parametrize("family", FAMILIES)
def test_an_address_is_open_for_the_instance_that_resolved_it(rig: Rig, family: str) -> None:
    wait_until(lambda: is_closed(rig, "a", family) and is_closed(rig, "b", family), what="nothing is open yet")
    resolve_and_fetch(rig, "a", family)
    assert is_closed(rig, "b", family)
    resolve_and_fetch(rig, "b", family)


@pytest.mark.parametrize("family", FAMILIES)
def test_when_the_answer_has_ended_no_new_connection_is_opened_and_the_old_ones_live(rig: Rig, family: str) -> None:
    resolve(rig, "a", family)
    with rig.held("a/app", address(family), 1) as ask:
        first = ask()
        wait_until(lambda: is_closed(rig, "a", family), what="the address is closed again")
        assert ask() == first and "error" not in first[0]
        assert is_closed(rig, "a", family)  # what goes on opens nothing
    resolve_and_fetch(rig, "a", family)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_name_that_ends_in_the_same_letters_opens_nothing(rig: Rig, family: str) -> None:
    resolve(rig, "a", family, ALIKE)
    assert is_closed(rig, "a", family, ALIKE)


@pytest.mark.parametrize("instance", ["a", "b"])
def test_dnsmasq_fills_the_sets_without_being_root(rig: Rig, instance: str) -> None:
    resolve_and_fetch(rig, instance, "a")
    status = rig.host.read_file(f"/proc/{rig.dnsmasq(instance)}/status")
    fields = dict(re.findall(r"^(\w+):\s*(.*)$", status, re.MULTILINE))
    assert set(fields["Uid"].split()).isdisjoint({"0", str(rig.status(instance).uid_base)})
    assert int(fields["CapEff"], 16) & ~(NET_ADMIN | NET_RAW | NET_BIND_SERVICE) == 0
    assert int(fields["CapEff"], 16) & NET_ADMIN
