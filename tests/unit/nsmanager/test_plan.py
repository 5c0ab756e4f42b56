"""What a namespace should hold, as the commands an administrator would type."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nsmanager.items.service import Service
from nsmanager.place import Place
from nsmanager.plan import plan
from pubsub.topics import NamespaceApp, NamespaceConfig, NamespaceLink, Route
from pubsub.values import AddressRange, Duration, MacAddress, PortMap

PLACE = Place("red", Path("/run/nsvisor"), Path("/var/lib/nsvisor"))
SMALL = NamespaceConfig(
    link=NamespaceLink(
        ifname="up0",
        address=IPv4Interface("100.127.0.1/31"),
        gateway=IPv4Address("100.127.0.0"),
        gateway_mac=MacAddress.parse("02:00:00:00:00:fe"),
    ),
    bridge=IPv4Interface("192.0.2.1/24"),
    mtu=1500,
    domain="red.internal",
    range=AddressRange.parse("192.0.2.64-192.0.2.191"),
    lease_time=Duration.parse("12h"),
    servers=(IPv4Address("100.127.0.0"),),
)
APPS = (
    NamespaceApp(
        name="web",
        mac=MacAddress.parse("02:00:00:00:00:80"),
        address=IPv4Address("192.0.2.80"),
        ports=(PortMap.parse("8080:80/tcp"), PortMap.parse("53:53/udp"), PortMap.parse("443:443")),
        ifname="p-web",
    ),
    NamespaceApp(name="roaming", mac=MacAddress.parse("02:00:00:00:00:81"), address=None, ifname="p-roaming"),
    NamespaceApp(name="idle", mac=MacAddress.parse("02:00:00:00:00:82"), address=IPv4Address("192.0.2.82")),
)
CONFIGS = {
    "small": SMALL,
    "air-gapped": msgspec.structs.replace(SMALL, link=None, servers=()),
    "apps": msgspec.structs.replace(SMALL, apps=APPS),
    "all": msgspec.structs.replace(
        SMALL,
        mtu=1400,
        apps=APPS,
        ntp=(IPv4Address("192.0.2.123"), IPv4Address("192.0.2.124")),
        routes=(Route(to=IPv4Network("198.51.100.0/24"), via=IPv4Address("192.0.2.2")),),
        hosts={"printer": IPv4Address("192.0.2.9"), "www.example.test": IPv4Address("203.0.113.1")},
        servers=(IPv4Address("203.0.113.53"), IPv4Address("203.0.113.54")),
    ),
}


def script(config: NamespaceConfig) -> str:
    """Return a plan as a shell script: files first, for their services need them."""
    lines = []
    for item in plan(config, PLACE):
        if isinstance(item, Service):
            lines += [f"cat > {path} <<'END'\n{text}END" for path, text in item.files + item.reloadable]
        lines.append(str(item))
    return "\n".join(lines)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_plan_is(name: str, golden: Callable[[str, str], None]) -> None:
    golden(name, script(CONFIGS[name]))


@pytest.mark.parametrize("name", CONFIGS)
def test_no_two_items_stand_at_one_key(name: str) -> None:
    keys = [item.key for item in plan(CONFIGS[name], PLACE)]
    assert len(keys) == len(set(keys))


def test_a_plan_depends_on_its_config_alone() -> None:
    assert script(CONFIGS["all"]) == script(CONFIGS["all"])
    assert plan(CONFIGS["all"], PLACE) == plan(CONFIGS["all"], PLACE)


@pytest.mark.parametrize(
    "change",
    [
        {"hosts": {"printer": IPv4Address("192.0.2.10")}},
        {"servers": ()},
        {"apps": APPS[:1]},
    ],
)
def test_hosts_servers_and_apps_are_reloaded(change: dict[str, Any]) -> None:
    before, after = (service(config) for config in (CONFIGS["all"], msgspec.structs.replace(CONFIGS["all"], **change)))
    assert before.start_digest == after.start_digest
    assert before.load_digest != after.load_digest


@pytest.mark.parametrize(
    "change",
    [
        {"domain": "blue.internal"},
        {"ntp": ()},
        {"routes": ()},
        {"mtu": 1500},
        {"lease_time": Duration(60)},
        {"range": AddressRange.parse("192.0.2.64-192.0.2.65")},
    ],
)
def test_all_else_needs_a_restart(change: dict[str, Any]) -> None:
    before, after = (service(config) for config in (CONFIGS["all"], msgspec.structs.replace(CONFIGS["all"], **change)))
    assert before.start_digest != after.start_digest
    assert before.load_digest == after.load_digest


def service(config: NamespaceConfig) -> Service:
    (found,) = (item for item in plan(config, PLACE) if isinstance(item, Service))
    return found
