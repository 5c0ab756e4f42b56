"""`nsvisor restart`: replace managers by new ones, as after an upgrade."""

from __future__ import annotations

import click

from supervisor.cli.completion import instance_names
from supervisor.cli.errors import FAILED, NOT_FOUND, TIMED_OUT, CliError
from supervisor.cli.options import Folders, with_folders, with_timeout


@click.command("restart")
@click.argument("kind", metavar="managers", type=click.Choice(("manager", "managers")))
@click.argument("names", metavar="[INSTANCE]...", nargs=-1, shell_complete=instance_names)
@click.option("--rolling", is_flag=True, help="One after another, each when the last one's successor is ready.")
@with_timeout("30s")
@with_folders
def restart_command(kind: str, names: tuple[str, ...], rolling: bool, timeout: float, folders: Folders) -> None:  # noqa: ARG001
    """Replace the managers of INSTANCEs, or of all.

    Networks, services and apps go on meanwhile. After an upgrade restart nsvisord first: the new managers are born of
    its code. The time limit is for each instance, with --rolling; the first one that isn't ready in time ends the work.
    """
    from pubsub.topics import NetworkInstanceStatus
    from supervisor.cli.reading import read_now

    [statuses] = read_now(folders.run, (NetworkInstanceStatus, "supervisor", ""))
    unknown = [name for name in names if name not in statuses.table]
    if unknown:
        raise CliError(f"no instance {', '.join(unknown)}; see `nsvisor get instances`", NOT_FOUND)
    chosen = list(names or sorted(statuses.table))
    before = {name: statuses.table[name].pid for name in chosen}
    for group in [[name] for name in chosen] if rolling else [chosen]:
        replace(group, before, timeout, folders)
        for name in group:
            print(f"instance {name}: manager replaced")


def replace(names: list[str], before: dict[str, int], timeout: float, folders: Folders) -> None:
    """Replace the managers of some instances at once, and wait for their successors. Raises CliError."""
    from pubsub.topics import NetworkInstanceStatus, State
    from supervisor.cli.waiting import tell_missing, wait_until
    from supervisor.control import request

    for name in names:
        if not request(folders.run, {"do": "restart", "instance": name})["replaced"]:
            raise CliError(f"instance {name} has no manager now; see `nsvisor describe instance {name}`", FAILED)

    def replaced(name: str, status: NetworkInstanceStatus | None) -> bool:
        return status is not None and status.pid not in (0, before[name]) and status.state is not State.STARTING

    outcome = wait_until(folders.run, names, replaced, timeout)
    if outcome.missing:
        said = "; ".join(tell_missing(name, outcome.statuses.get(name)) for name in outcome.missing)
        raise CliError(f"not replaced after {timeout:g} s: {said}", TIMED_OUT)
