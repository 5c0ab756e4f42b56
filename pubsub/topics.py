"""Every message on the bus: one frozen class each, its name is the topic.

A table is named `agent/Topic`, or `agent/scope/Topic` where an agent keeps one table per instance (the words are
EVE's). Config comes from files or other agents, every `XConfig` is answered by an `XStatus`.

Fields are written as their text everywhere (YAML, msgpack, JSON): `10.1.0.0/24`, `8080:80/tcp`.
"""

from __future__ import annotations

import enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import msgspec

from pubsub.values import AddressRange, Duration, MacAddress, PortMap


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What all messages share. Unknown fields are ignored on the wire, so that versions can be mixed."""


class InstanceType(enum.StrEnum):
    """What a network instance does with its packets."""

    LOCAL = "local"  # routed, NAT, DHCP, DNS


class State(enum.StrEnum):
    """Where an instance stands, for people and for `wait`."""

    READY = "ready"  # configured as planned, services answering
    WAITING = "waiting"  # something outside is missing: see the reason
    STARTING = "starting"  # being made
    DEGRADED = "degraded"  # serves, but not all of it: see the conditions
    FAILED = "failed"  # does not serve: invalid config, or a crash loop


# --- configuration: what people and controllers write --------------------------------------------------------------


class Route(Message, frozen=True, kw_only=True):
    """A route told to the apps by DHCP option 121."""

    to: IPv4Network
    via: IPv4Address


class DhcpConfig(Message, frozen=True, kw_only=True):
    """What dnsmasq tells the apps by DHCP."""

    range: AddressRange | None = None  # first-last, inclusive; default: the middle half of the subnet
    lease_time: Duration = Duration(12 * 3600)
    ntp: tuple[IPv4Address, ...] = ()  # option 42
    routes: tuple[Route, ...] = ()  # option 121, beside the default route


class DnsConfig(Message, frozen=True, kw_only=True):
    """What dnsmasq answers by DNS."""

    domain: str = ""  # of the apps' names and option 15; empty: `<instance>.internal`
    hosts: dict[str, IPv4Address] = {}  # names without the domain, or whole names
    servers: tuple[IPv4Address, ...] = ()  # empty: those of the selected uplink


class Attachment(Message, frozen=True, kw_only=True):
    """Which existing thing to take into the instance: exactly one field is set."""

    container: int | None = None  # pid of a process in the container's network namespace
    tap: str | None = None  # ifname of a tap in the host's namespace


class AppConfig(Message, frozen=True, kw_only=True):
    """A workload of an instance."""

    address: IPv4Address | None = None  # fixed; default: chosen from outside the DHCP range, always the same
    mac: MacAddress | None = None  # default: derived from the instance's and the app's name
    ports: tuple[PortMap, ...] = ()
    attach: Attachment | None = None  # default: nothing; `nsvisor run --name` or a DHCP client with the MAC


class NetworkInstanceConfig(Message, frozen=True, kw_only=True):
    """One network instance as its user wants it. The key is its name."""

    type: InstanceType = InstanceType.LOCAL
    subnet: IPv4Network | None = None  # default: the next free one of the pool
    address: IPv4Address | None = None  # the bridge's, the apps' gateway; default: the subnet's first
    mtu: int = 1500  # bytes
    uplinks: tuple[str, ...] | None = None  # ifnames, first present one wins; None: that of the default route; (): none
    dhcp: DhcpConfig = DhcpConfig()
    dns: DnsConfig = DnsConfig()
    apps: dict[str, AppConfig] = {}


class SupervisorSettings(Message, frozen=True, kw_only=True):
    """Settings of the whole daemon. The only key is `settings`."""

    config_from: tuple[str, ...] = ("confd",)  # agents whose NetworkInstanceConfig counts, the first wins a name
    link_pool: IPv4Network = IPv4Network("100.127.0.0/16")  # a /31 an instance, between it and the host
    subnet_pool: IPv4Network = IPv4Network("10.64.0.0/10")  # a /24 for each instance without a subnet


class ConfigProblem(Message, frozen=True, kw_only=True):
    """One thing that is wrong in a config file. The key is `file:line:field`."""

    file: str
    line: int  # 1-based; 0: the whole file
    instance: str  # empty: not inside an instance
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
    gateway_mac: MacAddress  # never asked for by ARP: the host answers no unmarked packet of the link pool


class NamespaceApp(Message, frozen=True, kw_only=True):
    """An app, resolved."""

    name: str
    mac: MacAddress
    address: IPv4Address | None  # None: whatever DHCP gives
    ports: tuple[PortMap, ...] = ()
    ifname: str = ""  # its port on the bridge; empty: none expected now


class NamespaceConfig(Message, frozen=True, kw_only=True):
    """All that a manager needs to know, every choice made. The key is the instance's name."""

    type: InstanceType = InstanceType.LOCAL
    link: NamespaceLink | None = None  # None: air-gapped
    bridge: IPv4Interface  # the bridge's address in the subnet
    mtu: int
    domain: str
    range: AddressRange
    lease_time: Duration
    ntp: tuple[IPv4Address, ...] = ()
    routes: tuple[Route, ...] = ()
    hosts: dict[str, IPv4Address] = {}
    servers: tuple[IPv4Address, ...] = ()  # whom dnsmasq asks; empty: nobody
    apps: tuple[NamespaceApp, ...] = ()


class Lease(Message, frozen=True, kw_only=True):
    """One DHCP lease."""

    address: IPv4Address
    mac: str
    hostname: str  # empty: the client told none
    expires: int  # seconds since the epoch; 0: never


class ServiceStatus(Message, frozen=True, kw_only=True):
    """A service of an instance, supervised by its manager."""

    name: str
    pid: int  # 0: not running
    restarts: int  # starts after the first, since the manager was born
    error: str = ""


class NamespaceStatus(Message, frozen=True, kw_only=True):
    """What a manager found and did. The key is the instance's name; the first one says: ready."""

    ready: bool  # everything planned is there
    config: str = ""  # digest of the NamespaceConfig that this answers
    waiting: tuple[str, ...] = ()  # planned, not possible yet: what and why
    errors: tuple[str, ...] = ()  # planned, failed: the command and the kernel's word
    services: tuple[ServiceStatus, ...] = ()
    ports: tuple[str, ...] = ()  # ifnames on the bridge
    leases: tuple[Lease, ...] = ()


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
    uplink: str = ""  # the selected one; empty: none
    restarts: int = 0  # of the manager, since the supervisor started or adopted it
    uid_base: int = 0  # first uid of the instance's range
    config: str = ""  # digest of the NetworkInstanceConfig in force
    since: float = 0.0  # seconds since the epoch when the state was entered
    last_error: str = ""  # stays after it is mended
    conditions: tuple[Condition, ...] = ()
    processes: tuple[ProcessStatus, ...] = ()
    portmaps: tuple[PortMapStatus, ...] = ()


class AppNetworkStatus(Message, frozen=True, kw_only=True):
    """An app as it is. The key is `instance/app`."""

    instance: str
    app: str
    address: IPv4Address | None = None
    mac: str = ""
    attached: bool = False
    kind: str = ""  # run, container, tap; empty: nothing to attach
    pid: int = 0  # of a run app's first process or the container
    reason: str = ""  # why it is not attached


class DeviceNetworkStatus(Message, frozen=True, kw_only=True):
    """One uplink as the host knows it. The key is its ifname."""

    ifname: str
    up: bool
    addresses: tuple[IPv4Interface, ...] = ()
    gateways: tuple[IPv4Address, ...] = ()
    resolvers: tuple[IPv4Address, ...] = ()
    mtu: int = 0
    mark: int = 0  # of the packets bound to it
    table: int = 0  # its routing table
    instances: tuple[str, ...] = ()  # bound to it
    reason: str = ""  # why it can't be used; empty: it can


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
