"""The JSON Schema of a config file, for editors: made from the classes in `topics.py`."""

from __future__ import annotations

import enum
import types
import typing
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import msgspec

from pubsub import codec
from pubsub.config.convert import field_types, required_fields
from pubsub.config.rules import APP_NAME_LENGTH, IFNAME_LENGTH, INSTANCE_NAME_LENGTH, LABEL, MTU_RANGE
from pubsub.fields import field_comments
from pubsub.topics import NetworkInstanceConfig, SupervisorSettings
from pubsub.values import AddressRange, Duration, MacAddress, PortMap

SCHEMA_ADDRESS = "https://json-schema.org/draft/2020-12/schema"

JsonSchema = dict[str, Any]

_TEXTS: dict[type, JsonSchema] = {
    IPv4Address: {"type": "string", "format": "ipv4", "description": "IPv4 address, as 10.1.0.1"},
    IPv4Network: {
        "type": "string",
        "pattern": r"^[0-9.]+/[0-9]{1,2}$",
        "description": "IPv4 network, as 10.1.0.0/24",
    },
    PortMap: {
        "type": "string",
        "pattern": r"^[0-9]{1,5}:[0-9]{1,5}(/(tcp|udp))?$",
        "description": "OUTER:INNER/PROTOCOL, as 8080:80/tcp",
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
    ("Attachment", "tap"): {"maxLength": IFNAME_LENGTH},
    ("Attachment", "container"): {"minimum": 1},
}


def schema() -> JsonSchema:
    """Return the schema of one file of the config directory."""
    definitions: JsonSchema = {}
    instance = _of(NetworkInstanceConfig, definitions)
    settings = _of(SupervisorSettings, definitions)
    names = {"pattern": f"^{LABEL.pattern}$", "maxLength": INSTANCE_NAME_LENGTH}
    instances = {"type": ["object", "null"], "propertyNames": names, "additionalProperties": instance}
    return {
        "$schema": SCHEMA_ADDRESS,
        "title": "nsvisor configuration",
        "description": "A file of the config directory; all of its files are merged.",
        "type": ["object", "null"],
        "properties": {"instances": instances, "settings": settings},
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
