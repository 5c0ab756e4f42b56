"""What the metadata server and the logs need of the kernel: NamespaceConfig -> items. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv6Interface

from nsmanager.items.address import Address
from nsmanager.items.sysctl import Sysctl
from nsmanager.names import BRIDGE
from nsmanager.residents import METADATA, METADATA6
from pubsub.topics import NamespaceConfig


def sysctls(config: NamespaceConfig) -> Iterator[Sysctl]:
    """Yield settings of the namespace as a whole."""
    if config.bridge is not None:
        # A connection that is accepted has the mark of its first packet, and that says by which port it came.
        yield Sysctl("net.ipv4.tcp_fwmark_accept", "1")
    # They hold for connections that begin from then on.
    counted = "1" if config.log.flows else "0"
    yield Sysctl("net.netfilter.nf_conntrack_acct", counted, optional=not config.log.flows)
    yield Sysctl("net.netfilter.nf_conntrack_timestamp", counted, optional=not config.log.flows)
    # 2: only of connections that begin while somebody listens, so none that begin while the manager is away
    yield Sysctl("net.netfilter.nf_conntrack_events", "1" if config.log.flows else "2", optional=not config.log.flows)


def addresses(config: NamespaceConfig) -> Iterator[Address]:
    """Yield where the metadata server is, beside the bridge's own addresses."""
    if config.bridge is not None:
        yield Address(BRIDGE, IPv4Interface((METADATA, 32)))
    if config.bridge is not None and config.bridge6 is not None:
        yield Address(BRIDGE, IPv6Interface((METADATA6, 128)))
