"""What a hostile author of an instance's config writes, and every place where a config takes a text."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from pubsub.schema import schema

GOOD = Path(__file__).with_name("author.yaml")
CANARY = "/run/pwned"  # made by whoever executes a word
INJECTIONS = {
    "a shell's command": f"x; touch {CANARY}",
    "a shell's substitution": f"$(touch {CANARY})",
    "a shell's backticks": f"`touch {CANARY}`",
    "a shell's pipe": f"|touch {CANARY}",
    "an option": f"--conf-script=/bin/touch {CANARY}",
    "nft's end of a block": "x } chain pwned { type filter hook input priority 0; policy accept; } #",
    "nft's quotes": '" accept; comment "',
    "nft's include": 'include "/etc/shadow"',
    "nft's table": "x\nadd table inet pwned",
    "nft's variable": "$pwned",
    "nft's set": "@pwned",
    "dnsmasq's script": f"x\ndhcp-script=/bin/touch {CANARY}",
    "dnsmasq's address": "x\naddress=/#/192.0.2.66",
    "dnsmasq's comma": "x,set:pwned,192.0.2.66",
    "dnsmasq's slash": "/#/192.0.2.66",
    "a line of hosts(5)": "x\n192.0.2.66 bank.example.test",
    "a line of hosts(5) by a return": "x\r192.0.2.66 bank.example.test",
    "radvd's block": "x {}; }; interface br0 { AdvSendAdvert off; }; #",
    "strongSwan's block": "x\n}\ncharon-systemd { load = pwned\n",
    "strongSwan's include": "x\ninclude /etc/shadow",
    "strongSwan's anybody": "%any",
    "a tab": "x\ty",
    "a blank": "x y",
    "a zero byte": "x\0y",
    "an escape": "\x1b]0;pwned\x07",
    "a C1 control": "\x9b2J",
    "a path up": "../../etc/pwned",
    "a path": CANARY,
    "a file of root's": "/etc/shadow",
    "this folder": ".",
    "the folder above": "..",
    "a format": "%s%n{0.__class__}",
    "a look-alike": "r\u0435d",  # a Cyrillic letter
    "a wide letter": "\uff52ed",
    "a sign of direction": "red\u202eblue",
    "a soft hyphen": "r\u00aded",
    "a Turkish letter": "\u0130\u0131",
    "a digit of another script": "\u0661\u0660.1.0.1",
    "a lone surrogate": "\ud800",
    "a long one": "a" * 3000,
    "an empty one": "",
    "a YAML tag": "!!python/object/apply:os.system ['touch /run/pwned']",
    "an XML entity": "]]><script>&x;",
}
Place = tuple[str, ...]


def places() -> Iterator[Place]:
    """Yield where the schema has a text; `{}` stands for a name, `[]` for a number, `{key}` for names."""
    whole = schema()
    yield from _below(whole, whole["$defs"], ())


def _below(node: dict[str, Any], defined: dict[str, Any], path: Place) -> Iterator[Place]:
    if "$ref" in node:
        node = defined[node["$ref"].rpartition("/")[2]]
    for alternative in node.get("anyOf", ()):
        yield from _below(alternative, defined, path)
    kinds = node.get("type", ())
    if "string" in ([kinds] if isinstance(kinds, str) else kinds) or "enum" in node:
        yield path
    for name, inner in node.get("properties", {}).items():
        yield from _below(inner, defined, (*path, name))
    if isinstance(node.get("additionalProperties"), dict):
        yield (*path, "{key}")
        yield from _below(node["additionalProperties"], defined, (*path, "{}"))
    if "items" in node:
        yield from _below(node["items"], defined, (*path, "[]"))


@cache
def around(place: Place) -> dict[str, Any]:
    """Return the good config, less what has nothing to do with a place."""
    whole: dict[str, Any] = yaml.safe_load(GOOD.read_text())
    part = {place[0]: whole[place[0]]}
    if place[0] == "instances":
        needed = {"type", "subnet", "uplinks", *place[2:3]} | ({"apps"} if "routes" in place else set())
        names = [name for name, one in part["instances"].items() if any(_put(copy.deepcopy(one), place[2:], ""))]
        for name in names[:1]:
            found = {field: value for field, value in whole["instances"][name].items() if field in needed}
            part = {"instances": {name: found}}
            if found.get("apps"):
                found["apps"] = {app: _fields(one, place[4:5]) for app, one in found["apps"].items()}
    return part


def _fields(app: dict[str, Any], wanted: Place) -> dict[str, Any]:
    return {field: value for field, value in app.items() if field in wanted}


def with_word(place: Place, word: str) -> dict[str, Any] | None:
    """Return that with a word at the place; None: the good config has no such place."""
    found = copy.deepcopy(around(place))
    return found if any(_put(found, place, word)) else None


def _put(node: Any, place: Place, word: str) -> Iterator[bool]:
    """Put the word where the place leads first."""
    if not place:
        yield True
        return
    first, rest = place[0], place[1:]
    if first == "{key}" and isinstance(node, dict):
        key = next(iter(node))
        node[word] = node.pop(key)
        yield True
    elif first in {"{}", "[]"}:
        keys: list[Any] = list(node) if isinstance(node, dict) else list(range(len(node or ())))
        for key in keys:
            if not rest:
                node[key] = word
                yield True
                return
            if any(_put(node[key], rest, word)):
                yield True
                return
    elif isinstance(node, dict) and first in node:
        if rest:
            yield from _put(node[first], rest, word)
        else:
            node[first] = word
            yield True
