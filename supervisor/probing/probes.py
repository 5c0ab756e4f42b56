"""Which probes an uplink has, by its configuration and by what the host knows of it. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

import msgspec

from pubsub.topics import EndpointProbe, NextHopMethod, NextHopProbe, UplinkConfig
from pubsub.values import Endpoint
from supervisor.facts import Uplink
from supervisor.probing.track import Counts

SHORTEST_INTERVAL = 0.02  # seconds; less would leave the daemon no time for anything else


class Target(msgspec.Struct, frozen=True):
    """An uplink that is probed."""

    uplink: Uplink
    config: UplinkConfig


class Kind(enum.StrEnum):
    """How something is asked."""

    ARP = "arp"
    ND = "nd"
    ECHO = "icmp"
    TCP = "tcp"
    HTTP = "http"


class Way(msgspec.Struct, frozen=True):
    """What a probe needs to know of its uplink. While it is the same, results are comparable."""

    ifname: str
    ifindex: int
    mac: str
    sources: tuple[IPv4Address | IPv6Address, ...]  # the uplink's addresses of the probe's family, the best first


class Probe(msgspec.Struct, frozen=True):
    """One thing to ask by one uplink, again and again. Equal probes go on undisturbed."""

    way: Way
    kind: Kind
    address: IPv4Address | IPv6Address
    endpoint: Endpoint | None  # None: a gateway is asked
    interval: float  # seconds between the starts of two tries
    timeout: float  # seconds
    counts: Counts

    @property
    def key(self) -> str:
        """What is probed by which uplink: the name of its track, over restarts and changes of the rest."""
        return f"{self.way.ifname} {self.endpoint or f'{self.kind} {self.address}'}"

    @property
    def name(self) -> str:
        """What people read in the status."""
        return str(self.endpoint or f"next hop {self.address}")

    @property
    def what(self) -> str:
        """What is asked, within a sentence."""
        return f"endpoint {self.endpoint}" if self.endpoint else f"gateway {self.address}"


def probes(target: Target) -> tuple[Probe, ...]:
    """Return the probes of an uplink: its gateways', then its endpoints'; each key once."""
    found = [*next_hops(target), *(endpoint_probe(target.uplink, config) for config in target.config.endpoints)]
    return tuple({probe.key: probe for probe in found}.values())


def next_hops(target: Target) -> Iterator[Probe]:
    """Yield a probe for each gateway. A link without Ethernet addresses has no ARP and no ND: none is asked there."""
    uplink, config = target.uplink, target.config.next_hop
    if config.method == NextHopMethod.NONE or (config.method == NextHopMethod.ARP and uplink.mac.count(":") != 5):
        return
    gateways: tuple[IPv4Address | IPv6Address, ...] = (*uplink.gateways, *uplink.gateways6)
    for gateway in gateways:
        kind = Kind.ECHO
        if config.method == NextHopMethod.ARP:
            kind = Kind.ARP if gateway.version == 4 else Kind.ND
        yield probe(uplink, kind, gateway, None, config)


def endpoint_probe(uplink: Uplink, config: EndpointProbe) -> Probe:
    return probe(uplink, Kind(config.to.scheme), config.to.address, config.to, config)


def probe(
    uplink: Uplink,
    kind: Kind,
    address: IPv4Address | IPv6Address,
    endpoint: Endpoint | None,
    config: NextHopProbe | EndpointProbe,
) -> Probe:
    return Probe(
        way=Way(uplink.ifname, uplink.ifindex, uplink.mac, sources(uplink, address)),
        kind=kind,
        address=address,
        endpoint=endpoint,
        interval=max(float(config.interval), SHORTEST_INTERVAL),
        timeout=float(config.timeout),
        counts=Counts(max(config.down, 1), max(config.up, 1)),
    )


def sources(uplink: Uplink, address: IPv4Address | IPv6Address) -> tuple[IPv4Address | IPv6Address, ...]:
    """Return the uplink's addresses of that family, first the one in the network of the address or of a gateway."""
    if address.version == 6:
        return tuple(interface.ip for interface in uplink.addresses6)
    near = (address, *uplink.gateways)
    ranked = sorted(
        uplink.addresses,
        key=lambda own: next((rank for rank, peer in enumerate(near) if peer in own.network), len(near)),
    )
    return tuple(interface.ip for interface in ranked)
