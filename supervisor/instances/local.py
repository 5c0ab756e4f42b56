"""A `local` instance: routed, NAT, DHCP and DNS; apps on a bridge behind the instance's own address."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from pubsub.topics import NamespaceApp, NamespaceConfig, NamespaceLink, NetworkInstanceConfig
from pubsub.values import AddressRange
from supervisor.instances.base import Place, Resolved
from supervisor.names import UPLINK_IFNAME, app_mac, host_mac, name_number


def resolve_local(config: NetworkInstanceConfig, place: Place) -> Resolved:
    """Make every choice of one valid config: bridge address, DHCP range, the apps' addresses and MACs."""
    subnet = place.subnet
    bridge = config.address or subnet.network_address + 1
    leased = config.dhcp.range or default_range(subnet, bridge)
    apps = resolve_apps(config, place, bridge, leased)
    namespace = NamespaceConfig(
        type=config.type,
        link=NamespaceLink(
            ifname=UPLINK_IFNAME, address=place.inner_end, gateway=place.host_end.ip, gateway_mac=host_mac(place.name)
        )
        if place.linked
        else None,
        bridge=IPv4Interface((bridge, subnet.prefixlen)),
        mtu=place.mtu,
        domain=config.dns.domain or f"{place.name}.internal",
        range=leased,
        lease_time=config.dhcp.lease_time,
        ntp=config.dhcp.ntp,
        routes=config.dhcp.routes,
        hosts=config.dns.hosts,
        servers=resolvers(config, place),
        apps=apps,
    )
    return Resolved(namespace, tuple((app.name, portmap) for app in apps for portmap in app.ports))


def resolvers(config: NetworkInstanceConfig, place: Place) -> tuple[IPv4Address, ...]:
    """Whom the instance's DNS asks: the configured, else the host's end, which passes on to the uplink's resolver."""
    if not place.linked:
        return ()
    return config.dns.servers or (place.host_end.ip,)


def default_range(subnet: IPv4Network, bridge: IPv4Address) -> AddressRange:
    """The middle half of the subnet; in a small one all that the bridge leaves."""
    first, last = int(subnet.network_address) + 1, int(subnet.broadcast_address) - 1
    if last - first + 1 >= 14:
        quarter = subnet.num_addresses // 4
        first, last = int(subnet.network_address) + quarter, int(subnet.broadcast_address) - quarter
    elif int(bridge) - first > last - int(bridge):
        last = int(bridge) - 1
    else:
        first = int(bridge) + 1
    return AddressRange(IPv4Address(first), IPv4Address(last))


def resolve_apps(
    config: NetworkInstanceConfig, place: Place, bridge: IPv4Address, leased: AddressRange
) -> tuple[NamespaceApp, ...]:
    """Give every configured app a MAC and an address; a running app without a config gets them by DHCP alone."""
    used: set[IPv4Address | None] = {app.address for app in config.apps.values()} | {bridge}
    apps = []
    for name in sorted(config.apps.keys() | place.ports.keys()):
        app = config.apps.get(name)
        address = None
        if app is not None:
            address = app.address or choose_address(name, place.subnet, leased, used)
            used.add(address)
        apps.append(
            NamespaceApp(
                name=name,
                mac=(app and app.mac) or app_mac(place.name, name),
                address=address,
                ports=app.ports if app else (),
                ifname=place.ports.get(name, ""),
            )
        )
    return tuple(apps)


def choose_address(
    app: str, subnet: IPv4Network, leased: AddressRange, used: set[IPv4Address | None]
) -> IPv4Address | None:
    """Choose outside the DHCP range, or inside where nothing else is left; None when the subnet is full."""
    inside = None
    for address in addresses_from(name_number(app), subnet):
        if address not in used:
            if address not in leased:
                return address
            inside = inside or address
    return inside


def addresses_from(start: int, subnet: IPv4Network) -> Iterator[IPv4Address]:
    """Yield the first 64 Ki usable addresses of the subnet at most, beginning somewhere that `start` decides."""
    usable = subnet.num_addresses - 2
    for step in range(min(usable, 65536)):
        yield subnet.network_address + 1 + (start + step) % usable
