"""A picture in the language of Graphviz: `nsvisor graph -o dot | dot -Tpng`."""

from __future__ import annotations

from supervisor.cli.graph.picture import Column, Node, Picture, Tone

COLOURS = {Tone.GOOD: "forestgreen", Tone.WARNING: "darkgoldenrod", Tone.BAD: "red3", Tone.PLAIN: "gray40"}
OUTER = (Column.PEER, Column.OUTSIDE)


def render(picture: Picture) -> str:
    """Return the text, without the last newline."""
    lines = ["digraph nsvisor {", '  rankdir="LR"', '  node [shape="box" style="rounded" fontname="sans-serif"]']
    lines += ['  edge [dir="none" fontname="sans-serif" fontsize="10"]']
    lines += [_node(node) for node in picture.nodes if node.column in OUTER]
    lines += ["  subgraph cluster_host {", f"    label={_quoted(picture.host)}"]
    for column in (Column.UPLINK, Column.INSTANCE, Column.APP):
        lines += [f"  {_node(node)}" for node in picture.of(column)]
    lines += ["  }"]
    for edge in picture.edges:
        style = ' style="dashed"' if edge.tunnel else ""
        label = f" label={_quoted(edge.label)}" if edge.label else ""
        ends = f"{_quoted(edge.left)} -> {_quoted(edge.right)}"
        lines.append(f'  {ends} [color="{COLOURS[edge.tone]}"{style}{label}]')
    return "\n".join([*lines, "}"])


def _node(node: Node) -> str:
    return f'  {_quoted(node.id)} [label={_quoted(node.title, *node.lines)} color="{COLOURS[node.tone]}"]'


def _quoted(*lines: str) -> str:
    r"""Return a quoted text of several lines. In labels a backslash begins an escape, as \n; see graphviz(7)."""
    escaped = (line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") for line in lines)
    return '"' + "\\n".join(escaped) + '"'
