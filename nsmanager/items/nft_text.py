"""What an nft table consists of, read from the text that makes it, or from how nft lists it. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

import msgspec

# Compiled here once for all managers, which share what was there before the fork.
OBJECT = re.compile(r"^\t(\w+) (\S+) {\n(.*?)^\t}$", re.MULTILINE | re.DOTALL)
HOOK = re.compile(r"^\s*chain (\S+) {\s*(type [^\n]*)", re.MULTILINE)
CHAIN = re.compile(r"^\s*chain (\S+) {", re.MULTILINE)
WORDS = r'((?:"[^"]*"|[^{}"])*)'  # a name in quotation marks may have braces
NAMED = re.compile(rf"^\s*(set|map) (\S+) {{{WORDS}(?:{{{WORDS}}}[\s;]*)?}}", re.MULTILINE)
HEXADECIMAL = re.compile(r"0x0*([0-9a-f]+)")
NUMBERS = {"tcp": "6", "udp": "17"}  # as nft lists them on a machine without /etc/protocols


class Named(msgspec.Struct, frozen=True):
    """A named set or map."""

    kind: str  # `set` or `map`
    declared: str  # its type and all else but the elements
    elements: dict[str, str]  # in one way of writing -> as it stands in the text


def objects(listing: str) -> list[tuple[str, str, str]]:
    """Return kind, name and body of all that a listed table holds."""
    return OBJECT.findall(listing)


def head(declaration: str) -> str:
    """Return kind and name of what is declared, as `set x`."""
    return " ".join(declaration.split()[:2])


def named(text: str, but: Collection[str] = ()) -> dict[str, Named]:
    """Return the named sets and maps by name, but some; what is declared in several parts has the elements of all."""
    found: dict[str, Named] = {}
    for kind, name, declared, listed in NAMED.findall(text):
        if f"{kind} {name}" in but:
            continue
        words = " ".join(declared.replace(";", " ").split()).removesuffix("elements =").rstrip()
        before = found[name].elements if name in found else {}
        found[name] = Named(kind, words, before | {plain(one): one for one in _split(listed)})
    return found


def plain(element: str) -> str:
    """Return an element in one way of writing: nft lists numbers with zeros before them, and some by name."""
    return " : ".join(" . ".join(map(_plain_word, side.split(" . "))) for side in element.split(" : "))


def _plain_word(word: str) -> str:
    number = HEXADECIMAL.fullmatch(word)
    return f"0x{number[1]}" if number else NUMBERS.get(word, word)


def _split(listed: str) -> Iterator[str]:
    """Yield elements; no name of a link has a space."""
    return (one for one in re.split(r",\s+", listed.strip()) if one)
