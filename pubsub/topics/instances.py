"""What people and controllers write of network instances."""

from __future__ import annotations

import enum
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from pubsub.topics.base import InstanceType, Message
from pubsub.topics.limits import LimitsConfig
from pubsub.topics.vpn import VpnConfig
from pubsub.values import AddressRange, Duration, MacAddress, Network, PortMap, PortRange, Rate


class Ipv6Mode(enum.StrEnum):
    """What a local instance does with IPv6."""

    NAT = "nat"  # a prefix of its own behind NAT66, twice like IPv4
    ROUTED = "routed"  # its prefix is known outside (delegated) and routed without NAT
    OFF = "off"


class Dhcp6Mode(enum.StrEnum):
    """How apps get their IPv6 addresses; the router and the prefix always come by RA (RFC 4861)."""

    STATELESS = "stateless"  # SLAAC, all else by DHCPv6
    STATEFUL = "stateful"  # DHCPv6


class Route(Message, frozen=True, kw_only=True):
    """A route told to the apps by DHCP option 121."""

    to: IPv4Network
    via: IPv4Address


class StaticRoute(Message, frozen=True, kw_only=True):
    """Another way for some of an instance's packets than its uplink's default route. `app` stands alone."""

    to: IPv4Network
    via: IPv4Address | None = None  # a router in the uplink's network; default: the uplink's own way there
    uplink: str = ""  # ifname or label; empty: the selected one
    app: str = ""  # an app of the instance is the router


class DhcpConfig(Message, frozen=True, kw_only=True):
    """What dnsmasq tells the apps by DHCP."""

    range: AddressRange | None = None  # first-last, inclusive; default: the middle half of the subnet
    lease_time: Duration = Duration(12 * 3600)
    ntp: tuple[IPv4Address, ...] = ()  # option 42
    routes: tuple[Route, ...] = ()  # option 121, beside the default route and the instance's static routes
    connected_routes: bool = False  # tell the networks of the selected uplink by option 121 too
    v6: Dhcp6Mode = Dhcp6Mode.STATELESS


class DnsConfig(Message, frozen=True, kw_only=True):
    """What dnsmasq answers by DNS."""

    domain: str = ""  # of the apps' names and option 15; empty: `<instance>.internal`
    hosts: dict[str, IPv4Address] = {}  # names without the domain, or whole names
    servers: tuple[IPv4Address, ...] = ()  # empty: those of the selected uplink


class Attachment(Message, frozen=True, kw_only=True):
    """Which existing thing to take into the instance: exactly one of `container`, `netns`, `tap` and `link` is set."""

    container: int | None = None  # pid of a process in the container's network namespace
    netns: str | None = None  # name below /run/netns, of a container's or an app's network namespace
    tap: str | None = None  # ifname of a tap in the host's namespace, of a VM
    link: str | None = None  # ifname of a link of the host (physical, VF, veth): lent, and given back as it was
    ifname: str = "eth0"  # inside the container or netns
    configure: bool = True  # of container and netns: False: it asks for its address itself, by DHCP


class Direction(enum.StrEnum):
    """Who opens the connections that a rule is about, as the app sees it."""

    OUT = "out"
    IN = "in"
    BOTH = "both"


class Action(enum.StrEnum):
    """What a rule does with what it matches."""

    ALLOW = "allow"
    DROP = "drop"


class Rule(Message, frozen=True, kw_only=True):
    """One rule of an app: of those that match a connection the first decides. What isn't set matches all."""

    name: str = ""  # default: `rule-N`, counted from 1
    direction: Direction = Direction.OUT
    remote: tuple[Network, ...] = ()  # the other end is in one of these
    host: str = ""  # the other end is what this name, or one below it, was resolved to in this instance; out only
    apps: tuple[str, ...] = ()  # the other end is one of these apps of the instance; `all`: any app of it
    protocol: str = ""  # tcp, udp, icmp, icmpv6 or a number
    ports: tuple[PortRange, ...] = ()  # of the end that is connected to; tcp or udp only
    uplink: str = ""  # only while the instance uses the uplink of this ifname or label
    portmap: PortMap | None = None  # in only: opens and matches this port map; `remote` says who may use it
    action: Action = Action.ALLOW
    limit: Rate | None = None  # of an allowing rule: what is over it is dropped, of all packets in both directions
    burst: int = 0  # packets, or the limit's bytes; 0: as much as the limit gives in one of its periods


class AppConfig(Message, frozen=True, kw_only=True):
    """A workload of an instance."""

    address: IPv4Address | None = None  # fixed; default: chosen from outside the DHCP range, always the same
    mac: MacAddress | None = None  # default: derived from the instance's and the app's name
    ports: tuple[PortMap, ...] = ()
    attach: Attachment | None = None  # default: nothing; `nsvisor run --name` or a DHCP client with the MAC
    rules: tuple[Rule, ...] | None = None  # None: everything is allowed; (): only port maps, DHCP, DNS and metadata
    user_data: str = ""  # for cloud-init, told by the metadata server
    vlan: int = 0  # of a switch's app: its port is an access port of this VLAN; 0: untagged


class SwitchConfig(Message, frozen=True, kw_only=True):
    """How a `switch` instance passes frames on."""

    shared: bool = False  # the host keeps using the uplink: frames for the apps' MAC addresses go to them
    stp: bool | None = None  # spanning tree; default: with several uplinks
    lldp: bool = False  # LLDP frames (01:80:c2:00:00:0e) pass


class LogConfig(Message, frozen=True, kw_only=True):
    """What of the apps' traffic is written down."""

    flows: bool = False  # a record of each connection and of what was dropped, see IPFlow
    dns: bool = False  # a record of each DNS query of an app, see DnsQuery


class NetworkInstanceConfig(Message, frozen=True, kw_only=True):
    """One network instance as its user wants it. The key is its name."""

    type: InstanceType = InstanceType.LOCAL
    subnet: IPv4Network | None = None  # default: the next free one of the pool
    address: IPv4Address | None = None  # the bridge's, the apps' gateway; default: the subnet's first
    subnet6: IPv6Network | None = None  # a /64; default: a ULA of the pool
    ipv6: Ipv6Mode = Ipv6Mode.NAT
    mtu: int = 1500  # bytes
    uplinks: tuple[str, ...] | None = None  # ifnames or labels; None (`all`): every uplink; (): none
    balance: bool = False  # spread new connections over the healthy uplinks of the lowest cost
    routes: tuple[StaticRoute, ...] = ()
    dhcp: DhcpConfig = DhcpConfig()
    dns: DnsConfig = DnsConfig()
    switch: SwitchConfig = SwitchConfig()
    log: LogConfig = LogConfig()
    limits: LimitsConfig = LimitsConfig()
    vpn: VpnConfig | None = None  # of type vpn only
    apps: dict[str, AppConfig] = {}
