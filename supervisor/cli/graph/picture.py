"""What a picture consists of, in every format: boxes in columns, and lines between them."""

from __future__ import annotations

import dataclasses
import enum


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


@dataclasses.dataclass(frozen=True)
class Node:
    """One box. The id is unique in its picture."""

    id: str
    column: Column
    title: str
    lines: tuple[str, ...] = ()  # of details, below the title
    tone: Tone = Tone.PLAIN


@dataclasses.dataclass(frozen=True)
class Edge:
    """A line from a box to another one that stands further right."""

    left: str  # ids of nodes
    right: str
    label: str = ""
    tone: Tone = Tone.PLAIN
    tunnel: bool = False


@dataclasses.dataclass(frozen=True)
class Picture:
    """Boxes and lines in the order in which they are drawn. Uplinks, instances and apps stand in the frame `host`."""

    host: str
    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()

    def of(self, column: Column) -> list[Node]:
        """Return the boxes of one column."""
        return [node for node in self.nodes if node.column is column]
