"""What one namespace should hold: NamespaceConfig -> items, each after those it needs. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network

from nsmanager import firewall
from nsmanager.item import Item
from nsmanager.items.address import Address
from nsmanager.items.link import Link
from nsmanager.items.neighbour import Neighbour
from nsmanager.items.route import Route
from nsmanager.items.sysctl import Sysctl
from nsmanager.names import BRIDGE, bridge_mac
from nsmanager.place import Place
from nsmanager.services import dnsmasq
from pubsub.topics import NamespaceConfig, NamespaceLink

SERVICES = (dnsmasq.service,)  # in the order of their start
ANYWHERE = IPv4Network("0.0.0.0/0")


def plan(config: NamespaceConfig, place: Place) -> tuple[Item, ...]:
    """Return the items of a namespace in the order of their creation: the firewall stands before links are up."""
    return (
        firewall.table(config),
        *_sysctls(),
        Link("lo", kind="loopback"),
        *(_link(config.link, config.mtu) if config.link is not None else ()),
        Link(BRIDGE, kind="bridge", mtu=config.mtu, mac=bridge_mac(place.name)),
        Address(BRIDGE, config.bridge),
        *(Link(app.ifname, mtu=config.mtu, master=BRIDGE) for app in config.apps if app.ifname),
        *(service(config, place) for service in SERVICES),
    )


def _sysctls() -> Iterator[Sysctl]:
    """Yield the settings of the namespace as a whole, before there are links that take them over."""
    for which in ("all", "default"):
        # IPv4 only, so far: an address that nobody planned would be a way around the rules.
        yield Sysctl(f"net.ipv6.conf.{which}.disable_ipv6", "1", optional=True)
    yield Sysctl("net.ipv4.ip_forward", "1")  # first: it resets the redirects' settings
    for which in ("all", "default"):
        yield Sysctl(f"net.ipv4.conf.{which}.rp_filter", "1")
        yield Sysctl(f"net.ipv4.conf.{which}.accept_redirects", "0")
        yield Sysctl(f"net.ipv4.conf.{which}.send_redirects", "0")
        yield Sysctl(f"net.ipv4.conf.{which}.accept_source_route", "0")
    # A changed bridge address is added before the old one goes, and must not go with it.
    yield Sysctl("net.ipv4.conf.all.promote_secondaries", "1")
    # Frames between apps are switched: they don't pass the hooks of IP and conntrack.
    for which in ("iptables", "ip6tables", "arptables"):
        yield Sysctl(f"net.bridge.bridge-nf-call-{which}", "0", optional=True)


def _link(link: NamespaceLink, mtu: int) -> Iterator[Item]:
    """Yield what makes the instance's end of the veth to the host the way out."""
    yield Sysctl(f"net.ipv4.conf.{link.ifname}.rp_filter", "1")  # the link was born before the defaults were set
    yield Sysctl(f"net.ipv4.conf.{link.ifname}.send_redirects", "0")
    yield Link(link.ifname, mtu=mtu)
    yield Address(link.ifname, link.address)
    yield Neighbour(link.ifname, link.gateway, link.gateway_mac)
    yield Route(ANYWHERE, via=link.gateway, dev=link.ifname)
