"""Where each box of a picture stands: in columns from left to right, beside the boxes that it is joined with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from supervisor.cli.graph.picture import Column, Node, Picture

CHARACTER = 7.3  # pixels: a character of the details, in a monospaced font of FONT_SIZE
TITLE_CHARACTER = 8.6  # pixels, the average of a bold title
LINE = 17  # pixels from one line of details to the next
TITLE = 22  # pixels from a box's upper edge to the baseline of its title
PADDING = 12  # pixels at the left and right of a box's text
GAP = 16  # pixels between two boxes of a column
MARGIN = 24  # pixels around the whole, and within the host's frame
HEAD = 30  # pixels for the title of the host's frame
WIDEST = 38  # characters of a line; what is longer is cut
NARROWEST = 110  # pixels
CHANNEL = 76  # pixels between two columns without labels
BAR = 12  # pixels: the width of what stands for the network outside
ROUNDS = 4  # of moving the columns beside each other; the third changes little
OUTER = (Column.PEER, Column.OUTSIDE)


class Box(msgspec.Struct, frozen=True):
    """A rectangle in pixels."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """The x of its right edge."""
        return self.x + self.width

    @property
    def middle(self) -> float:
        """The y of its middle."""
        return self.y + self.height / 2


class Layout(msgspec.Struct, frozen=True):
    """The boxes by the ids of their nodes, and what is around them."""

    width: float
    height: float
    frame: Box  # of the host
    boxes: Mapping[str, Box]


def cut(text: str) -> str:
    """Return a line that fits in a box."""
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def place(picture: Picture) -> Layout:
    """Return where everything stands. Pure: the same picture always looks the same."""
    middles = _middles(picture)
    lefts, frame_left, right = _lefts(picture)
    heights = {node.id: _height(node) for node in picture.nodes}
    inner = [node for node in picture.nodes if node.column not in OUTER]
    highest = min((middles[node.id] - heights[node.id] / 2 for node in picture.nodes), default=0)
    shift = 2 * MARGIN + HEAD - highest
    boxes = {}
    for node in picture.nodes:
        y = middles[node.id] - heights[node.id] / 2 + shift
        boxes[node.id] = Box(lefts[node.column], y, _width(picture.of(node.column)), heights[node.id])
    bottom = max((box.y + box.height for box in boxes.values()), default=shift)
    for node in picture.of(Column.OUTSIDE):
        ends = [boxes[edge.right] for edge in picture.edges if edge.left == node.id]
        ends = ends or [boxes[one.id] for one in inner]
        top = min((box.y for box in ends), default=shift)
        end = max((box.y + box.height for box in ends), default=bottom)
        boxes[node.id] = Box(lefts[Column.OUTSIDE], top, BAR, end - top)
    frame = Box(frame_left, MARGIN, right + MARGIN - frame_left, bottom + MARGIN - MARGIN)
    return Layout(frame.right + MARGIN, bottom + 2 * MARGIN, frame, boxes)


def _height(node: Node) -> float:
    return TITLE + 10 + LINE * len(node.lines) if node.column is not Column.OUTSIDE else 0


def _width(nodes: Sequence[Node]) -> float:
    """Return the width of a column's boxes: that of its longest line."""
    lines = [len(cut(line)) * CHARACTER for node in nodes for line in node.lines]
    titles = [len(cut(node.title)) * TITLE_CHARACTER for node in nodes]
    return max([NARROWEST, *(text + 2 * PADDING for text in lines + titles)])


def _lefts(picture: Picture) -> tuple[dict[Column, float], float, float]:
    """Return each column's left edge, the frame's, and where the last column ends; empty columns take no place."""
    x, frame_left, lefts = float(MARGIN), 0.0, {}
    for column in Column:
        nodes = picture.of(column)
        if column is Column.UPLINK:
            frame_left, x = x, x + MARGIN
        lefts[column] = x
        if nodes:
            ids = {node.id for node in nodes}
            labels = [len(cut(edge.label)) * CHARACTER + 2 * PADDING for edge in picture.edges if edge.left in ids]
            last = column is Column.APP
            x += BAR if column is Column.OUTSIDE else _width(nodes)
            x += 0 if last else max([CHANNEL, *labels])
    last_column = max((node.column for node in picture.nodes if node.column not in OUTER), default=Column.UPLINK)
    inner = picture.of(last_column)
    return lefts, frame_left, lefts[last_column] + (_width(inner) if inner else NARROWEST)


def _middles(picture: Picture) -> dict[str, float]:
    """Return the y of each box's middle: columns keep their order, and what is joined stands side by side."""
    heights = {node.id: _height(node) for node in picture.nodes}
    columns = {column: [node.id for node in picture.of(column)] for column in Column}
    middles: dict[str, float] = {}
    for ids in columns.values():
        middles |= dict(zip(ids, settle([0.0] * len(ids), [heights[one] for one in ids]), strict=True))
    joined: dict[str, list[str]] = {node.id: [] for node in picture.nodes}
    for edge in picture.edges:
        joined[edge.left].append(edge.right)
        joined[edge.right].append(edge.left)
    known = {node.id: node.column for node in picture.nodes}
    # From the apps, which take the most place, to the left; then back, so that an app of two instances is between them.
    for _ in range(ROUNDS):
        for column in (Column.INSTANCE, Column.UPLINK, Column.PEER, Column.INSTANCE, Column.APP):
            ids = columns[column]
            wanted = []
            for one in ids:
                others = [o for o in joined[one] if known[o] is not Column.OUTSIDE]
                wanted.append(sum(middles[o] for o in others) / len(others) if others else middles[one])
            middles |= dict(zip(ids, settle(wanted, [heights[one] for one in ids]), strict=True))
    return middles


def settle(wanted: Sequence[float], heights: Sequence[float]) -> list[float]:
    """Return middles near the wanted ones, in the same order, GAP apart: least squares, by pooling what collides."""
    offsets, total = [], 0.0
    for index, height in enumerate(heights):
        total += height / 2 + (heights[index - 1] / 2 + GAP if index else 0)
        offsets.append(total)
    pools: list[tuple[float, int]] = []  # the common start of boxes that touch, and how many they are
    for want, offset in zip(wanted, offsets, strict=True):
        start, count = want - offset, 1
        while pools and pools[-1][0] >= start:
            before, many = pools.pop()
            start, count = (before * many + start * count) / (many + count), many + count
        pools.append((start, count))
    starts = [start for start, count in pools for _ in range(count)]
    return [start + offset for start, offset in zip(starts, offsets, strict=True)]
