"""Turns YAML nodes into messages, guided by the classes alone, and says all that is wrong, each with its line.

A leaf goes through `pubsub.codec`, as on the wire. Where a class wants text, the characters of the file count: YAML
alone would read `8080:22` as a number of base 60 and `no` as false.
"""

from __future__ import annotations

import difflib
import enum
import functools
import types
import typing
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import msgspec
import yaml

from pubsub import codec
from pubsub.config.document import Node, is_null, line_of, pairs, quote
from pubsub.topics import ConfigProblem, NetworkInstanceConfig
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
    Size,
    WireguardKey,
)

NODE_LIMIT = 50_000  # visited in one instance; aliases can blow a small file up to billions

INTEGERS = (-(2**63), 2**63 - 1)  # what every reader of msgpack takes
TOO_LARGE = "too large"

MESSAGE_LIMIT = 400  # characters; a value that it names may have megabytes

_BOOL = "tag:yaml.org,2002:bool"
_INT = "tag:yaml.org,2002:int"

Path = tuple[str, ...]

# What to write instead, by the type that a field wants.
_EXAMPLES: dict[type, tuple[str, str]] = {
    IPv4Address: ("an IPv4 address", "write four numbers, as 10.1.0.1"),
    IPv4Network: ("an IPv4 network", "write ADDRESS/PREFIXLEN, as 10.1.0.0/24"),
    IPv6Address: ("an IPv6 address", "write it as 2001:db8::1"),
    IPv6Network: ("an IPv6 network", "write PREFIX/PREFIXLEN, as fd12:3456:789a::/64"),
    PortMap: ("a port map", "write OUTER:INNER/PROTOCOL, as 8080:80/tcp"),
    AddressRange: ("a range of addresses", "write FIRST-LAST, as 10.1.0.100-10.1.0.199"),
    Duration: ("a duration", "write a number and s, m, h or d, as 12h"),
    Interval: ("an interval", "write a number and ms, s or m, as 500ms"),
    IpAddress: ("an address", "write it as 10.1.0.1 or 2001:db8::1"),
    PeerAddress: ("an address", "write it as 203.0.113.1"),
    WireguardKey: ("a key of WireGuard", "write the 44 characters that `wg pubkey` prints"),
    Network: ("a network", "write ADDRESS/PREFIXLEN, as 10.1.0.0/24 or 2001:db8::/32"),
    PortRange: ("a port", "write a number, as 80, or FIRST-LAST, as 8000-8100"),
    Rate: ("a rate", "write packets or bytes in a time, as 5/s, 300/m or 100kbytes/s"),
    Size: ("a size", "write a number and K, M or G, as 256M"),
    Endpoint: ("an endpoint", "write icmp://ADDRESS, tcp://ADDRESS:PORT or http://ADDRESS/PATH"),
    MacAddress: ("a MAC address", "write six hexadecimal pairs, as 02:00:00:00:00:01"),
    int: ("a whole number", "write digits without quotes"),
    bool: ("true or false", "write true or false"),
    str: ("text", "write it in quotes"),
}

# The word that stands for None in files, by message and field. On the wire None is None.
NONE_WORDS: dict[tuple[type, str], str] = {(NetworkInstanceConfig, "uplinks"): "all"}


class _Broken(enum.Enum):
    BROKEN = enum.auto()


BROKEN = _Broken.BROKEN  # stands for a value that could not be read; its problem is noted


class Place(typing.NamedTuple):
    """Where a field stands."""

    line: int
    value: str


class Converter:
    """Reads the nodes of one instance, of one uplink or of the settings, and collects problems and places."""

    def __init__(self, file: str, *, instance: str = "", uplink: str = "") -> None:
        self.file = file
        self.instance = instance
        self.uplink = uplink
        self.problems: list[ConfigProblem] = []
        self.places: dict[Path, Place] = {}  # of every field, for problems that are found later
        self._visited = 0

    def problem(self, path: Path, place: Place, message: str, remedy: str) -> None:
        """Note one problem."""
        self.problems.append(
            ConfigProblem(
                file=self.file,
                line=place.line,
                instance=self.instance,
                uplink=self.uplink,
                field=".".join(path),
                value=place.value,
                message=shortened(message),
                remedy=shortened(remedy),
            )
        )

    def place(self, path: Path) -> Place:
        """Return where a field stands; of one that isn't written, where the field around it does."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.places:
                found = self.places[path[:length]]
                return found if length == len(path) else Place(found.line, "")
        return Place(0, "")

    def convert(self, node: Node, type_: Any, path: Path, line: int = 0) -> Any:
        """Return the value of a node as the type wants it, or BROKEN. `line` is that of its key."""
        self._visited += 1
        here = Place(line or line_of(node), quote(node))
        self.places[path] = here
        if self._visited > NODE_LIMIT:
            if self._visited == NODE_LIMIT + 1:
                self.problem(path, here, "too many values", "write less, or use fewer aliases")
            return BROKEN
        wanted, optional = _without_none(type_)
        if is_null(node) and optional:
            return None
        if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
            return self._struct(node, wanted, path, here)
        if typing.get_origin(wanted) is dict:
            return self._dict(node, typing.get_args(wanted)[1], path, here)
        if typing.get_origin(wanted) is tuple:
            return self._tuple(node, typing.get_args(wanted)[0], path, here)
        return self._leaf(node, wanted, path, here)

    def mapping(self, node: Node, path: Path, here: Place) -> list[tuple[yaml.ScalarNode, Node]] | None:
        """Return the pairs of a mapping whose keys are texts that stand once; None when it is none."""
        if is_null(node):
            return []
        if not isinstance(node, yaml.MappingNode):
            self.problem(
                path, here, f"expected fields (`name: value`), got {_kind(node)}", "indent `name: value` below it"
            )
            return None
        lines: dict[str, int] = {}
        found = []
        for key, value in pairs(node):
            if key is None:
                self.problem(path, Place(line_of(value), ""), "a key that is no plain name", "write `name: value`")
            elif key.value in lines:
                place = Place(line_of(key), quote(value))
                said = f"{key.value!r} stands twice; the first is in line {lines[key.value]}"
                self.problem((*path, key.value), place, said, "remove one of them")
            else:
                lines[key.value] = line_of(key)
                found.append((key, value))
        return found

    def unknown_key(self, path: Path, key: yaml.ScalarNode, value: Node, known: Iterable[str]) -> None:
        """Note a key that nobody knows."""
        place = Place(line_of(key), quote(value))
        self.problem((*path, key.value), place, f"unknown field {key.value!r}", did_you_mean(key.value, known))

    def _struct(self, node: Node, type_: type[msgspec.Struct], path: Path, here: Place) -> Any:
        before = len(self.problems)
        entries = self.mapping(node, path, here)
        if entries is None:
            return BROKEN
        fields = field_types(type_)
        values = {}
        for key, value in entries:
            if key.value in fields:
                word = NONE_WORDS.get((type_, key.value), "")
                values[key.value] = self._field(value, fields[key.value], (*path, key.value), line_of(key), word)
            else:
                self.unknown_key(path, key, value, fields)
        for name in required_fields(type_):
            if name not in values:
                self.problem((*path, name), Place(here.line, ""), f"field {name!r} is missing", f"add `{name}: …`")
        return BROKEN if len(self.problems) > before else type_(**values)

    def _field(self, node: Node, type_: Any, path: Path, line: int, word: str) -> Any:
        """Return the value of a field that may be written as a `word` instead; empty: it has none."""
        if not word or not isinstance(node, yaml.ScalarNode) or is_null(node):
            return self.convert(node, type_, path, line)
        here = self.places[path] = Place(line, quote(node))
        if node.value == word:
            return None
        self.problem(
            path, here, f"expected a list or `{word}`, got {_kind(node)}", f"write it in brackets: [{here.value}]"
        )
        return BROKEN

    def _dict(self, node: Node, value_type: Any, path: Path, here: Place) -> Any:
        before = len(self.problems)
        entries = self.mapping(node, path, here)
        if entries is None:
            return BROKEN
        found = {key.value: self.convert(value, value_type, (*path, key.value), line_of(key)) for key, value in entries}
        return BROKEN if len(self.problems) > before else found

    def _tuple(self, node: Node, item_type: Any, path: Path, here: Place) -> Any:
        if is_null(node):
            return ()
        if not isinstance(node, yaml.SequenceNode):
            remedy = f"write it in brackets: [{here.value}]" if here.value else "write `- value` lines"
            self.problem(path, here, f"expected a list, got {_kind(node)}", remedy)
            return BROKEN
        found = tuple(self.convert(item, item_type, (*path, str(index))) for index, item in enumerate(node.value))
        return BROKEN if BROKEN in found else found

    def _leaf(self, node: Node, type_: Any, path: Path, here: Place) -> Any:
        if not isinstance(node, yaml.ScalarNode) or is_null(node):
            what, remedy = _EXAMPLES.get(type_, ("a value", "write a value"))
            self.problem(path, here, f"expected {what}, got {_kind(node)}", remedy)
            return BROKEN
        try:
            return codec.from_plain(type_, _plain(node, type_))
        except ValueError as exc:
            message, remedy = _explain(type_, str(node.value), str(exc))
            self.problem(path, here, message, remedy)
            return BROKEN


@functools.cache
def field_types(type_: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the fields of a message with their types."""
    hints = typing.get_type_hints(type_)
    return {name: hints[name] for name in type_.__struct_fields__}


@functools.cache
def required_fields(type_: type[msgspec.Struct]) -> tuple[str, ...]:
    """Return the fields of a message that have no default."""
    return tuple(field.name for field in msgspec.structs.fields(type_) if field.required)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the remedy for a word that isn't known."""
    words = list(known)
    close = difflib.get_close_matches(word.lower(), words, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(words)}"


def shortened(text: str) -> str:
    """Return a message whose middle is left out where it is long: its end says what is wrong."""
    half = MESSAGE_LIMIT // 2
    return text if len(text) <= MESSAGE_LIMIT else f"{text[:half]} … {text[-half:]}"


def _without_none(type_: Any) -> tuple[Any, bool]:
    if typing.get_origin(type_) in (types.UnionType, typing.Union):
        rest = [arg for arg in typing.get_args(type_) if arg is not type(None)]
        return rest[0], len(rest) < len(typing.get_args(type_))
    return type_, False


def _plain(node: yaml.ScalarNode, type_: Any) -> object:
    """Return the text of a scalar, or its number or truth where the type wants that. Raises ValueError."""
    text = str(node.value)
    if type_ is int:
        if node.tag != _INT:
            raise ValueError("text")
        if not INTEGERS[0] <= int(text) <= INTEGERS[1]:
            raise ValueError(TOO_LARGE)
        return int(text)
    if type_ is bool:
        if node.tag != _BOOL:
            raise ValueError("text")
        return text.lower() in ("true", "yes", "on")
    if type_ is str and node.tag == _BOOL and not node.style:
        raise ValueError("YAML reads this word as true or false")
    return text


def _explain(type_: Any, text: str, error: str) -> tuple[str, str]:
    """Return what is wrong and what to do."""
    if isinstance(type_, type) and issubclass(type_, enum.Enum):
        return f"unknown {type_.__name__} {text!r}", did_you_mean(text, [str(member.value) for member in type_])
    if hasattr(type_, "parse"):
        message, _, remedy = error.partition("; ")
        return message, remedy or "look at docs/config.md for how to write it"
    what, remedy = _EXAMPLES.get(type_, ("a value of this kind", "look at docs/config.md for how to write it"))
    if type_ in (IPv4Network, IPv6Network) and "host bits" in error:
        network = type_(text, strict=False)
        return f"{text} is an address inside a network", f"write the network itself: {network}"
    if type_ is int and error == TOO_LARGE:
        return f"{text} has more than 64 bits", "write a smaller number"
    if type_ is int and text.isdigit():
        remedy = f"write it without quotes: {text}"
    return f"{text!r} is not {what}", remedy


def _kind(node: Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "fields"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return "nothing" if is_null(node) else f"{quote(node)!r}"
