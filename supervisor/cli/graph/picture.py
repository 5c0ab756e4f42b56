"""What a picture consists of, in every format: boxes in columns, and lines between them."""

from __future__ import annotations

import enum

import msgspec


class Column(enum.IntEnum):
    """Where a box stands, from left to right."""

    PEER = 0  # far ends of tunnels
    OUTSIDE = 1
    UPLINK = 2
    INSTANCE = 3
    APP = 4


class Tone(enum.StrEnum):
    """How a thing fares."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"
    PLAIN = "plain"  # nobody watches it


class Node(msgspec.Struct, frozen=True):
    """One box. The id is unique in its picture."""

    id: str
    column: Column
    title: str
    lines: tuple[str, ...] = ()  # of details, below the title
    tone: Tone = Tone.PLAIN


class Edge(msgspec.Struct, frozen=True):
    """A line from a box to another one that stands further right."""

    left: str  # ids of nodes
    right: str
    label: str = ""
    tone: Tone = Tone.PLAIN
    tunnel: bool = False


class Picture(msgspec.Struct, frozen=True):
    """Boxes and lines in the order in which they are drawn. Uplinks, instances and apps stand in the frame `host`."""

    host: str
    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()

    def of(self, column: Column) -> list[Node]:
        """Return the boxes of one column."""
        return [node for node in self.nodes if node.column is column]
