"""What the host is like now: the outside facts that the plan depends on. Data here; gathered by observe.py."""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, IPv4Interface, IPv4Network


@dataclasses.dataclass(frozen=True)
class UplinkRoute:
    """A route of the host's main table that leads out by the uplink."""

    to: IPv4Network
    via: IPv4Address | None = None
    src: IPv4Address | None = None
    metric: int = 0


@dataclasses.dataclass(frozen=True)
class Uplink:
    """A link of the host that is not ours."""

    ifname: str
    ifindex: int
    up: bool  # administratively up, and with carrier
    mtu: int = 1500
    addresses: tuple[IPv4Interface, ...] = ()
    routes: tuple[UplinkRoute, ...] = ()
    resolvers: tuple[IPv4Address, ...] = ()
    forwarded: bool = False  # the host forwarded packets from it before we came

    @property
    def gateways(self) -> tuple[IPv4Address, ...]:
        """The next hops of its default routes, the preferred first."""
        defaults = sorted((r for r in self.routes if not r.to.prefixlen and r.via), key=lambda r: r.metric)
        return tuple(r.via for r in defaults if r.via)

    @property
    def trouble(self) -> str:
        """Why no packet can leave by it; empty when one can."""
        if not self.up:
            return f"uplink {self.ifname} is down or has no carrier"
        if not self.addresses:
            return f"uplink {self.ifname} has no IPv4 address"
        return ""


@dataclasses.dataclass(frozen=True)
class Facts:
    """All that the host's plan depends on beside configuration."""

    uplinks: dict[str, Uplink] = dataclasses.field(default_factory=dict)  # by ifname; every foreign link
    default: str = ""  # ifname of the best default route; empty: none
    namespaces: frozenset[str] = frozenset()  # instances whose namespace stands
    ports: dict[tuple[str, str], str] = dataclasses.field(default_factory=dict)  # (instance, app) -> its port's ifname
