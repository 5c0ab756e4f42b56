"""What a namespace should hold, as the commands an administrator would type."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nsmanager.items.service import Service
from nsmanager.names import eui64
from nsmanager.place import Place
from nsmanager.plan import plan
from pubsub.topics import AppRoute, Dhcp6Mode, NamespaceApp, NamespaceConfig, NamespaceLink, Route
from pubsub.values import AddressRange, Duration, MacAddress, PortMap

PLACE = Place("red", Path("/run/nsvisor"), Path("/var/lib/nsvisor"))
LINK = NamespaceLink(
    ifname="up0",
    address=IPv4Interface("100.127.0.1/31"),
    gateway=IPv4Address("100.127.0.0"),
    gateway_mac=MacAddress.parse("02:00:00:00:00:fe"),
)
SMALL = NamespaceConfig(
    link=LINK,
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
SMALL6 = msgspec.structs.replace(
    SMALL,
    link=msgspec.structs.replace(
        LINK,
        mac=MacAddress.parse("02:00:00:00:00:01"),
        address6=IPv6Interface("fd6e:7376:6973::1/127"),
        gateway6=IPv6Address("fd6e:7376:6973::"),
    ),
    bridge6=IPv6Interface("2001:db8:0:1::1/64"),
)
APPS6 = (
    msgspec.structs.replace(APPS[0], address6=IPv6Address("2001:db8:0:1:0:ff:fe00:80")),
    msgspec.structs.replace(APPS[1], address6=IPv6Address("2001:db8:0:1:0:ff:fe00:81")),
    APPS[2],
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
    "app-routes": msgspec.structs.replace(
        SMALL,
        routes=(Route(to=IPv4Network("198.51.100.0/24"), via=IPv4Address("192.0.2.80")),),
        app_routes=(
            AppRoute(to=IPv4Network("198.51.100.0/24"), via=IPv4Address("192.0.2.80")),
            AppRoute(to=IPv4Network("203.0.113.0/24"), via=IPv4Address("192.0.2.82")),
        ),
    ),
    "ipv6": msgspec.structs.replace(SMALL6, apps=APPS6, hosts={"idle": IPv4Address("192.0.2.9")}),
    "ipv6-stateful": msgspec.structs.replace(SMALL6, apps=APPS6, dhcp6=Dhcp6Mode.STATEFUL, mtu=1400),
    "ipv6-routed": msgspec.structs.replace(SMALL6, apps=APPS6, nat6=False),
    "ipv6-air-gapped": msgspec.structs.replace(SMALL6, link=None, servers=()),
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
    ("config", "change"),
    [
        ("all", {"hosts": {"printer": IPv4Address("192.0.2.10")}}),
        ("all", {"servers": ()}),
        ("all", {"routes": ()}),
        ("all", {"ntp": ()}),
        ("all", {"mtu": 1500}),
        ("all", {"apps": APPS[:1]}),
        ("ipv6", {"apps": APPS6[:1]}),
        ("ipv6-stateful", {"apps": APPS6[:1]}),
    ],
)
def test_hosts_servers_apps_and_options_are_reloaded(config: str, change: dict[str, Any]) -> None:
    before, after = changed("dnsmasq", config, change)
    assert before.start_digest == after.start_digest
    assert before.load_digest != after.load_digest


@pytest.mark.parametrize(
    ("config", "change"),
    [
        ("all", {"domain": "blue.internal"}),
        ("all", {"lease_time": Duration(60)}),
        ("all", {"range": AddressRange.parse("192.0.2.64-192.0.2.65")}),
        ("ipv6", {"bridge6": IPv6Interface("2001:db8:0:2::1/64"), "apps": APPS}),
        ("ipv6", {"dhcp6": Dhcp6Mode.STATEFUL, "apps": APPS}),
    ],
)
def test_all_else_needs_a_restart(config: str, change: dict[str, Any]) -> None:
    before, after = changed("dnsmasq", config, change)
    assert before.start_digest != after.start_digest


@pytest.mark.parametrize(
    "change",
    [
        {"mtu": 1400},
        {"domain": "blue.internal"},
        {"dhcp6": Dhcp6Mode.STATEFUL},
        {"bridge6": IPv6Interface("2001:db8:0:2::1/64")},
    ],
)
def test_what_radvd_tells_is_reloaded(change: dict[str, Any]) -> None:
    before, after = changed("radvd", "ipv6", change)
    assert before.start_digest == after.start_digest
    assert before.load_digest != after.load_digest


@pytest.mark.parametrize("change", [{"apps": ()}, {"hosts": {}}, {"servers": ()}, {"nat6": False}])
def test_radvd_is_not_told_of_what_it_does_not_tell(change: dict[str, Any]) -> None:
    before, after = changed("radvd", "ipv6", change)
    assert before == after


@pytest.mark.parametrize("name", ["small", "all", "app-routes"])
def test_without_ipv6_nothing_of_it_is_there(name: str) -> None:
    commands = [str(item) for item in plan(CONFIGS[name], PLACE)]
    assert {command for command in commands if "ipv6" in command} == {
        f"sysctl -w net.ipv6.conf.{which}.disable_ipv6=1" for which in ("all", "default", "lo", "up0", "br0")
    }
    # The bridge's table is the same everywhere: apps may talk to each other by link-local addresses.
    commands = [command for command in commands if "table bridge nsvisor" not in command]
    assert not [command for command in commands if "ip6 " in command or "-6" in command or "::" in command]


def test_an_eui64_address_is_as_rfc_4291_has_it() -> None:
    network = IPv6Network("2001:db8:0:1::/64")
    assert eui64(network, "34:56:78:9a:bc:de") == IPv6Address("2001:db8:0:1:3656:78ff:fe9a:bcde")
    assert eui64(network, "02:00:00:00:00:80") == IPv6Address("2001:db8:0:1:0:ff:fe00:80")


def changed(name: str, config: str, change: dict[str, Any]) -> tuple[Service, Service]:
    """Return a service of a config, and of the same with some fields changed."""
    before, after = CONFIGS[config], msgspec.structs.replace(CONFIGS[config], **change)
    return service(name, before), service(name, after)


def service(name: str, config: NamespaceConfig) -> Service:
    (found,) = (item for item in plan(config, PLACE) if isinstance(item, Service) and item.name == name)
    return found
