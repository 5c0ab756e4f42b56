"""By which links apps reach what lies outside their instance, one for each way out. Pure."""

from __future__ import annotations

import enum
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network

import msgspec

from nsmanager.vpn.routing import reached
from pubsub.topics import InstanceType, NamespaceConfig


class Inbound(enum.StrEnum):
    """Which new connections come in by an exit; an app's rules are asked of each."""

    PORTMAPS = "portmaps"  # to a port map only
    ALL = "all"  # to any app's own address


class Exit(msgspec.Struct, frozen=True):
    """One link that leads out."""

    ifname: str
    to: tuple[IPv4Network | IPv6Network, ...] = ()  # what may be reached by it; empty: anything
    snat: bool = True  # the apps leave with the link's address
    inbound: Inbound = Inbound.PORTMAPS


def exits(config: NamespaceConfig) -> tuple[Exit, ...]:
    """Return the ways out of an instance; none: its packets stay inside."""
    return EXITS[config.type](config)


def _by_link(config: NamespaceConfig) -> tuple[Exit, ...]:
    return (Exit(config.link.ifname),) if config.link is not None else ()


def _by_tunnel(config: NamespaceConfig) -> tuple[Exit, ...]:
    return tuple(Exit(ifname, to=to, snat=False, inbound=Inbound.ALL) for ifname, to in reached(config).items())


def _nowhere(_config: NamespaceConfig) -> tuple[Exit, ...]:
    return ()


EXITS: dict[InstanceType, Callable[[NamespaceConfig], tuple[Exit, ...]]] = {
    InstanceType.LOCAL: _by_link,
    InstanceType.SWITCH: _nowhere,  # what is bridged isn't routed
    InstanceType.VPN: _by_tunnel,
}
