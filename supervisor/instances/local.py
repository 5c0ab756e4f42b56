"""A `local` instance: routed, NAT, DHCP and DNS; apps on a bridge behind the instance's own address."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Interface

import msgspec

from nsmanager.names import eui64
from pubsub.topics import (
    AppConfig,
    AppRoute,
    Direction,
    Ipv6Mode,
    NamespaceApp,
    NamespaceConfig,
    NamespaceLink,
    NetworkInstanceConfig,
    Route,
    Rule,
)
from pubsub.values import AddressRange, PortMap
from supervisor.instances.base import Place, Resolved
from supervisor.names import UPLINK_IFNAME, app_mac, host_mac, inner_mac, name_number


def resolve_local(config: NetworkInstanceConfig, place: Place) -> Resolved:
    """Make every choice of one valid config: bridge address, DHCP range, the apps' addresses and MACs."""
    subnet = place.subnet
    bridge = config.address or subnet.network_address + 1
    leased = config.dhcp.range or default_range(subnet, bridge)
    apps = resolve_apps(config, place, bridge, leased)
    namespace = NamespaceConfig(
        type=config.type,
        link=resolve_link(place),
        bridge=IPv4Interface((bridge, subnet.prefixlen)),
        bridge6=IPv6Interface((place.subnet6.network_address + 1, place.subnet6.prefixlen)) if place.subnet6 else None,
        nat6=config.ipv6 is not Ipv6Mode.ROUTED,
        dhcp6=config.dhcp.v6,
        mtu=place.mtu,
        port_mtu=config.mtu,
        domain=config.dns.domain or f"{place.name}.internal",
        range=leased,
        lease_time=config.dhcp.lease_time,
        ntp=config.dhcp.ntp,
        routes=tuple(told_routes(config, place, bridge, apps)),
        app_routes=tuple(app_routes(config, apps)),
        hosts=config.dns.hosts,
        servers=resolvers(config, place),
        apps=apps,
        uplinks=tuple(sorted(named_uplinks(apps) & {*place.uplinks})),
        log=config.log,
        limits=config.limits,
    )
    return Resolved(namespace, tuple((app.name, portmap) for app in apps for portmap in app.ports))


def resolve_link(place: Place) -> NamespaceLink | None:
    """Return the instance's end of the veth to the host; None: air-gapped."""
    if not place.linked:
        return None
    return NamespaceLink(
        ifname=UPLINK_IFNAME,
        address=place.inner_end,
        gateway=place.host_end.ip,
        gateway_mac=host_mac(place.name),
        mac=inner_mac(place.name),
        address6=place.inner_end6,
        gateway6=place.host_end6.ip if place.host_end6 else None,
    )


def app_routes(config: NetworkInstanceConfig, apps: Iterable[NamespaceApp]) -> Iterator[AppRoute]:
    """Yield the static routes whose router is an app; one without an address is none yet."""
    addresses = {app.name: app.address for app in apps}
    for route in config.routes:
        if address := addresses.get(route.app):
            yield AppRoute(to=route.to, via=address)


def told_routes(
    config: NetworkInstanceConfig, place: Place, bridge: IPv4Address, apps: Iterable[NamespaceApp]
) -> Iterator[Route]:
    """Return what the apps are told by option 121: its own, the static routes, the uplink's networks; each once."""
    by_app = {route.to: route.via for route in app_routes(config, apps)}
    told = {route.to: route.via for route in config.dhcp.routes}
    for route in config.routes:
        via = by_app.get(route.to) if route.app else bridge
        if via is not None:
            told.setdefault(route.to, via)
    for network in place.connected:
        if not network.overlaps(place.subnet):  # else it is hidden by what lies on the bridge itself
            told.setdefault(network, bridge)
    return (Route(to=to, via=via) for to, via in told.items())


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
            # What is behind a link has a MAC address of its own, by which DHCP can't know it.
            address = app.address or (None if any_mac(app) else choose_address(name, place.subnet, leased, used))
            used.add(address)
        mac = (app and app.mac) or app_mac(place.name, name)
        apps.append(
            NamespaceApp(
                name=name,
                mac=mac,
                address=address,
                address6=eui64(place.subnet6, mac) if place.subnet6 and not (app and any_mac(app)) else None,
                ports=port_maps(app) if app else (),
                ifname=place.ports.get(name, ""),
                rules=named_rules(app.rules) if app else None,
                user_data=app.user_data if app else "",
                any_mac=app is not None and any_mac(app),
            )
        )
    return tuple(apps)


def any_mac(app: AppConfig) -> bool:
    """Whether what is behind an app's port may use any MAC address: a link leads to whatever is there."""
    return app.attach is not None and app.attach.link is not None and app.mac is None


def port_maps(app: AppConfig) -> tuple[PortMap, ...]:
    """Return the port maps of an app, those of its rules too."""
    return app.ports + tuple(rule.portmap for rule in app.rules or () if rule.portmap is not None)


def named_rules(rules: tuple[Rule, ...] | None) -> tuple[Rule, ...] | None:
    """Return the rules, each with a name; a port map's is about connections from outside."""
    if rules is None:
        return None
    return tuple(
        msgspec.structs.replace(
            rule, name=rule.name or f"rule-{number}", direction=Direction.IN if rule.portmap else rule.direction
        )
        for number, rule in enumerate(rules, 1)
    )


def named_uplinks(apps: Iterable[NamespaceApp]) -> set[str]:
    """Return the ifnames and labels of uplinks that rules name."""
    return {rule.uplink for app in apps for rule in app.rules or ()}


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
