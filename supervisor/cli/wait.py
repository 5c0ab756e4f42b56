"""`nsvisor wait`: until instances are in a state."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from supervisor.cli.completion import instance_names
from supervisor.cli.errors import NOT_FOUND, TIMED_OUT, CliError
from supervisor.cli.options import Folders, with_folders, with_timeout

if TYPE_CHECKING:
    from pubsub.topics import NetworkInstanceStatus

STATES = ("ready", "waiting", "starting", "degraded", "failed", "deleted")


@click.command("wait")
@click.argument("kind", metavar="instance", type=click.Choice(("instance", "instances")))
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=instance_names)
@click.option("--for", "state", type=click.Choice(STATES), default="ready", show_default=True, help="The state.")
@with_timeout("30s")
@with_folders
def wait_command(kind: str, names: tuple[str, ...], state: str, timeout: float, folders: Folders) -> None:  # noqa: ARG001
    """Wait until instances are in a state; one that doesn't exist yet may still come.

    Exit code 5 when the time is up, 3 when there is no such instance even then.
    """
    from supervisor.cli.waiting import tell_missing, wait_until

    def wanted(_: str, status: NetworkInstanceStatus | None) -> bool:
        if status is None:
            return state == "deleted"
        return status.state == state

    outcome = wait_until(folders.run, list(names), wanted, timeout)
    if outcome.missing:
        for name in outcome.missing:
            print(tell_missing(name, outcome.statuses.get(name)), file=sys.stderr)
        unknown = all(name not in outcome.statuses for name in outcome.missing)
        raise CliError(f"not {state} after {timeout:g} s", NOT_FOUND if unknown else TIMED_OUT)
