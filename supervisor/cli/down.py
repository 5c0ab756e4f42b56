"""`nsvisor down`: take everything down."""

from __future__ import annotations

import click

from supervisor.cli.options import Folders, with_folders


@click.command("down")
@with_folders
def down_command(folders: Folders) -> None:
    """Take all instances down and stop nsvisord.

    The configuration stays: the next start brings them back. To stop only the daemon, and let the networks run, use
    SIGTERM or systemctl stop.
    """
    from supervisor.control import request

    request(folders.run, {"do": "down"})
    print("all is down")
