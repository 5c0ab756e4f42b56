"""What the host is like now: the outside facts that the plan depends on. Data here; gathered by observe.py."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

import msgspec

from supervisor.kernel_tables import Tables


class UplinkRoute(msgspec.Struct, frozen=True):
    """A route of the host's main table that leads out by the uplink."""

    to: IPv4Network | IPv6Network
    via: IPv4Address | IPv6Address | None = None
    src: IPv4Address | IPv6Address | None = None
    metric: int = 0


class Uplink(msgspec.Struct, frozen=True):
    """A link of the host that is not ours."""

    ifname: str
    ifindex: int
    up: bool  # administratively up, and with carrier
    mac: str = ""
    mtu: int = 1500
    addresses: tuple[IPv4Interface, ...] = ()
    addresses6: tuple[IPv6Interface, ...] = ()  # global and unique local ones, usable now, the preferred first
    routes: tuple[UplinkRoute, ...] = ()  # IPv4 and IPv6
    resolvers: tuple[IPv4Address, ...] = ()
    forwarded: bool = False  # the host forwarded IPv4 packets from it before we came
    accepts_ra: bool = False  # the host learned its IPv6 routes by RA there when it did not forward yet

    @property
    def own(self) -> tuple[IPv4Interface | IPv6Interface, ...]:
        """All its addresses."""
        return (*self.addresses, *self.addresses6)

    @property
    def defaults(self) -> tuple[UplinkRoute, ...]:
        """Its default routes, the preferred first."""
        return tuple(sorted((r for r in self.routes if not r.to.prefixlen), key=lambda r: (r.to.version, r.metric)))

    @property
    def gateways(self) -> tuple[IPv4Address, ...]:
        """The next hops of its IPv4 default routes, the preferred first."""
        return tuple(r.via for r in self.defaults if isinstance(r.via, IPv4Address))

    @property
    def gateways6(self) -> tuple[IPv6Address, ...]:
        """The next hops of its IPv6 default routes, the preferred first."""
        return tuple(r.via for r in self.defaults if isinstance(r.via, IPv6Address))

    @property
    def source6(self) -> IPv6Address | None:
        """What IPv6 packets that leave by it have as their source."""
        named = [r.src for r in self.defaults if isinstance(r.src, IPv6Address)]
        return next(iter([*named, *(address.ip for address in self.addresses6)]), None)

    @property
    def metric(self) -> int:
        """How much the host likes to go out by it: of its best default route; without one, last."""
        return min((r.metric for r in self.defaults), default=1 << 32)

    @property
    def trouble(self) -> str:
        """Why no packet can leave by it; empty when one can."""
        if not self.up:
            return f"uplink {self.ifname} is down or has no carrier"
        if not self.addresses and not self.addresses6:
            return f"uplink {self.ifname} has no address"
        return ""


class Health(msgspec.Struct, frozen=True):
    """What probing found of one uplink; carrier and addresses are facts of their own."""

    healthy: bool = True
    endpoints_up: int = 0
    reason: str = ""  # why it is not healthy


class Facts(msgspec.Struct, frozen=True):
    """All that the host's plan depends on beside configuration."""

    uplinks: dict[str, Uplink] = msgspec.field(default_factory=dict)  # by ifname; every foreign link
    health: dict[str, Health] = msgspec.field(default_factory=dict)  # of those that are probed
    present: dict[str, str] = msgspec.field(default_factory=dict)  # instance -> ifname of the uplink it has now
    namespaces: frozenset[str] = frozenset()  # instances whose namespace stands
    ports: dict[str, dict[str, str]] = msgspec.field(default_factory=dict)  # instance -> app -> its port's ifname
    lent: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)  # instance -> links of ours that it has
    vlans: bool = True  # the kernel's bridges have them; not asked where nobody wants any
    secrets: dict[str, str] = msgspec.field(default_factory=dict)  # files that tunnels need -> their versions
    tables: Tables = msgspec.field(default_factory=Tables)  # of the kernel, that all namespaces share
    processors: int = 0  # a bit for each that packets may be spread over; 0: over none
    ipv6: bool = True  # the kernel has it
    forced6: bool = True  # links can forward IPv6 without the whole host doing so (force_forwarding, Linux 6.17)
    forwarded6: bool = False  # the whole host forwarded IPv6 before we came
