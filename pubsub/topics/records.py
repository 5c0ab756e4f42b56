"""What passed: counters, connections, DNS queries."""

from __future__ import annotations

import enum

from pubsub.topics.base import Message
from pubsub.topics.instances import Direction
from pubsub.topics.limits import ResourceUse
from pubsub.values import IpAddress


class InterfaceCounters(Message, frozen=True, kw_only=True):
    """What passed an interface since it was made."""

    ifname: str
    rx_bytes: int = 0
    tx_bytes: int = 0
    rx_packets: int = 0
    tx_packets: int = 0
    rx_dropped: int = 0
    tx_dropped: int = 0


class RuleCounters(Message, frozen=True, kw_only=True):
    """What met a rule of an app since it was made: in both directions of the connections that it decided."""

    app: str
    rule: str  # `default`: what no rule matched; `spoofed`: what wasn't the app's to send
    packets: int = 0
    bytes: int = 0
    drops: int = 0  # packets


class ServiceCounters(Message, frozen=True, kw_only=True):
    """What a service did; the names are the service's own, as `cache hits`."""

    service: str
    counters: dict[str, int] = {}


class NetworkInstanceMetrics(Message, frozen=True, kw_only=True):
    """What passed an instance, told by its manager every few seconds. The key is the instance's name."""

    at: float = 0.0  # seconds since the epoch
    interfaces: tuple[InterfaceCounters, ...] = ()
    rules: tuple[RuleCounters, ...] = ()
    services: tuple[ServiceCounters, ...] = ()
    connections: int = 0  # tracked now
    resources: tuple[ResourceUse, ...] = ()  # of those that the kernel counts in the namespace


class NetworkMetrics(Message, frozen=True, kw_only=True):
    """What passed the host's uplinks, and how full the kernel's tables for all are. The only key is `host`."""

    at: float = 0.0  # seconds since the epoch
    interfaces: tuple[InterfaceCounters, ...] = ()
    tables: tuple[ResourceUse, ...] = ()  # connections; neighbours, where the host's namespace is the initial one


class Verdict(enum.StrEnum):
    """What became of a connection."""

    ALLOWED = "allowed"
    DROPPED = "dropped"


class IPFlow(Message, frozen=True, kw_only=True):
    """One connection that ended, or packets of one that were dropped. A stream of each instance's manager."""

    app: str  # empty: none of the instance's
    rule: str  # that decided; `default`: none did
    verdict: Verdict
    direction: Direction  # who opened it, as the app sees it
    protocol: str  # tcp, udp, icmp, icmpv6 or a number
    source: IpAddress  # who opened it, before any translation
    destination: IpAddress
    source_port: int = 0
    destination_port: int = 0
    sent_bytes: int = 0  # by who opened it, with IP headers
    sent_packets: int = 0
    received_bytes: int = 0
    received_packets: int = 0
    start: float = 0.0  # seconds since the epoch
    end: float = 0.0
    zone: int = 0  # of conntrack
    peer_app: str = ""  # the other end, when that is an app of the instance too


class DnsQuery(Message, frozen=True, kw_only=True):
    """One DNS query of an app, and its answer. A stream of each instance's manager."""

    app: str
    source: IpAddress
    protocol: str  # udp, tcp
    name: str  # in lower case, without the final dot
    type: str  # A, AAAA, … or TYPEn
    at: float  # seconds since the epoch, of the query
    code: str = ""  # NOERROR, NXDOMAIN, …; empty: no answer
    answers: tuple[str, ...] = ()  # addresses, names, or their type where they are something else
    ttl: int = 0  # seconds, of the answer that ends first
    latency: float = 0.0  # milliseconds
