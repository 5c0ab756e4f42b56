"""The picture of a running system: `picture` is what it shows, `layout` where, one file per format how."""

from supervisor.cli.graph.picture import Column, Edge, Node, Picture, Tone
from supervisor.cli.graph.system import System, draw

__all__ = ["Column", "Edge", "Node", "Picture", "System", "Tone", "draw"]
