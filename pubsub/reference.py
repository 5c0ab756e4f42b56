"""The reference of all topics, and of the config file, as Markdown: made from the classes and their comments."""

from __future__ import annotations

import enum
import json
import types
import typing
from collections.abc import Iterable
from typing import Any

import msgspec

from pubsub import topics
from pubsub.codec import to_plain
from pubsub.config.convert import field_types
from pubsub.fields import field_comments

Message = type[topics.Message]

WIRE_NOTE = """\
Every message is a map. A field with its default is left out on the wire, an unknown one is ignored. Addresses, port
maps, ranges and durations are texts. A table is named `agent/Topic`, or `agent/scope/Topic`: see [bus.md](bus.md)."""


def topics_reference() -> str:
    """Return docs/topics.md."""
    values = [getattr(topics, name) for name in topics.__all__]
    messages = [value for value in values if _is_message(value)]
    enums = [value for value in values if issubclass(value, enum.Enum)]
    parts = [
        "# Topics",
        "Made from `pubsub/topics/`; don't edit (`pytest --accept tests/unit/config/test_docs.py`).",
        WIRE_NOTE,
        *(_section(message) for message in messages),
        "## Words",
        *(_words(one) for one in enums),
    ]
    return "\n\n".join(parts) + "\n"


def fields_table(message: Message) -> str:
    """Return the fields of one message as a table."""
    comments = field_comments(message)
    rows = [
        (f"`{field.name}`", type_text(field_types(message)[field.name]), _default(field), comments.get(field.name, ""))
        for field in msgspec.structs.fields(message)
    ]
    return _table(("field", "type", "default", "meaning"), rows)


def type_text(type_: Any) -> str:
    """Return a type as words for people."""
    origin, arguments = typing.get_origin(type_), typing.get_args(type_)
    if origin in (types.UnionType, typing.Union):
        return type_text(next(one for one in arguments if one is not type(None))) + " or none"
    if origin is tuple:
        return f"list of {type_text(arguments[0])}"
    if origin is dict:
        return f"text → {type_text(arguments[1])}"
    if _is_message(type_) or (isinstance(type_, type) and issubclass(type_, enum.Enum)):
        return f"[{type_.__name__}](#{type_.__name__.lower()})"
    return {str: "text", int: "integer", bool: "bool", float: "number"}.get(type_, str(type_.__name__))


def _is_message(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, topics.Message) and value is not topics.Message


def _section(message: Message) -> str:
    words = " ".join((message.__doc__ or "").split())
    return f"## {message.__name__}\n\n{words}\n\n{fields_table(message)}"


def _words(one: type[enum.Enum]) -> str:
    words = " ".join((one.__doc__ or "").split())
    return f"### {one.__name__}\n\n{words}\n\n{', '.join(f'`{member.value}`' for member in one)}"


def _default(field: msgspec.structs.FieldInfo) -> str:
    default = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
    if default is msgspec.NODEFAULT:
        return "required"
    plain = to_plain(default, sparse=True)
    return "none" if plain is None else f"`{json.dumps(plain, ensure_ascii=False)}`"


def _table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [tuple(titles), *(tuple(row) for row in rows)]
    lines.insert(1, tuple("---" for _ in lines[0]))
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
