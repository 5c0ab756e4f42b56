"""`nsvisor delete`: take instances and uplinks out of the configuration."""

from __future__ import annotations

import click

from supervisor.cli.apply import reload
from supervisor.cli.completion import instance_names
from supervisor.cli.config_files import read_existing, read_given, refuse, write_files
from supervisor.cli.errors import NOT_FOUND, NOT_RUNNING, TIMED_OUT, USAGE, CliError
from supervisor.cli.options import Folders, with_folders, with_timeout

UPLINK_WORDS = ("uplink", "uplinks")
INSTANCE_WORDS = ("instance", "instances")


@click.command("delete")
@click.argument("names", metavar="[instance|uplink] NAME...", nargs=-1, shell_complete=instance_names)
@click.option("-f", "--file", "files", metavar="FILE", multiple=True, help="Delete what FILE defines.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until the instances are gone.")
@with_timeout("30s")
@with_folders
def delete_command(
    names: tuple[str, ...], files: tuple[str, ...], wait: bool, timeout: float, folders: Folders
) -> None:
    """Delete instances: out of their files, whose other content and comments stay, and off the host.

    An uplink loses its configuration alone; nothing is done to the interface.
    """
    from supervisor.cli.placing import InvalidError, read_applied, remove
    from supervisor.cli.waiting import wait_until

    word = names[0] if len(names) > 1 else ""  # alone it is an instance's name
    chosen = list(names[1:] if word in INSTANCE_WORDS + UPLINK_WORDS else names)
    instances, uplinks = ([], chosen) if word in UPLINK_WORDS else (chosen, [])
    if files:
        try:
            applied = read_applied(read_given(files))
        except InvalidError as exc:
            raise refuse(exc.problems) from exc
        instances.extend(applied.instances)
        uplinks.extend(applied.uplinks)
    if not instances and not uplinks:
        raise CliError("name the instances or uplinks to delete, or a file by -f", USAGE)
    existing = read_existing(folders.config)
    try:
        steps = remove(list(dict.fromkeys(instances)), existing, dict.fromkeys(uplinks))
    except KeyError as exc:
        noun, _, name = exc.args[0].partition(" ")
        raise CliError(
            f"no file in {folders.config} defines an {noun} {name}; see `nsvisor get {noun}s`", NOT_FOUND
        ) from exc
    write_files({step.path: step.text for step in steps})
    told = reload(folders)
    if told and wait and instances:
        outcome = wait_until(folders.run, instances, lambda _, status: status is None, timeout)
        if outcome.missing:
            raise CliError(f"still there after {timeout:g} s: {', '.join(outcome.missing)}", TIMED_OUT)
    for title in dict.fromkeys(step.title for step in steps):
        print(f"{title} deleted")
    if not told:
        raise CliError("nsvisord doesn't run: it takes them off the host when it starts", NOT_RUNNING)
