"""Every message on the bus: one frozen class each, its name is the topic.

A table is named `agent/Topic`, or `agent/scope/Topic` where an agent keeps one table per instance (the words are
EVE's). Config comes from files or other agents, every `XConfig` is answered by an `XStatus`.

Fields are written as their text everywhere (YAML, msgpack, JSON): `10.1.0.0/24`, `8080:80/tcp`.
"""

from pubsub.topics.base import (
    InstanceType,
    Message,
    State,
)
from pubsub.topics.bus import (
    BusGrant,
    BusUse,
    TableStatus,
)
from pubsub.topics.instances import (
    Action,
    AppConfig,
    Attachment,
    Dhcp6Mode,
    DhcpConfig,
    Direction,
    DnsConfig,
    Ipv6Mode,
    LogConfig,
    NetworkInstanceConfig,
    Route,
    Rule,
    StaticRoute,
    SwitchConfig,
)
from pubsub.topics.limits import (
    InstanceResources,
    LimitsConfig,
    ResourceUse,
)
from pubsub.topics.namespaces import (
    AppRoute,
    LearnedAddress,
    Lease,
    NamespaceApp,
    NamespaceConfig,
    NamespaceLink,
    NamespaceOutlook,
    NamespacePeer,
    NamespaceStatus,
    NamespaceTunnel,
    NamespaceWireguard,
    ServiceStatus,
    TunnelStatus,
)
from pubsub.topics.records import (
    DnsQuery,
    InterfaceCounters,
    IPFlow,
    NetworkInstanceMetrics,
    NetworkMetrics,
    RuleCounters,
    ServiceCounters,
    Verdict,
)
from pubsub.topics.settings import (
    ConfigProblem,
    SupervisorSettings,
)
from pubsub.topics.status import (
    AppNetworkStatus,
    Condition,
    CrashReport,
    DeviceNetworkStatus,
    NetworkInstanceStatus,
    PortMapStatus,
    ProbeStatus,
    ProcessStatus,
    RuleStatus,
)
from pubsub.topics.uplinks import (
    EndpointProbe,
    NextHopMethod,
    NextHopProbe,
    UplinkConfig,
)
from pubsub.topics.vpn import (
    IpsecConnection,
    VpnConfig,
    WireguardConfig,
    WireguardPeer,
)

# In the order of the reference: what people write, what managers are told, what everybody reads.
__all__ = [  # noqa: RUF022
    "Message",
    "InstanceType",
    "State",
    "Ipv6Mode",
    "Dhcp6Mode",
    "NextHopMethod",
    "NextHopProbe",
    "EndpointProbe",
    "UplinkConfig",
    "Route",
    "StaticRoute",
    "DhcpConfig",
    "DnsConfig",
    "Attachment",
    "Direction",
    "Action",
    "Rule",
    "AppConfig",
    "SwitchConfig",
    "LogConfig",
    "LimitsConfig",
    "IpsecConnection",
    "WireguardPeer",
    "WireguardConfig",
    "VpnConfig",
    "NetworkInstanceConfig",
    "SupervisorSettings",
    "ConfigProblem",
    "NamespaceLink",
    "NamespaceApp",
    "AppRoute",
    "NamespaceTunnel",
    "NamespacePeer",
    "NamespaceWireguard",
    "NamespaceConfig",
    "NamespaceOutlook",
    "Lease",
    "LearnedAddress",
    "ServiceStatus",
    "TunnelStatus",
    "NamespaceStatus",
    "InterfaceCounters",
    "RuleCounters",
    "ServiceCounters",
    "ResourceUse",
    "NetworkInstanceMetrics",
    "InstanceResources",
    "NetworkMetrics",
    "Verdict",
    "IPFlow",
    "DnsQuery",
    "Condition",
    "ProcessStatus",
    "CrashReport",
    "PortMapStatus",
    "NetworkInstanceStatus",
    "RuleStatus",
    "AppNetworkStatus",
    "ProbeStatus",
    "DeviceNetworkStatus",
    "BusGrant",
    "BusUse",
    "TableStatus",
]
