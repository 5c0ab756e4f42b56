"""What all messages share, and the words that many use."""

from __future__ import annotations

import enum

import msgspec


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
