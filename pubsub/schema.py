"""The JSON Schema of a config file, for editors: made from the classes in `topics/`."""

from __future__ import annotations

import enum
import types
import typing
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Any

import msgspec

from pubsub import codec
from pubsub.config.convert import NONE_WORDS, field_types, required_fields
from pubsub.config.rules import APP_NAME_LENGTH, INSTANCE_NAME_LENGTH, LABEL, MTU_RANGE
from pubsub.config.rules_limits import RANGES
from pubsub.config.rules_uplinks import COST_RANGE, PROBE_COUNTS
from pubsub.config.rules_wireguard import KEEPALIVE_RANGE, PORT_RANGE
from pubsub.config.rules_words import IFNAME, IFNAME_LENGTH
from pubsub.fields import field_comments
from pubsub.topics import NetworkInstanceConfig, SupervisorSettings, UplinkConfig
from pubsub.values import (
    UPLINK_WORD,
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
    Size,
    WireguardKey,
)

SCHEMA_ADDRESS = "https://json-schema.org/draft/2020-12/schema"

JsonSchema = dict[str, Any]

_TEXTS: dict[type, JsonSchema] = {
    IPv4Address: {"type": "string", "format": "ipv4", "description": "IPv4 address, as 10.1.0.1"},
    IPv4Network: {
        "type": "string",
        "pattern": r"^[0-9.]+/[0-9]{1,2}$",
        "description": "IPv4 network, as 10.1.0.0/24",
    },
    IPv6Network: {
        "type": "string",
        "pattern": r"^[0-9a-fA-F:.]+/[0-9]{1,3}$",
        "description": "IPv6 network, as fd12:3456:789a::/64",
    },
    PortMap: {
        "type": "string",
        "pattern": rf"^({UPLINK_WORD}:)?[0-9]{{1,5}}:[0-9]{{1,5}}(/(tcp|udp))?$",
        "description": "[UPLINK:]OUTER:INNER/PROTOCOL, as 8080:80/tcp or eth1:8080:80/tcp",
    },
    Endpoint: {
        "type": "string",
        "pattern": r"^(icmp|tcp|http)://(\[[0-9a-fA-F:.]+\]|[0-9.]+)(:[0-9]{1,5})?(/[!-~]*)?$",
        "description": "icmp://ADDRESS, tcp://ADDRESS:PORT or http://ADDRESS/PATH",
    },
    IpAddress: {"type": "string", "pattern": r"^[0-9a-fA-F:.]+$", "description": "address of either family"},
    PeerAddress: {"type": "string", "pattern": r"^[0-9a-fA-F:.]+$", "description": "address of the peer, no name"},
    WireguardKey: {
        "type": "string",
        "pattern": r"^[A-Za-z0-9+/]{43}=$",
        "description": "public key of WireGuard, as `wg pubkey` prints it",
    },
    Network: {
        "type": "string",
        "pattern": r"^[0-9a-fA-F:.]+(/[0-9]{1,3})?$",
        "description": "network or address of either family, as 10.1.0.0/24 or 2001:db8::1",
    },
    PortRange: {
        "type": ["string", "integer"],
        "pattern": r"^[0-9]{1,5}(-[0-9]{1,5})?$",
        "description": "PORT or FIRST-LAST, as 80 or 8000-8100",
    },
    Rate: {
        "type": "string",
        "pattern": r"^[0-9]{1,9} ?(bytes|kbytes|mbytes)?/[smh]$",
        "description": "packets or bytes in a time, as 5/s, 300/m or 100kbytes/s",
    },
    Size: {"type": ["string", "integer"], "pattern": r"^[0-9]{1,15}[KMGT]?$", "description": "as 512K, 256M, 2G"},
    Interval: {
        "type": ["string", "number"],
        "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m)?$",
        "description": "as 500ms, 5s, 2m",
    },
    AddressRange: {"type": "string", "pattern": r"^[0-9.]+ *- *[0-9.]+$", "description": "FIRST-LAST, both inclusive"},
    Duration: {"type": ["string", "integer"], "pattern": r"^[0-9]+[smhd]?$", "description": "as 90s, 30m, 12h, 7d"},
    MacAddress: {
        "type": "string",
        "pattern": r"^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$",
        "description": "unicast MAC address, as 02:00:00:00:00:01",
    },
    str: {"type": "string"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
}

# What the classes can't say; by message and field.
_LIMITS: dict[tuple[str, str], JsonSchema] = {
    ("NetworkInstanceConfig", "mtu"): {"minimum": MTU_RANGE[0], "maximum": MTU_RANGE[1]},
    ("NetworkInstanceConfig", "apps"): {
        "propertyNames": {"pattern": f"^{LABEL.pattern}$", "maxLength": APP_NAME_LENGTH}
    },
    ("NetworkInstanceConfig", "uplinks"): {"uniqueItems": True},
    ("UplinkConfig", "cost"): {"minimum": COST_RANGE[0], "maximum": COST_RANGE[1]},
    ("UplinkConfig", "labels"): {"uniqueItems": True},
    **{
        (probe, field): {"minimum": PROBE_COUNTS[0], "maximum": PROBE_COUNTS[1]}
        for probe in ("NextHopProbe", "EndpointProbe")
        for field in ("down", "up")
    },
    **{("LimitsConfig", field): {"minimum": least, "maximum": most} for field, (least, most) in RANGES.items()},
    ("WireguardPeer", "port"): {"minimum": PORT_RANGE[0], "maximum": PORT_RANGE[1]},
    ("WireguardPeer", "keepalive"): {"minimum": int(KEEPALIVE_RANGE[0]), "maximum": int(KEEPALIVE_RANGE[1])},
    ("Attachment", "tap"): {"maxLength": IFNAME_LENGTH},
    ("Attachment", "container"): {"minimum": 1},
}


def schema() -> JsonSchema:
    """Return the schema of one file of the config directory."""
    definitions: JsonSchema = {}
    instance = _of(NetworkInstanceConfig, definitions)
    uplink = _of(UplinkConfig, definitions)
    settings = _of(SupervisorSettings, definitions)
    names = {"pattern": f"^{LABEL.pattern}$", "maxLength": INSTANCE_NAME_LENGTH}
    instances = {"type": ["object", "null"], "propertyNames": names, "additionalProperties": instance}
    ifnames = {"pattern": f"^{IFNAME.pattern}$", "maxLength": IFNAME_LENGTH}
    uplinks = {"type": ["object", "null"], "propertyNames": ifnames, "additionalProperties": uplink}
    return {
        "$schema": SCHEMA_ADDRESS,
        "title": "nsvisor configuration",
        "description": "A file of the config directory; all of its files are merged.",
        "type": ["object", "null"],
        "properties": {"instances": instances, "uplinks": uplinks, "settings": settings},
        "patternProperties": {"^x-": {}},
        "additionalProperties": False,
        "$defs": definitions,
    }


def _of(type_: Any, definitions: JsonSchema) -> JsonSchema:
    origin, arguments = typing.get_origin(type_), typing.get_args(type_)
    if origin in (types.UnionType, typing.Union):
        inner = next(argument for argument in arguments if argument is not type(None))
        return {"anyOf": [_of(inner, definitions), {"type": "null"}]}
    if origin is dict:
        return {"type": ["object", "null"], "additionalProperties": _of(arguments[1], definitions)}
    if origin is tuple:
        return {"type": ["array", "null"], "items": _of(arguments[0], definitions)}
    if issubclass(type_, enum.Enum):
        return {"enum": [member.value for member in type_]}
    if issubclass(type_, msgspec.Struct):
        if type_.__name__ not in definitions:
            definitions[type_.__name__] = _struct(type_, definitions)
        return {"$ref": f"#/$defs/{type_.__name__}"}
    return dict(_TEXTS[type_])


def _struct(type_: type[msgspec.Struct], definitions: JsonSchema) -> JsonSchema:
    defaults = {field.name: field.default for field in msgspec.structs.fields(type_)}
    comments = field_comments(type_)
    properties = {}
    for name, field_type in field_types(type_).items():
        field = _of(field_type, definitions) | _LIMITS.get((type_.__name__, name), {})
        if (type_, name) in NONE_WORDS:
            field["anyOf"].append({"enum": [NONE_WORDS[type_, name]]})
        default = defaults[name]
        if default is not msgspec.NODEFAULT and default is not None and not isinstance(default, msgspec.Struct):
            field["default"] = codec.to_plain(default)
        if name in comments:
            field["description"] = comments[name]
        properties[name] = field
    description = (type_.__doc__ or "").strip().splitlines()[0]
    found: JsonSchema = {"type": ["object", "null"], "description": description, "properties": properties}
    if required_fields(type_):
        found["required"] = list(required_fields(type_))
    return found | {"additionalProperties": False}
