"""A picture as SVG: one file that needs nothing else, readable on light and dark paper."""

from __future__ import annotations

from xml.sax.saxutils import escape

from supervisor.cli.graph.layout import BAR, HEAD, LINE, MARGIN, PADDING, TITLE, Box, Layout, cut, place
from supervisor.cli.graph.picture import Column, Edge, Node, Picture, Tone

NAMESPACE = "http://www.w3.org/2000/svg"
CENTERED = ' text-anchor="middle"'
STYLE = """\
svg { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace }
.title { font: 600 14px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif }
.paper { fill: #ffffff } text { fill: #1f2328 } .detail, .label { fill: #57606a }
.frame { fill: #f6f8fa; stroke: #d0d7de } .box { fill: #ffffff; stroke: #8c959f; stroke-width: 1.2 }
.halo { paint-order: stroke; stroke: #ffffff; stroke-width: 5px; stroke-linejoin: round }
.bar { fill: #afb8c1 } .edge { fill: none; stroke: #8c959f; stroke-width: 1.6 }
.warning { stroke: #bf8700 } .bad { stroke: #cf222e }
.dot { stroke: none } .dot.good { fill: #1a7f37 } .dot.warning { fill: #bf8700 } .dot.bad { fill: #cf222e }
.edge.bad { stroke-dasharray: 2 4 } .edge.tunnel { stroke: #8250df; stroke-width: 2.2; stroke-dasharray: 7 4 }
.edge.tunnel.bad { stroke: #cf222e }
"""
DARK = """\
.paper { fill: #0d1117 } text { fill: #e6edf3 } .detail, .label { fill: #9198a1 }
.frame { fill: #151b23; stroke: #3d444d } .box { fill: #0d1117; stroke: #656c76 }
.halo { stroke: #0d1117 } .bar { fill: #656c76 } .edge { stroke: #656c76 }
.warning { stroke: #d29922 } .bad { stroke: #f85149 }
.dot.good { fill: #3fb950 } .dot.warning { fill: #d29922 } .dot.bad { fill: #f85149 }
.edge.tunnel { stroke: #ab7df8 } .edge.tunnel.bad { stroke: #f85149 }
"""


def render(picture: Picture) -> str:
    """Return the SVG, without the last newline."""
    layout = place(picture)
    width, height = round(layout.width), round(layout.height)
    dark = "\n".join(f"  {line}" for line in DARK.splitlines())
    return "\n".join([
        f'<svg xmlns="{NAMESPACE}" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">',
        f"<title>{escape(picture.host)}: uplinks, instances and apps</title>",
        f"<style>\n{STYLE}@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n</style>",
        f'<rect class="paper" width="{width}" height="{height}"/>',
        f'<rect class="frame" {_rectangle(layout.frame)} rx="10"/>',
        _text("title", layout.frame.x + MARGIN, layout.frame.y + HEAD, picture.host),
        *(_line(edge, layout) for edge in sorted(picture.edges, key=lambda edge: edge.tunnel)),
        *(_node(node, layout.boxes[node.id]) for node in picture.nodes),
        *(_label(edge, layout) for edge in picture.edges if edge.label),
        "</svg>",
    ])  # fmt: skip


def _node(node: Node, box: Box) -> str:
    if node.column is Column.OUTSIDE:
        title = _text("title", box.x, box.y - 10, node.title)
        return f'<g><rect class="bar" {_rectangle(box)} rx="{BAR / 2:g}"/>{title}</g>'
    x = box.x + PADDING
    dot = f'<circle class="dot {node.tone}" cx="{box.right - PADDING - 2:g}" cy="{box.y + TITLE - 5:g}" r="4.5"/>'
    parts = [
        f"<g><title>{escape(chr(10).join((node.title, *node.lines)))}</title>",
        f'<rect class="box {node.tone}" {_rectangle(box)} rx="6"/>',
        _text("title", x, box.y + TITLE, node.title),
        dot if node.tone is not Tone.PLAIN else "",
        *(_text("detail", x, box.y + TITLE + LINE * n, line) for n, line in enumerate(node.lines, 1)),
    ]
    return "".join(parts) + "</g>"


def _ends(edge: Edge, layout: Layout) -> tuple[float, float, float, float]:
    """Return where a line begins and ends; at the bar outside it is level with its other end."""
    left, right = layout.boxes[edge.left], layout.boxes[edge.right]
    y_left = right.middle if left.width == BAR else left.middle
    return left.right, y_left, right.x, right.middle


def _line(edge: Edge, layout: Layout) -> str:
    x1, y1, x2, y2 = _ends(edge, layout)
    bend = min(40.0, (x2 - x1) / 2)
    kind = f"{edge.tone} tunnel" if edge.tunnel else f"{edge.tone}"
    path = f"M{x1:.1f} {y1:.1f}C{x1 + bend:.1f} {y1:.1f} {x2 - bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
    return f'<path class="edge {kind}" d="{path}"/>'


def _label(edge: Edge, layout: Layout) -> str:
    x1, y1, x2, y2 = _ends(edge, layout)
    if x1 < layout.frame.x < x2:
        x2 = layout.frame.x
    return _text("label halo", (x1 + x2) / 2, (y1 + y2) / 2 - 7, edge.label, CENTERED)


def _rectangle(box: Box) -> str:
    return f'x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}"'


def _text(kind: str, x: float, y: float, text: str, attributes: str = "") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}"{attributes}>{escape(cut(text))}</text>'
