"""What a planner of an instance type is given, and what it returns."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network

import msgspec

from pubsub.codec import digest
from pubsub.topics import NamespaceConfig
from pubsub.values import PortMap


class Place(msgspec.Struct, frozen=True):
    """What the ledger and the facts give to one instance."""

    name: str
    host_end: IPv4Interface
    inner_end: IPv4Interface
    subnet: IPv4Network  # the configured one, or the ledger's
    mtu: int  # the smaller of the configured and the uplink's
    ports: dict[str, str]  # app -> ifname of its port on the bridge
    linked: bool  # False: air-gapped
    host_end6: IPv6Interface | None = None  # None: no IPv6 on the link
    inner_end6: IPv6Interface | None = None
    subnet6: IPv6Network | None = None  # None: no IPv6
    uplinks: tuple[str, ...] = ()  # ifnames and labels of the uplinks in use
    connected: tuple[IPv4Network, ...] = ()  # networks of the selected uplink that the apps are told of
    secrets: Mapping[str, str] = msgspec.field(default_factory=dict)  # files of its tunnels -> their versions
    outer: tuple[str, ...] = ()  # of a switch: the ports that lead out and are in its namespace now
    several: bool = False  # of a switch: there are to be several of those, so that frames could go in a circle
    vlans: bool = True  # the kernel's bridges have VLANs


class Resolved(msgspec.Struct, frozen=True, dict=True):
    """One instance with every choice made."""

    namespace: NamespaceConfig
    portmaps: tuple[tuple[str, PortMap], ...] = ()  # (app, port map)

    @functools.cached_property
    def digest(self) -> str:
        """By which its manager names what it answers."""
        return digest(self.namespace)
