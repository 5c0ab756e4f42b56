"""`nsvisor explain`: the way that a packet of an instance's app would take, and what decides each step."""

from __future__ import annotations

import os
import re
import sys
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import click
import msgspec

from supervisor.cli.completion import instance_names
from supervisor.cli.errors import NOT_FOUND, CliError
from supervisor.cli.options import Folders, with_folders, with_output
from supervisor.cli.output import render_object

if TYPE_CHECKING:
    from pubsub.topics import NamespaceConfig
    from supervisor.cli.way import Packet, Way
    from supervisor.passage.packet import IpAddress

FAR = "192.0.2.1"  # RFC 5737: nobody's, so only a default route leads there
PROTOCOLS = ("tcp", "udp", "sctp", "dccp")
DIM, PLAIN = "\x1b[2m", "\x1b[0m"


class Port(click.ParamType[tuple[str, int]]):
    """A port with its protocol: 80/tcp, or tcp/80."""

    name = "port/protocol"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Return protocol and port."""
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(?P<a>\d+)/(?P<p>[a-z]+)|(?P<q>[a-z]+)/(?P<b>\d+)", value)
        protocol, port = (found["p"] or found["q"], int(found["a"] or found["b"])) if found else ("", 0)
        if protocol not in PROTOCOLS or not 0 < port < 1 << 16:
            self.fail(f"{value!r} is no port; write PORT/PROTOCOL, as 443/tcp", param, ctx)
        return protocol, port


class Address(click.ParamType["IpAddress"]):
    """An IPv4 or IPv6 address."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> IpAddress:
        """Return the address."""
        try:
            return ip_address(value)
        except ValueError:
            self.fail(f"{value!r} is no IP address", param, ctx)


@click.command("explain")
@click.argument("instance", shell_complete=instance_names)
@click.option("--to", "destination", type=Address(), default=FAR, show_default="a far one", help="Where it goes.")
@click.option("--app", default="", help="Whose packet it is. Default: the first app that has an address.")
@click.option("--from", "source", type=Address(), help="Its source instead: any address of the subnet.")
@click.option("--port", type=Port(), help="As 443/tcp. Default: an echo request.")
@with_output
@with_folders
def explain_command(
    instance: str,
    *,
    destination: IpAddress,
    app: str,
    source: IpAddress | None,
    port: tuple[str, int] | None,
    output: str,
    folders: Folders,
) -> None:
    """Tell the way of a packet from an app of an INSTANCE, hop by hop, and what decides each step.

    Nothing is sent: the kernel is asked for its routes, its rules and the elements of its sets; `-o wide` shows the
    commands, to repeat them. It is the way of the first packet of a new connection.
    """
    from nsmanager.firewall.entries import app_numbers
    from supervisor.cli.way import Packet, walk
    from supervisor.passage.packet import ECHO

    if os.geteuid() != 0:
        raise PermissionError(1, "not permitted", f"/run/netns/{instance}")
    who, config = app, config_of(instance, folders)
    if source is None:
        source, who = address_of(instance, config, app, destination.version, folders)
    if source.version != destination.version:
        raise click.UsageError(f"{source} and {destination} are of different IP versions")
    protocol, number = port or (ECHO[destination.version], 0)
    packet = Packet(source, destination, protocol, number)
    numbers = app_numbers(config)
    addresses = [(address, one.name) for one in config.apps for address in (one.address, one.address6) if address]
    known = {address: numbers[name] for address, name in addresses}
    way = walk(instance, packet, known | ({source: numbers[who]} if who in numbers else {}))
    if output in ("json", "yaml"):
        print(render_object(as_data(instance, who, packet, way), output))
    elif output == "name":
        print(way.end)
    else:
        print(render(instance, who, packet, way, commands=output == "wide", dim=sys.stdout.isatty()))


def config_of(instance: str, folders: Folders) -> NamespaceConfig:
    """Return what an instance's manager is told. Raises CliError when there is no such instance."""
    from pubsub import topics
    from supervisor.cli.reading import read_now

    [configs] = read_now(folders.run, (topics.NamespaceConfig, "supervisor", instance))
    if instance not in configs.table:
        raise CliError(f"no instance {instance}; see `nsvisor get instances`", NOT_FOUND)
    found: NamespaceConfig = configs.table[instance]
    if found.bridge is None:
        raise CliError(
            f"instance {instance} is a switch: it routes nothing; see `nsvisor describe app {instance}/NAME`"
        )
    return found


def address_of(
    instance: str, config: NamespaceConfig, app: str, version: int, folders: Folders
) -> tuple[IpAddress, str]:
    """Return the address of an app and its name; without apps some address that DHCP gives, and no name.

    Raises CliError when there is no such app or address.
    """
    from pubsub import topics
    from supervisor.cli.reading import read_now

    [statuses] = read_now(folders.run, (topics.AppNetworkStatus, "supervisor", ""))
    found: dict[str, IpAddress | None] = {}
    for one in config.apps:
        status = statuses.table.get(f"{instance}/{one.name}")
        found[one.name] = one.address6 if version == 6 else one.address or (status.address if status else None)
    if app and app not in found:
        raise CliError(f"no app {app} in {instance}; known: {', '.join(found) or 'none'}", NOT_FOUND)
    for name, address in found.items():
        if address is not None and app in ("", name):
            return address, name
    if app:
        raise CliError(f"app {app} of {instance} has no IPv{version} address now; name one with --from")
    if version == 4 and config.range is not None:
        return config.range.first, ""
    if config.bridge6 is None:
        raise CliError(f"instance {instance} has no IPv6")
    return config.bridge6.ip + 1, ""


def as_data(instance: str, app: str, packet: Packet, way: Way) -> dict[str, Any]:
    """Return the way as plain values."""
    return {
        "instance": instance,
        "app": app,
        "source": str(packet.source),
        "destination": str(packet.destination),
        "protocol": packet.protocol,
        "port": packet.port,
        "end": way.end,
        "words": way.words,
        "steps": [
            {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in msgspec.structs.asdict(step).items()
            }
            for step in way.steps
        ],
    }


def render(instance: str, app: str, packet: Packet, way: Way, *, commands: bool, dim: bool) -> str:
    """Return the way as text: each step with what decided it, and, if wanted, the commands that tell so."""
    who = f"app {app} of {instance} ({packet.source})" if app else f"{packet.source} in {instance}"
    what = f"{packet.protocol} port {packet.port}" if packet.port else "echo request"
    lines = [f"{who} to {packet.destination}, {what}", ""]
    places = max((len(step.where) for step in way.steps), default=0)
    kinds = max((len(step.what) for step in way.steps), default=0)
    for number, step in enumerate(way.steps, 1):
        lines.append(f"{number:>2}  {step.where:<{places}}  {step.what:<{kinds}}  {step.result}")
        margin = " " * (4 + places + 2 + kinds + 2)
        lines += [f"{margin}by {words}" for words in step.by]
        asked = [f"{margin}# {command}" for command in step.asked] if commands else []
        lines += [f"{DIM}{line}{PLAIN}" if dim else line for line in asked]
    return "\n".join([*lines, "", f"{way.end}: {way.words}"])
