"""`nsvisor version`: of the command, and of the daemon if it runs."""

from __future__ import annotations

from importlib.metadata import version

import click

from supervisor.cli.options import Folders, with_folders


@click.command("version")
@with_folders
def version_command(folders: Folders) -> None:
    """Print the versions of the command and of the running nsvisord."""
    from supervisor.control import ControlError, request

    print(f"nsvisor {version('nsvisor')}")
    try:
        answer = request(folders.run, {"do": "ping"})
    except ControlError:
        return
    print(f"nsvisord {answer.get('version', '?')}, pid {answer.get('pid', '?')}")
