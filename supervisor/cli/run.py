"""`nsvisor run` and `nsvisor exec`: a command as an app of an instance, or within the instance's own namespace."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import click

from supervisor.cli.completion import instance_names
from supervisor.cli.errors import SIGNALLED, CliError
from supervisor.cli.options import Folders, with_folders

COMMAND_SETTINGS = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@click.command("run", context_settings=COMMAND_SETTINGS)
@click.option("--name", default="", help="Of the app: what the config says of it counts. Default: run-NUMBER.")
@click.argument("instance", shell_complete=instance_names)
@click.argument("command", metavar="[--name NAME] -- COMMAND...", nargs=-1, type=click.UNPROCESSED, required=True)
@with_folders
def run_command(name: str, instance: str, command: tuple[str, ...], folders: Folders) -> int:
    """Run COMMAND as an app of an INSTANCE: with a network of its own behind the instance's bridge.

    It runs as you, with your files, and without rights over the network. Its exit status is passed on.
    """
    name, command = take_name(name, command)
    return stand_over(folders, {"do": "run", "instance": instance, "name": name, "argv": list(command)})


@click.command("exec", context_settings=COMMAND_SETTINGS)
@click.argument("instance", shell_complete=instance_names)
@click.argument("command", metavar="-- COMMAND...", nargs=-1, type=click.UNPROCESSED, required=True)
@with_folders
def exec_command(instance: str, command: tuple[str, ...], folders: Folders) -> int:
    """Run COMMAND inside the network namespace of an INSTANCE, to look at it.

    It runs as you, with your files; its exit status is passed on.
    """
    _, command = take_name("", command)
    return stand_over(folders, {"do": "exec", "instance": instance, "argv": list(command)})


def take_name(name: str, words: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Take `--name NAME` and `--` off the front: options end at the instance, but people write them behind it."""
    rest = list(words)
    while rest and rest[0].startswith("--name"):
        option = rest.pop(0)
        if option == "--name" and rest:
            name = rest.pop(0)
        elif option.startswith("--name="):
            name = option.removeprefix("--name=")
        else:
            raise click.UsageError(f"unknown option {option!r}; put -- before the command")
    if rest and rest[0] == "--":
        rest.pop(0)
    if not rest:
        raise click.UsageError("name a command: nsvisor run INSTANCE -- COMMAND")
    return name, tuple(rest)


def stand_over(folders: Folders, message: dict[str, Any]) -> int:
    """Ask for the command, give it our terminal and signals, return its exit status. Raises ControlError, CliError."""
    from supervisor.cli.session import Session, outcome
    from supervisor.cli.terminal import Terminal
    from supervisor.control import request

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    body = {**message, "env": dict(os.environ), "cwd": str(Path.cwd())}
    with ours, Terminal() as terminal, Session(ours, terminal) as session:
        with theirs:
            request(folders.run, body, [*terminal.stdio, theirs.fileno()])
        terminal.handed_over()
        ended = session.run()
    kind, value = outcome(ended)
    if kind == "error":
        raise CliError(str(value))
    return SIGNALLED + int(value) if kind == "signal" else int(value)
