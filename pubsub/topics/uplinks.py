"""What people and controllers write of uplinks."""

from __future__ import annotations

import enum
from ipaddress import IPv4Address

from pubsub.topics.base import Message
from pubsub.values import Endpoint, Interval


class NextHopMethod(enum.StrEnum):
    """How an uplink's gateway is asked whether it lives."""

    ARP = "arp"  # over IPv6: neighbour discovery
    ICMP = "icmp"  # echo
    NONE = "none"


class NextHopProbe(Message, frozen=True, kw_only=True):
    """How the gateways of an uplink are probed: one that answers is enough."""

    method: NextHopMethod = NextHopMethod.ARP
    interval: Interval = Interval(5.0)  # between the starts of two probes
    timeout: Interval = Interval(1.0)
    down: int = 4  # failures in a row until it counts as down
    up: int = 3  # answers in a row until it counts as up


class EndpointProbe(Message, frozen=True, kw_only=True):
    """Something outside that should answer by the uplink: one of several that does is enough."""

    to: Endpoint
    interval: Interval = Interval(30.0)  # between the starts of two probes
    timeout: Interval = Interval(3.0)
    down: int = 4
    up: int = 3


class UplinkConfig(Message, frozen=True, kw_only=True):
    """What people want of an uplink. The key is its ifname; a link that leads out counts as one without this too."""

    cost: int = 0  # 0 to 255; of the healthy uplinks the cheapest wins
    labels: tuple[str, ...] = ()  # names by which instances can ask for it
    dns: tuple[IPv4Address, ...] = ()  # resolvers to ask by it; default: what the host knows of it
    next_hop: NextHopProbe = NextHopProbe()
    endpoints: tuple[EndpointProbe, ...] = ()
