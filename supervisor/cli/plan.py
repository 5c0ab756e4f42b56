"""`nsvisor plan`: what `apply` would change, as shell commands."""

from __future__ import annotations

import sys
from typing import Any

import click

from supervisor.cli.config_files import read_existing, read_given, refuse, with_files
from supervisor.cli.errors import INVALID_CONFIG, CliError
from supervisor.cli.options import Folders, with_folders
from supervisor.cli.output import render_object


@click.command("plan")
@with_files
@click.option("-o", "--output", type=click.Choice(("table", "wide", "json", "yaml", "name")), default="table")
@with_folders
def plan_command(files: tuple[str, ...], output: str, folders: Folders) -> None:
    """Print what applying FILEs would change, as shell commands. Nothing is done."""
    from pubsub.codec import to_plain
    from supervisor.cli.placing import ElsewhereError, InvalidError, place, read_applied
    from supervisor.control import request

    sources = read_given(files)
    try:
        applied = read_applied(sources)
        place(applied, sources, read_existing(folders.config), folders.config.resolve())
    except InvalidError as exc:
        raise refuse(exc.problems) from exc
    except ElsewhereError as exc:
        raise CliError(str(exc)) from exc
    instances = {name: to_plain(defined.config, sparse=True) for name, defined in applied.instances.items()}
    uplinks = {name: to_plain(defined.config, sparse=True) for name, defined in applied.uplinks.items()}
    answer = request(folders.run, {"do": "plan", "instances": instances, "uplinks": uplinks})
    found: dict[str, Any] = {key: answer[key] for key in ("host", "instances", "problems")}
    print(render(found, output))
    for problem in found["problems"]:
        print(f"nsvisor: {problem}", file=sys.stderr)
    if found["problems"]:
        raise CliError("this would not work as it is", INVALID_CONFIG)


def render(found: dict[str, Any], output: str) -> str:
    """Return a plan as a shell script, or as data."""
    if output in ("json", "yaml"):
        return render_object(found, output)
    sections = [("the host", "", found["host"])]
    sections += [
        (f"instance {name}", f"ip netns exec {name} ", found["instances"][name]) for name in found["instances"]
    ]
    changed = [(title, prefix, commands) for title, prefix, commands in sections if commands]
    if output == "name":
        return "\n".join(title for title, _, _ in changed)
    if not changed:
        return "# nothing would change"
    return "\n\n".join(
        "\n".join([f"# {title}", *(_command(prefix, command) for command in commands)])
        for title, prefix, commands in changed
    )


def _command(prefix: str, command: str) -> str:
    """Put a command into its namespace; one of several lines (a table of nft) stays readable."""
    return "\n".join([prefix + command.splitlines()[0], *command.splitlines()[1:]]) if command else ""
