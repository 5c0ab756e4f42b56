"""Names of tables: `agent/Topic`, or `agent/scope/Topic`; in a pattern `*` stands for one part."""

from __future__ import annotations

import re

from pubsub.errors import BadName
from pubsub.limits import NAME_LIMIT

PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@-]*")  # no `+`, no `/`: the store's file names use them
ANY = "*"


def table_name(agent: str, scope: str, topic: str) -> str:
    """Join the parts of a name; the scope may be empty or `*`. Raises BadName."""
    parts = [agent, scope, topic] if scope else [agent, topic]
    name = "/".join(parts)
    if any("/" in part for part in parts) or not is_pattern(name):
        raise BadName(f"{name!r} is no name of a table; its parts are letters, digits and _ . : @ -")
    return name


def is_name(name: str) -> bool:
    """Tell whether this can be one table's name (no pattern)."""
    parts = name.split("/")
    return len(name) <= NAME_LIMIT and len(parts) in (2, 3) and all(PART.fullmatch(part) for part in parts)


def is_pattern(name: str) -> bool:
    """Tell whether this can be a table's name or a pattern for some."""
    return is_name("/".join("x" if part == ANY else part for part in name.split("/")))


def scope_of(name: str) -> str:
    """Find the scope in a table's name; empty when it has none."""
    parts = name.split("/")
    return parts[1] if len(parts) == 3 else ""


def matches(pattern: str, name: str) -> bool:
    """Tell whether the pattern covers the name. A `*` in the name is only covered by a `*` in the pattern."""
    wanted, found = pattern.split("/"), name.split("/")
    return len(wanted) == len(found) and all(w in (ANY, f) for w, f in zip(wanted, found, strict=True))
