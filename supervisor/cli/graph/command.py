"""`nsvisor graph`: the picture of a running system, as SVG or for other tools."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import click
import msgspec

from supervisor.cli.options import Folders, with_folders
from supervisor.printable import in_line

if TYPE_CHECKING:
    from supervisor.cli.graph.picture import Picture
    from supervisor.cli.graph.system import System

FORMATS = ("svg", "dot", "mermaid")


@click.command("graph")
@click.option(
    "-o", "--output", type=click.Choice(FORMATS), default="svg", show_default=True, help="How to draw: the language."
)
@click.option("--host", default="", show_default="its host name", help="What to call the host.")
@with_folders
def graph_command(output: str, host: str, folders: Folders) -> None:
    """Draw uplinks, instances, apps, port maps and tunnels as they are now.

    \b
    nsvisor graph > network.svg                     for a browser
    nsvisor graph -o dot | dot -Tpng > network.png  by Graphviz
    nsvisor graph -o mermaid                        for Markdown
    """  # noqa: D301  # click's mark is the character, not the two
    from importlib import import_module

    from supervisor.cli.graph.system import draw

    system, warning = _read(folders, host or socket.gethostname())
    if warning:
        print(f"nsvisor: {warning}", file=sys.stderr)
    print(import_module(f"supervisor.cli.graph.{output}").render(_in_lines(draw(system))))


def _in_lines(picture: Picture) -> Picture:
    """Return the picture with each text in its line: what managers say may be hostile."""
    nodes = [
        msgspec.structs.replace(one, title=in_line(one.title), lines=tuple(map(in_line, one.lines)))
        for one in picture.nodes
    ]
    edges = [msgspec.structs.replace(one, label=in_line(one.label)) for one in picture.edges]
    return msgspec.structs.replace(picture, nodes=tuple(nodes), edges=tuple(edges))


def _read(folders: Folders, host: str) -> tuple[System, str]:
    """Return the tables, and a warning when they are old."""
    from pubsub import topics
    from supervisor.cli.graph.system import System
    from supervisor.cli.reading import read_now, staleness

    uplinks, instances, apps, managers, configs = read_now(
        folders.run,
        (topics.DeviceNetworkStatus, "supervisor", ""),
        (topics.NetworkInstanceStatus, "supervisor", ""),
        (topics.AppNetworkStatus, "supervisor", ""),
        (topics.NamespaceStatus, "nsmanager", "*"),
        (topics.NetworkInstanceConfig, "confd", ""),
    )
    system = System(host, uplinks.table, instances.table, apps.table, managers.table, configs.table)
    return system, staleness(instances, "supervisor")
