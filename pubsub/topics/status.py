"""What everybody reads."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

from pubsub.topics.base import InstanceType, Message, State


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
