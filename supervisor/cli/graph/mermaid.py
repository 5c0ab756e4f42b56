"""A picture in the language of Mermaid, which code hosts draw in Markdown."""

from __future__ import annotations

from supervisor.cli.graph.picture import Column, Edge, Picture, Tone

OUTER = (Column.PEER, Column.OUTSIDE)
# Mid-tones, readable on light and dark paper.
COLOURS = {Tone.GOOD: "#2da44e", Tone.WARNING: "#bf8700", Tone.BAD: "#cf222e", Tone.PLAIN: "#8c959f"}


def render(picture: Picture) -> str:
    """Return the text, without the last newline."""
    names = {node.id: f"n{number}" for number, node in enumerate(picture.nodes)}  # ids may be words of the language
    boxes = {node.id: f"{names[node.id]}[{_quoted(node.title, *node.lines)}]:::{node.tone}" for node in picture.nodes}
    lines = ["flowchart LR"]
    lines += [f"  {boxes[node.id]}" for node in picture.nodes if node.column in OUTER]
    lines += [f"  subgraph host[{_quoted(picture.host)}]"]
    lines += [f"    {boxes[node.id]}" for node in picture.nodes if node.column not in OUTER]
    lines += ["  end"]
    lines += [f"  {names[edge.left]} {_line(edge)} {names[edge.right]}" for edge in picture.edges]
    lines += [f"  classDef {tone} stroke:{colour}" for tone, colour in COLOURS.items()]
    return "\n".join(lines)


def _line(edge: Edge) -> str:
    line = "-.-" if edge.tunnel or edge.tone is Tone.BAD else "---"
    return f"{line}|{_quoted(edge.label)}|" if edge.label else line


def _quoted(*lines: str) -> str:
    """Return a quoted text of several lines; Mermaid takes HTML in it, and `#` begins its own escapes."""
    escaped = (
        line.replace("&", "&amp;").replace("#", "#35;").replace('"', "#quot;").replace("<", "&lt;").replace(">", "&gt;")
        for line in lines
    )
    return '"' + "<br/>".join(escaped) + '"'
