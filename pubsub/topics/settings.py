"""What people write of the daemon itself, and what is wrong with what they wrote."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

from pubsub.topics.base import Message


class SupervisorSettings(Message, frozen=True, kw_only=True):
    """Settings of the whole daemon. The only key is `settings`."""

    config_from: tuple[str, ...] = ("confd",)  # agents whose instances and uplinks count, the first wins a name
    link_pool: IPv4Network = IPv4Network("100.127.0.0/16")  # a /31 an instance, between it and the host
    subnet_pool: IPv4Network = IPv4Network("10.64.0.0/10")  # a /24 for each instance without a subnet
    link_pool6: IPv6Network = IPv6Network("fd6e:7376:6973::/64")  # a /127 an instance, between it and the host
    subnet_pool6: IPv6Network = IPv6Network("fd6e:7376:6974::/48")  # a /64 for each instance without a subnet6
    packet_steering: bool = False  # spread an instance's flows over the processors, where the host goes on with them


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
