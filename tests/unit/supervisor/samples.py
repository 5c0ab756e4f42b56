"""A host, uplinks and instances as values, for the tests of what is decided about them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from pubsub.topics import AppConfig, DhcpConfig, DnsConfig, NetworkInstanceConfig, UplinkConfig
from pubsub.values import PortMap
from supervisor.facts import Facts, Health, Uplink, UplinkRoute
from supervisor.plan import Lot, Plan, Wanted, plan


def uplink(number: int = 0, *, up: bool = True, addressed: bool = True, mtu: int = 1500) -> Uplink:
    """Return eth<number>, 192.0.<number>.2/24 behind the gateway .1."""
    net = f"192.0.{number}"
    routes = (
        UplinkRoute(IPv4Network("0.0.0.0/0"), via=IPv4Address(f"{net}.1"), metric=100 * number),
        UplinkRoute(IPv4Network(f"{net}.0/24"), src=IPv4Address(f"{net}.2")),
    )
    return Uplink(
        ifname=f"eth{number}",
        ifindex=number + 2,
        up=up,
        mac=f"02:00:00:00:00:0{number}",
        mtu=mtu,
        addresses=(IPv4Interface(f"{net}.2/24"),) if addressed else (),
        routes=routes if addressed else (),
        resolvers=(IPv4Address(f"{net}.53"),),
    )


def facts(
    *uplinks: Uplink, stand: tuple[str, ...] = (), ports: tuple[str, ...] = (), health: dict[str, Health] | None = None
) -> Facts:
    """Return what a host is like; `ports` are running apps as `instance/app`."""
    running: dict[str, dict[str, str]] = {}
    for port in ports:
        instance, _, app = port.partition("/")
        running.setdefault(instance, {})[app] = f"p-{app}"
    return Facts({one.ifname: one for one in uplinks}, health or {}, namespaces=frozenset(stand), ports=running)


SUBNET = IPv4Network("10.1.0.0/24")
SMALL = NetworkInstanceConfig(subnet=SUBNET)
WEB = NetworkInstanceConfig(
    subnet=SUBNET,
    apps={
        "web": AppConfig(
            address=IPv4Address("10.1.0.80"), ports=(PortMap.parse("8080:80"), PortMap.parse("53:53/udp"))
        ),
        "idle": AppConfig(),
    },
    dhcp=DhcpConfig(ntp=(IPv4Address("192.0.2.123"),)),
    dns=DnsConfig(hosts={"printer": IPv4Address("10.1.0.9")}),
)


def planned(
    configs: dict[str, NetworkInstanceConfig], host: Facts, uplinks: dict[str, UplinkConfig] | None = None
) -> Plan:
    """Return the plan; slots are given in the order of the configs."""
    lots = {name: Lot(slot, config.subnet or SUBNET) for slot, (name, config) in enumerate(configs.items())}
    return plan(Wanted(configs, uplinks or {}), host, lots)
