"""What can be listed: which tables of the bus it is read from, its rows and its columns."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from pubsub import topics
from pubsub.codec import to_plain
from supervisor.cli.output import Column, Row, few, milliseconds, show, size


class Kind(msgspec.Struct, frozen=True):
    """One kind of things."""

    name: str  # plural
    singular: str
    topic: type[topics.Message]
    agent: str
    columns: Sequence[Column]
    scope: str = ""  # `*`: the tables of every instance
    name_key: str = "name"  # of a row: what `-o name` prints
    filter_key: str = "name"  # of a row: what the command's names choose
    rows: Callable[[str, Any], list[Row]] = lambda _key, message: [to_plain(message)]  # of one key's message

    def all_rows(self, table: Mapping[str, Any]) -> list[Row]:
        """Return the rows of a whole table, sorted."""
        return [row for key in sorted(table) for row in self.rows(key, table[key])]


def _apps(key: str, status: topics.AppNetworkStatus) -> list[Row]:
    return [{"name": key, **to_plain(status)}]


def _uplinks(key: str, status: topics.DeviceNetworkStatus) -> list[Row]:
    return [{"name": key, **to_plain(status)}]


def _leases(key: str, status: topics.NamespaceStatus) -> list[Row]:
    return [{"instance": key, **to_plain(lease)} for lease in sorted(status.leases, key=lambda one: one.address)]


def _portmaps(key: str, status: topics.NetworkInstanceStatus) -> list[Row]:
    return [{"instance": key, **to_plain(portmap)} for portmap in status.portmaps]


def _tables(key: str, status: topics.TableStatus) -> list[Row]:
    return [{"name": key, **to_plain(status)}]


def moment(seconds: float) -> str:
    """Return a time since the epoch in local words; 0 is none."""
    if not seconds:
        return "-"
    try:
        return dt.datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")
    except (OverflowError, ValueError, OSError):  # who told it may be hostile, and the others are to be listed
        return f"at {seconds} s"


INSTANCES = Kind(
    "instances",
    "instance",
    topics.NetworkInstanceStatus,
    "supervisor",
    (
        Column("NAME", "name"),
        Column("TYPE", "type"),
        Column("STATE", "state"),
        Column("SUBNET", "subnet"),
        Column("UPLINK", "uplink", row_text=lambda row: show(row["uplinks"] or row["uplink"])),
        Column("SUBNET6", "subnet6", wide=True),
        Column("PID", "pid", wide=True, text=lambda pid: show(pid or None)),
        Column("NETNS", "netns", wide=True),
        Column("RESTARTS", "restarts"),
        Column("SINCE", "since", wide=True, text=moment),
        Column("REASON", "reason"),
        Column("LAST ERROR", "last_error", wide=True),
    ),
)
APPS = Kind(
    "apps",
    "app",
    topics.AppNetworkStatus,
    "supervisor",
    (
        Column("INSTANCE", "instance"),
        Column("APP", "app"),
        Column("ADDRESS", "address"),
        Column("MAC", "mac", wide=True),
        Column("ATTACHED", "attached"),
        Column("KIND", "kind"),
        Column("PID", "pid", text=lambda pid: show(pid or None)),
        Column("RULES", "rules", wide=True, text=lambda rules: show(len(rules) or None)),  # none: all is allowed
        Column("SPOOFED", "spoofed", wide=True),
        Column("REASON", "reason"),
    ),
    rows=_apps,
)
LEASES = Kind(
    "leases",
    "lease",
    topics.NamespaceStatus,
    "nsmanager",
    (
        Column("INSTANCE", "instance"),
        Column("ADDRESS", "address"),
        Column("MAC", "mac"),
        Column("HOSTNAME", "hostname"),
        Column("EXPIRES", "expires", text=moment),
    ),
    scope="*",
    name_key="address",
    filter_key="instance",
    rows=_leases,
)
PORTMAPS = Kind(
    "portmaps",
    "portmap",
    topics.NetworkInstanceStatus,
    "supervisor",
    (
        Column("INSTANCE", "instance"),
        Column("APP", "app"),
        Column("UPLINK", "uplink"),
        Column("OUTER", "outer"),
        Column("INNER", "inner"),
        Column("PROTOCOL", "protocol"),
    ),
    name_key="outer",
    filter_key="instance",
    rows=_portmaps,
)
UPLINKS = Kind(
    "uplinks",
    "uplink",
    topics.DeviceNetworkStatus,
    "supervisor",
    (
        Column("NAME", "name"),
        Column("UP", "up"),
        Column("HEALTHY", "healthy"),
        Column("COST", "cost"),
        Column("LABELS", "labels"),
        Column("ADDRESSES", "addresses", row_text=lambda row: show(row["addresses"] + row["addresses6"])),
        Column("GATEWAYS", "gateways", row_text=lambda row: show(row["gateways"] + row["gateways6"])),
        Column("LATENCY", "latency", text=milliseconds),
        Column("MTU", "mtu", wide=True),
        Column("MARK", "mark", wide=True, text=lambda mark: hex(mark) if mark else "-"),
        Column("TABLE", "table", wide=True, text=lambda table: show(table or None)),
        Column("RESOLVERS", "resolvers", wide=True),
        Column("SINCE", "since", wide=True, text=moment),
        Column("INSTANCES", "instances", text=few),
        Column("REASON", "reason"),
    ),
    rows=_uplinks,
)
TABLES = Kind(
    "tables",
    "table",
    topics.TableStatus,
    "hub",
    (
        Column("NAME", "name"),
        Column("KEYS", "keys"),
        Column("SIZE", "bytes", text=size),
        Column("SEQUENCE", "sequence", wide=True),
        Column("RESTARTED", "restarted"),
        Column("UID", "uid", wide=True),
        Column("PID", "pid", text=lambda pid: show(pid or None)),
        Column("STALE SINCE", "stale_since", text=moment),
        Column("SUBSCRIBERS", "subscribers", wide=True),
        Column("PERSISTENT", "persistent", wide=True),
        Column("STREAM", "stream", wide=True),
        Column("LOST", "lost", wide=True),
    ),
    rows=_tables,
)
KINDS = {kind.name: kind for kind in (INSTANCES, APPS, LEASES, PORTMAPS, UPLINKS, TABLES)}
BY_ANY_NAME = KINDS | {kind.singular: kind for kind in KINDS.values()}
