"""Pieces of nft's language. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def indented(lines: Iterable[str], depth: int = 1) -> str:
    """Return lines as they stand in a table."""
    tabs = "\t" * depth
    return "".join(f"{tabs}{line}\n" if line else "\n" for line in lines)


def chain(name: str, lines: Iterable[str]) -> Iterator[str]:
    """Yield a chain that others lead to."""
    yield f"chain {name} {{"
    yield from (f"\t{line}" for line in lines)
    yield "}"
    yield ""


def set_of(name: str, type_: str, elements: Iterable[str]) -> Iterator[str]:
    """Yield a set; `type_` with its word, as `type mark` or `typeof ip saddr`."""
    yield from _collection("set", name, type_, elements)


def map_of(name: str, type_: str, elements: Iterable[str]) -> Iterator[str]:
    """Yield a map; `type_` as `mark : verdict`."""
    yield from _collection("map", name, f"type {type_}", elements)


def one_of(words: Iterable[str]) -> str:
    """Return one value as it is, several as a set; each once."""
    found = list(dict.fromkeys(words))
    return found[0] if len(found) == 1 else f"{{ {', '.join(found)} }}"


def _collection(kind: str, name: str, type_: str, elements: Iterable[str]) -> Iterator[str]:
    found = ", ".join(elements)
    yield f"{kind} {name} {{"
    yield f"\t{type_}"
    yield from ([f"\telements = {{ {found} }}"] if found else [])
    yield "}"
    yield ""
