"""The host's side of an instance's link. Pure."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network

import msgspec

from nsmanager.items.address import Address
from nsmanager.items.neighbour import Neighbour
from nsmanager.items.route import Route
from nsmanager.items.sysctl import Sysctl
from nsmanager.reconcile import Item
from pubsub.topics import NamespaceLink
from supervisor.items import Veth
from supervisor.names import TABLE_LINKS, UPLINK_IFNAME, host_end
from supervisor.packet_steering import PacketSteering


class LinkPlan(msgspec.Struct, frozen=True):
    """All that the host's side of one instance's link follows from."""

    name: str
    mtu: int
    inner: NamespaceLink
    host_end: IPv4Interface
    host_end6: IPv6Interface | None


@functools.lru_cache(maxsize=8192)
def link_items(link: LinkPlan, *, forced6: bool, processors: int = 0, taken: bool = False) -> tuple[Item, ...]:
    """Return the host's side of one instance's link; where its name is `taken`, only the link, which is refused.

    `processors`: a bit for each that its packets are spread over; 0: they aren't.
    """
    return tuple(_link_items(link, processors, forced6=forced6))[: 1 if taken else None]


def _link_items(link: LinkPlan, processors: int, *, forced6: bool) -> Iterator[Item]:
    ifname, inner = host_end(link.name), link.inner
    yield Veth(
        ifname=ifname,
        peer=UPLINK_IFNAME,
        netns=link.name,
        mtu=link.mtu,
        mac=inner.gateway_mac,
        peer_mac=inner.mac or "",
    )
    yield Sysctl(f"net.ipv6.conf.{ifname}.disable_ipv6", "0" if link.host_end6 else "1", optional=True)
    yield Sysctl(f"net.ipv4.conf.{ifname}.forwarding", "1")
    yield Sysctl(f"net.ipv4.conf.{ifname}.src_valid_mark", "1")
    yield Sysctl(f"net.ipv4.conf.{ifname}.rp_filter", "1")
    yield Sysctl(f"net.ipv4.conf.{ifname}.send_redirects", "0")
    if processors:
        yield PacketSteering(ifname, processors)
    yield Address(ifname=ifname, address=link.host_end)
    yield Route(to=IPv4Network(inner.address.ip), table=TABLE_LINKS, dev=ifname)
    if link.host_end6 is None or inner.address6 is None or inner.mac is None:
        return
    if forced6:
        yield Sysctl(f"net.ipv6.conf.{ifname}.force_forwarding", "1")
    yield Sysctl(f"net.ipv6.conf.{ifname}.accept_ra", "0")
    # IN6_ADDR_GEN_MODE_NONE. The link was born with it, but NetworkManager's restart sets it back.
    yield Sysctl(f"net.ipv6.conf.{ifname}.addr_gen_mode", "1")
    yield Address(ifname=ifname, address=link.host_end6)
    yield Neighbour(ifname, inner.address6.ip, inner.mac)
    yield Route(to=IPv6Network(inner.address6.ip), table=TABLE_LINKS, dev=ifname)
