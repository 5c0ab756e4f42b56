"""Between the supervisor and its managers."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface

from pubsub.topics.base import InstanceType, Message
from pubsub.topics.instances import Dhcp6Mode, LogConfig, Route, Rule
from pubsub.topics.limits import LimitsConfig
from pubsub.values import AddressRange, Duration, Interval, IpAddress, MacAddress, Network, PortMap, WireguardKey


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


class NamespacePeer(Message, frozen=True, kw_only=True):
    """A tunnel by WireGuard, every choice made."""

    name: str
    public_key: WireguardKey
    remote: IpAddress
    port: int
    remote_subnets: tuple[Network, ...]
    keepalive: Duration
    shared_secret: bool = False  # there is one beside the keys


class NamespaceWireguard(Message, frozen=True, kw_only=True):
    """The WireGuard link of an instance. Its secrets lie in the instance's folder."""

    peers: tuple[NamespacePeer, ...]
    secrets: str = ""  # as a tunnel's


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
    limits: LimitsConfig = LimitsConfig()
    tunnels: tuple[NamespaceTunnel, ...] = ()  # of type vpn, by IPsec
    wireguard: NamespaceWireguard | None = None  # of type vpn
    tunnel_mtu: int = 0  # bytes that fit into a packet through a tunnel; 0: none is planned

    @property
    def sealed(self) -> bool:
        """Tell whether only tunnels lead out."""
        return bool(self.tunnels) or self.wireguard is not None

    @property
    def peers(self) -> tuple[NamespacePeer, ...]:
        """Return the tunnels by WireGuard."""
        return self.wireguard.peers if self.wireguard is not None else ()

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
    up: bool  # packets pass; by WireGuard: the peers have agreed upon keys that are still valid
    reason: str = ""  # why they don't
    local: str = ""  # address:port, of the instance's link; NAT on the way changes it
    remote: str = ""  # address:port
    kind: str = "ipsec"  # or `wireguard`
    esp: str = ""  # who encrypts: `kernel` or `user space`
    cipher: str = ""  # as AES_GCM_16-256
    networks: tuple[str, ...] = ()  # as `10.1.0.0/24 === 10.2.0.0/24`
    since: float = 0.0  # seconds since the epoch when the peers proved to each other who they are
    handshake: float = 0.0  # seconds since the epoch of WireGuard's last one; 0: none yet
    public_key: str = ""  # of WireGuard: ours, which the peer must know
    sent_bytes: int = 0  # over all ESP associations that the manager knew; by WireGuard since the link was made
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
