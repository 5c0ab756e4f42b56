"""Every message on the bus: one frozen class each, its name is the topic.

A table is named `agent/Topic`, or `agent/scope/Topic` where an agent keeps one table per instance (the words are
EVE's). Config comes from files or other agents, every `XConfig` is answered by an `XStatus`.

Fields are written as their text everywhere (YAML, msgpack, JSON): `10.1.0.0/24`, `8080:80/tcp`.
"""

from __future__ import annotations

import enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

import msgspec

from pubsub.values import (
    AddressRange,
    Duration,
    Endpoint,
    Interval,
    IpAddress,
    MacAddress,
    Network,
    PeerAddress,
    PortMap,
    PortRange,
    Rate,
)


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What all messages share. Unknown fields are ignored on the wire, so that versions can be mixed."""


class InstanceType(enum.StrEnum):
    """What a network instance does with its packets."""

    LOCAL = "local"  # routed, NAT, DHCP, DNS
    SWITCH = "switch"  # layer 2: apps and uplinks on one bridge
    VPN = "vpn"  # like local, but its only way out is a tunnel


class State(enum.StrEnum):
    """Where an instance stands, for people and for `wait`."""

    READY = "ready"  # configured as planned, services answering
    WAITING = "waiting"  # something outside is missing: see the reason
    STARTING = "starting"  # being made
    DEGRADED = "degraded"  # serves, but not all of it: see the conditions
    FAILED = "failed"  # does not serve: invalid config, or a crash loop


# --- configuration: what people and controllers write --------------------------------------------------------------


class Ipv6Mode(enum.StrEnum):
    """What a local instance does with IPv6."""

    NAT = "nat"  # a prefix of its own behind NAT66, twice like IPv4
    ROUTED = "routed"  # its prefix is known outside (delegated) and routed without NAT
    OFF = "off"


class Dhcp6Mode(enum.StrEnum):
    """How apps get their IPv6 addresses; the router and the prefix always come by RA (RFC 4861)."""

    STATELESS = "stateless"  # SLAAC, all else by DHCPv6
    STATEFUL = "stateful"  # DHCPv6


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


class IpsecConnection(Message, frozen=True, kw_only=True):
    """A tunnel by IKEv2 (RFC 7296) to one peer. The key is its name. Proof is `secret_file`, or the other three files.

    Files belong to root and only root may read them.
    """

    remote: PeerAddress
    remote_subnets: tuple[Network, ...]  # what is reached by it
    local_subnets: tuple[Network, ...] = ()  # what the peer reaches by it; default: the instance's subnet, and subnet6
    secret_file: str = ""  # the shared secret (PSK): the file's text without its last newline
    certificate_file: str = ""  # PEM
    key_file: str = ""  # of the certificate, PEM without a passphrase
    ca_file: str = ""  # who signed the peer's certificate, PEM
    local_id: str = ""  # how we call ourselves: a name, an address, a DN; default: the certificate's subject
    remote_id: str = ""  # how the peer must call itself; default: its address
    proposals: tuple[str, ...] = ()  # for IKE, in strongSwan's words; default: AES-256 with ECDH or MODP groups
    esp_proposals: tuple[str, ...] = ()  # for ESP
    dpd: Interval = Interval(10.0)  # of silence until the peer is asked whether it lives
    rekey: Duration = Duration(3600)  # until ESP gets new keys
    rekey_ike: Duration = Duration(4 * 3600)


class VpnConfig(Message, frozen=True, kw_only=True):
    """The tunnels of a VPN instance: its only ways out."""

    connections: dict[str, IpsecConnection] = {}


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
    vpn: VpnConfig | None = None  # of type vpn only
    apps: dict[str, AppConfig] = {}


class SupervisorSettings(Message, frozen=True, kw_only=True):
    """Settings of the whole daemon. The only key is `settings`."""

    config_from: tuple[str, ...] = ("confd",)  # agents whose instances and uplinks count, the first wins a name
    link_pool: IPv4Network = IPv4Network("100.127.0.0/16")  # a /31 an instance, between it and the host
    subnet_pool: IPv4Network = IPv4Network("10.64.0.0/10")  # a /24 for each instance without a subnet
    link_pool6: IPv6Network = IPv6Network("fd6e:7376:6973::/64")  # a /127 an instance, between it and the host
    subnet_pool6: IPv6Network = IPv6Network("fd6e:7376:6974::/48")  # a /64 for each instance without a subnet6


class ConfigProblem(Message, frozen=True, kw_only=True):
    """One thing that is wrong in a config file. The key is `file:line:field`."""

    file: str
    line: int  # 1-based; 0: the whole file
    instance: str  # empty: not inside an instance
    uplink: str = ""  # empty: not inside an uplink's entry
    field: str  # as instances.red.apps.web.address
    value: str  # as it stands in the file
    message: str  # what is wrong
    remedy: str  # what to do


# --- between the supervisor and its managers -----------------------------------------------------------------------


class NamespaceLink(Message, frozen=True, kw_only=True):
    """The instance's end of the veth to the host."""

    ifname: str
    address: IPv4Interface  # /31
    gateway: IPv4Address  # the host's end
    gateway_mac: MacAddress  # never asked for by ARP or ND: the host answers no unmarked packet of the link pool
    mac: MacAddress | None = None  # of the instance's end; the host asks for it neither
    address6: IPv6Interface | None = None  # /127; None: no IPv6
    gateway6: IPv6Address | None = None


class NamespaceApp(Message, frozen=True, kw_only=True):
    """An app, resolved."""

    name: str
    mac: MacAddress
    address: IPv4Address | None  # None: whatever DHCP gives
    address6: IPv6Address | None = None  # by SLAAC (EUI-64, RFC 4291) or DHCPv6; None: unknown
    ports: tuple[PortMap, ...] = ()
    ifname: str = ""  # its port on the bridge; empty: none expected now
    rules: tuple[Rule, ...] | None = None  # each with a name; None: everything is allowed
    user_data: str = ""
    any_mac: bool = False  # its port is a link of the host: the MAC addresses behind it are whatever is there
    vlan: int = 0  # its port is an access port of this VLAN; 0: untagged


class AppRoute(Message, frozen=True, kw_only=True):
    """A static route of the instance whose router is an app."""

    to: IPv4Network
    via: IPv4Address  # the app's


class NamespaceTunnel(Message, frozen=True, kw_only=True):
    """A tunnel, every choice made. Its secrets lie in the instance's folder."""

    name: str
    remote: IpAddress
    remote_subnets: tuple[Network, ...]
    local_subnets: tuple[Network, ...]
    certificates: bool  # False: by a shared secret
    local_id: str
    remote_id: str
    proposals: tuple[str, ...]
    esp_proposals: tuple[str, ...]
    dpd: Interval
    rekey: Duration
    rekey_ike: Duration
    secrets: str = ""  # changes when one of the files does, and tells nothing of what is in it; empty: one is missing


class NamespaceConfig(Message, frozen=True, kw_only=True):
    """All that a manager needs to know, every choice made. The key is the instance's name."""

    type: InstanceType = InstanceType.LOCAL
    link: NamespaceLink | None = None  # None: air-gapped
    bridge: IPv4Interface | None = None  # the bridge's address in the subnet; None: layer 2 only
    bridge6: IPv6Interface | None = None  # None: no IPv6
    nat6: bool = True  # False: the prefix is routed
    dhcp6: Dhcp6Mode = Dhcp6Mode.STATELESS
    mtu: int  # bytes; of the way out: the smaller of the configured and the uplink's
    port_mtu: int = 1500  # bytes, of the apps' ports, as configured: a frame too long for a port is dropped unanswered
    domain: str = ""
    range: AddressRange | None = None  # None: no DHCP
    lease_time: Duration = Duration(0)
    ntp: tuple[IPv4Address, ...] = ()
    routes: tuple[Route, ...] = ()  # told by option 121
    app_routes: tuple[AppRoute, ...] = ()
    hosts: dict[str, IPv4Address] = {}
    servers: tuple[IPv4Address, ...] = ()  # whom dnsmasq asks; empty: nobody
    apps: tuple[NamespaceApp, ...] = ()
    outer: tuple[str, ...] = ()  # ifnames of the bridge's ports that lead out: of a switch
    stp: bool = False
    lldp: bool = False
    uplinks: tuple[str, ...] = ()  # of the ifnames and labels that rules name, those of the uplinks in use
    log: LogConfig = LogConfig()
    tunnels: tuple[NamespaceTunnel, ...] = ()  # of type vpn
    tunnel_mtu: int = 0  # bytes that fit into a packet through a tunnel; 0: none is planned

    @property
    def apps_mtu(self) -> int:
        """Return how many bytes the apps' packets may have on their way out."""
        return self.tunnel_mtu or self.mtu

    @property
    def router(self) -> IPv4Interface:
        """The bridge's address; the instance isn't layer 2 only."""
        assert self.bridge is not None, "an instance with an address"
        return self.bridge


class NamespaceOutlook(Message, frozen=True, kw_only=True):
    """What a manager is told of the world outside, but configures nothing by. The key is the instance's name."""

    uplink: str = ""  # ifname of the selected one; empty: none
    external: tuple[IPv4Address, ...] = ()  # addresses of that uplink
    external6: tuple[IPv6Address, ...] = ()


class Lease(Message, frozen=True, kw_only=True):
    """One DHCP lease."""

    address: IPv4Address
    mac: str
    hostname: str  # empty: the client told none
    expires: int  # seconds since the epoch; 0: never


class LearnedAddress(Message, frozen=True, kw_only=True):
    """An address that an app of a layer 2 instance was seen with."""

    ifname: str  # the app's port
    mac: str
    address: IpAddress


class ServiceStatus(Message, frozen=True, kw_only=True):
    """A service of an instance, supervised by its manager."""

    name: str
    pid: int  # 0: not running
    restarts: int  # starts after the first, since the manager was born
    error: str = ""


class TunnelStatus(Message, frozen=True, kw_only=True):
    """A tunnel as it is."""

    name: str
    up: bool  # packets pass
    reason: str = ""  # why they don't
    local: str = ""  # address:port, of the instance's link; NAT on the way changes it
    remote: str = ""  # address:port
    esp: str = ""  # who encrypts: `kernel` or `user space`
    cipher: str = ""  # of ESP, as AES_GCM_16-256
    networks: tuple[str, ...] = ()  # as `10.1.0.0/24 === 10.2.0.0/24`
    since: float = 0.0  # seconds since the epoch when the peers proved to each other who they are
    sent_bytes: int = 0  # over all its ESP associations since the manager was born, and of those that it found
    sent_packets: int = 0
    received_bytes: int = 0
    received_packets: int = 0
    rekeys: int = 0  # of ESP, since the manager was born
    last_error: str = ""  # stays after it is mended


class NamespaceStatus(Message, frozen=True, kw_only=True):
    """What a manager found and did. The key is the instance's name; the first one says: ready."""

    ready: bool  # everything planned is there
    config: str = ""  # digest of the NamespaceConfig that this answers
    waiting: tuple[str, ...] = ()  # planned, not possible yet: what and why
    errors: tuple[str, ...] = ()  # planned, failed: the command and the kernel's word
    services: tuple[ServiceStatus, ...] = ()
    ports: tuple[str, ...] = ()  # ifnames on the bridge
    idle: tuple[str, ...] = ()  # those of them without a carrier
    leases: tuple[Lease, ...] = ()
    learned: tuple[LearnedAddress, ...] = ()  # of apps whose addresses come from outside
    tunnels: tuple[TunnelStatus, ...] = ()


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


class NetworkMetrics(Message, frozen=True, kw_only=True):
    """What passed the host's uplinks. The only key is `host`."""

    at: float = 0.0  # seconds since the epoch
    interfaces: tuple[InterfaceCounters, ...] = ()


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


# --- what everybody reads ------------------------------------------------------------------------------------------


class Condition(Message, frozen=True, kw_only=True):
    """One thing worth telling about an instance."""

    name: str  # as ConfigValid, NamespaceReady, ManagerRunning, UplinkUsable
    ok: bool
    reason: str = ""


class ProcessStatus(Message, frozen=True, kw_only=True):
    """A process that belongs to an instance."""

    name: str
    pid: int


class CrashReport(Message, frozen=True, kw_only=True):
    """What is left of a manager that died unasked."""

    at: float  # seconds since the epoch
    how: str  # as `manager (pid 4711) killed by SIGSEGV after 12.0 s`
    path: str  # of the report on this host, for root


class PortMapStatus(Message, frozen=True, kw_only=True):
    """A port map in force."""

    app: str
    uplink: str
    outer: str  # address:port on the uplink
    inner: str  # address:port of the app
    protocol: str


class NetworkInstanceStatus(Message, frozen=True, kw_only=True):
    """One network instance as it is. The key is its name."""

    name: str
    type: InstanceType
    state: State
    reason: str = ""  # in words, when the state is not ready
    pid: int = 0  # the manager's; 0: none
    netns: str = ""  # name below /run/netns
    subnet: IPv4Network | None = None
    subnet6: IPv6Network | None = None
    uplink: str = ""  # the selected one; empty: none
    uplink_since: float = 0.0  # seconds since the epoch when it was selected
    uplink_reason: str = ""  # why this one, or why none
    uplinks: tuple[str, ...] = ()  # all that it uses now: several with `balance`
    restarts: int = 0  # of the manager, since the supervisor started or adopted it
    uid_base: int = 0  # first uid of the instance's range
    config: str = ""  # digest of the NetworkInstanceConfig in force
    since: float = 0.0  # seconds since the epoch when the state was entered
    last_error: str = ""  # stays after it is mended
    conditions: tuple[Condition, ...] = ()
    processes: tuple[ProcessStatus, ...] = ()
    portmaps: tuple[PortMapStatus, ...] = ()
    crashes: tuple[CrashReport, ...] = ()  # the last ones


class RuleStatus(Message, frozen=True, kw_only=True):
    """A rule of an app in force, and what met it."""

    name: str
    direction: str
    match: str  # in words
    action: str
    packets: int = 0
    bytes: int = 0
    drops: int = 0


class AppNetworkStatus(Message, frozen=True, kw_only=True):
    """An app as it is. The key is `instance/app`."""

    instance: str
    app: str
    address: IPv4Address | None = None
    mac: str = ""
    attached: bool = False
    kind: str = ""  # run, container, netns, tap, link; empty: nothing to attach
    pid: int = 0  # of a run app's first process or the container
    reason: str = ""  # why it is not attached
    addresses: tuple[str, ...] = ()  # all that it was seen with, where they come from outside
    rules: tuple[RuleStatus, ...] = ()  # empty: it has none, everything is allowed
    spoofed: int = 0  # packets dropped because they weren't the app's to send


class ProbeStatus(Message, frozen=True, kw_only=True):
    """One probe of an uplink."""

    name: str  # as `next hop 192.168.0.1` or `http://198.51.100.1/`
    up: bool
    latency: float = 0.0  # milliseconds, of the last answer; 0: none yet
    since: float = 0.0  # seconds since the epoch when it went up or down
    error: str = ""  # of the last try; empty: it was answered
    history: tuple[float, ...] = ()  # milliseconds of the last tries, the newest last; negative: no answer


class DeviceNetworkStatus(Message, frozen=True, kw_only=True):
    """One uplink as the host knows it. The key is its ifname."""

    ifname: str
    up: bool
    addresses: tuple[IPv4Interface, ...] = ()
    addresses6: tuple[IPv6Interface, ...] = ()  # without link-local ones
    gateways: tuple[IPv4Address, ...] = ()
    gateways6: tuple[IPv6Address, ...] = ()
    resolvers: tuple[IPv4Address, ...] = ()
    mtu: int = 0
    cost: int = 0
    labels: tuple[str, ...] = ()
    healthy: bool = False
    since: float = 0.0  # seconds since the epoch when it became healthy or ceased to be
    latency: float = 0.0  # milliseconds, of the next hop's last answer; 0: none yet
    probes: tuple[ProbeStatus, ...] = ()
    mark: int = 0  # of the packets bound to it
    table: int = 0  # its routing table
    instances: tuple[str, ...] = ()  # bound to it
    reason: str = ""  # why it is not healthy; empty: it is
    problems: tuple[str, ...] = ()  # of its config; the last good one stays in force


# --- of the bus itself ---------------------------------------------------------------------------------------------


class BusGrant(Message, frozen=True, kw_only=True):
    """What a uid may do on the bus, beside root, which may all. Published by the supervisor; the key is the uid."""

    publish: tuple[str, ...] = ()  # names of tables; `*` stands for one part
    subscribe: tuple[str, ...] = ()


class TableStatus(Message, frozen=True, kw_only=True):
    """One table as the hub knows it. Published by the hub itself as `hub/TableStatus`; the key is the table's name."""

    keys: int
    bytes: int
    sequence: int  # of the last change
    epoch: int  # of the writer
    restarted: int  # starts of its writer
    uid: int = -1  # the writer's, verified by the kernel; -1: none now
    pid: int = 0
    stale_since: float = 0.0  # seconds since the epoch; 0: its writer lives
    persistent: bool = False
    stream: bool = False
    subscribers: int = 0
    lost: int = 0  # records of a stream that a reader missed
    problem: str = ""  # what is wrong with its files, in words
