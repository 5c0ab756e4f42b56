"""What one namespace should hold: NamespaceConfig -> items, each after those it needs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Network, IPv6Interface, IPv6Network

from nsmanager import observing
from nsmanager.firewall import tables, watched
from nsmanager.item import Item
from nsmanager.items.address import Address
from nsmanager.items.bridge import DEFAULT_PRIORITY, LAST_PRIORITY, LLDP, Bridge
from nsmanager.items.link import Link
from nsmanager.items.neighbour import Neighbour
from nsmanager.items.port_vlans import UNTAGGED_VLAN, PortVlans
from nsmanager.items.route import Route
from nsmanager.items.service import Service
from nsmanager.items.sysctl import Sysctl
from nsmanager.names import BRIDGE, LINK_LOCAL, bridge_mac, eui64
from nsmanager.place import Place
from nsmanager.services import charon, dnsmasq, radvd
from nsmanager.vpn import routing
from pubsub.topics import InstanceType, NamespaceConfig, NamespaceLink

# In the order of their start; one that the config has no use for returns None.
SERVICES: tuple[Callable[[NamespaceConfig, Place], Service | None], ...] = (
    dnsmasq.service,
    radvd.service,
    charon.service,
)
ANYWHERE = IPv4Network("0.0.0.0/0")
ANYWHERE6 = IPv6Network("::/0")


def plan(config: NamespaceConfig, place: Place) -> tuple[Item, ...]:
    """Return the items of a namespace in the order of their creation: the firewall stands before links are up."""
    services = [service(config, place) for service in SERVICES]
    return (
        *tables(config, place),
        *_sysctls(config),
        *observing.sysctls(config),
        Link("lo", kind="loopback"),
        *routing.closed(config),
        *(_link(config.link, config) if config.link is not None else ()),
        *_bridge(config, place),
        *routing.inside(config),
        *_tunnel(config, place),
        *_ports(config),
        *(service for service in services if service is not None),
    )


def _sysctls(config: NamespaceConfig) -> Iterator[Sysctl]:
    """Yield the settings of the namespace as a whole, before there are links that take them over."""
    for which in ("all", "default"):
        # An address that nobody planned would be a way around the rules. Writing `all` writes it for each link, once:
        # from then on each has its own.
        yield Sysctl(f"net.ipv6.conf.{which}.disable_ipv6", "1", optional=True)
    yield Sysctl("net.ipv4.ip_forward", "1")  # first: it resets the redirects' settings
    for which in ("all", "default"):
        yield Sysctl(f"net.ipv4.conf.{which}.rp_filter", "1")
        yield Sysctl(f"net.ipv4.conf.{which}.accept_redirects", "0")
        yield Sysctl(f"net.ipv4.conf.{which}.send_redirects", "0")
        yield Sysctl(f"net.ipv4.conf.{which}.accept_source_route", "0")
    # A changed bridge address is added before the old one goes, and must not go with it.
    yield Sysctl("net.ipv4.conf.all.promote_secondaries", "1")
    if config.bridge6 is not None:
        yield Sysctl("net.ipv6.conf.all.forwarding", "1")
        yield Sysctl("net.ipv6.conf.all.accept_source_route", "-1")  # 0 would still take a routing header of type 2
    yield Sysctl("net.ipv6.conf.lo.disable_ipv6", "1" if config.bridge6 is None else "0", optional=True)
    # Frames between apps are switched: they pass the hooks of IP and conntrack only where apps have rules.
    for which in ("iptables", "ip6tables"):
        yield Sysctl(f"net.bridge.bridge-nf-call-{which}", str(int(watched(config))), optional=not watched(config))
    if watched(config) and any(app.vlan for app in config.apps):
        yield Sysctl("net.bridge.bridge-nf-filter-vlan-tagged", "1")
    yield Sysctl("net.bridge.bridge-nf-call-arptables", "0", optional=True)


def _link(link: NamespaceLink, config: NamespaceConfig) -> Iterator[Item]:
    """Yield what makes the instance's end of the veth to the host the way out."""
    yield Sysctl(f"net.ipv4.conf.{link.ifname}.rp_filter", "1")  # the link was born before the defaults were set
    yield Sysctl(f"net.ipv4.conf.{link.ifname}.send_redirects", "0")
    yield Link(link.ifname, mtu=config.mtu, mac=link.mac or "")
    yield from _ipv6(link.ifname, on=config.bridge6 is not None and link.address6 is not None)
    yield Address(link.ifname, link.address)
    yield Neighbour(link.ifname, link.gateway, link.gateway_mac)
    yield Route(ANYWHERE, via=link.gateway, dev=link.ifname)
    if config.bridge6 is not None and link.address6 is not None and link.gateway6 is not None:
        yield Address(link.ifname, link.address6)
        yield Neighbour(link.ifname, link.gateway6, link.gateway_mac)
        yield Route(ANYWHERE6, via=link.gateway6, dev=link.ifname)


def _bridge(config: NamespaceConfig, place: Place) -> Iterator[Item]:
    """Yield the bridge of the apps, its addresses, and the routes by apps that are routers."""
    mac = bridge_mac(place.name)
    yield Link(BRIDGE, kind="bridge", mtu=config.apps_mtu, mac=mac)
    yield from _ipv6(BRIDGE, on=config.bridge6 is not None)
    if config.bridge is not None:
        yield Address(BRIDGE, config.bridge)
    if config.bridge6 is not None:
        # Not the kernel's own, which waits for a carrier and for duplicates: radvd and DHCPv6 speak from it.
        yield Address(BRIDGE, IPv6Interface((eui64(LINK_LOCAL, mac), LINK_LOCAL.prefixlen)))
        yield Address(BRIDGE, config.bridge6)
    yield from observing.addresses(config)
    for route in config.app_routes:
        yield Route(route.to, via=route.via, dev=BRIDGE)


def _tunnel(config: NamespaceConfig, place: Place) -> Iterator[Item]:
    """Yield the links of the tunnels, and what is reached by them."""
    for link in routing.links(config, place):
        yield link
        yield from _ipv6(link.ifname, on=config.bridge6 is not None)
    yield from routing.through(config, place)


def _ports(config: NamespaceConfig) -> Iterator[Item]:
    """Yield the ports of the bridge: of a switch those that lead out, then the apps'."""
    vlans = {app.ifname: app.vlan for app in config.apps if app.ifname and app.vlan}
    if config.type is InstanceType.SWITCH:
        yield Bridge(
            BRIDGE,
            stp=config.stp,
            group_fwd_mask=LLDP if config.lldp else 0,
            vlan_filtering=bool(vlans),
            default_pvid=0 if vlans else UNTAGGED_VLAN,  # a port is in no VLAN until it is told which
            priority=LAST_PRIORITY if config.stp else DEFAULT_PRIORITY,
        )
    for ifname in (*config.outer, *(app.ifname for app in config.apps if app.ifname)):
        yield Link(ifname, mtu=config.port_mtu, master=BRIDGE)
        if vlans and ifname in config.outer:
            yield PortVlans(ifname, tagged=tuple(sorted({*vlans.values()} - {UNTAGGED_VLAN})))
        elif vlans:
            yield PortVlans(ifname, vlans.get(ifname, UNTAGGED_VLAN))


def _ipv6(ifname: str, *, on: bool) -> Iterator[Sysctl]:
    """Yield whether a link has IPv6, and then only with the addresses that are planned."""
    if not on:
        yield Sysctl(f"net.ipv6.conf.{ifname}.disable_ipv6", "1", optional=True)
        return
    yield Sysctl(f"net.ipv6.conf.{ifname}.addr_gen_mode", "1")  # IN6_ADDR_GEN_MODE_NONE
    yield Sysctl(f"net.ipv6.conf.{ifname}.accept_ra", "0")
    yield Sysctl(f"net.ipv6.conf.{ifname}.accept_redirects", "0")
    yield Sysctl(f"net.ipv6.conf.{ifname}.disable_ipv6", "0")
