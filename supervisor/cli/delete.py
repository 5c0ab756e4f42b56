"""`nsvisor delete`: take instances out of the configuration."""

from __future__ import annotations

import click

from supervisor.cli.apply import reload
from supervisor.cli.completion import instance_names
from supervisor.cli.config_files import read_existing, read_given, refuse, write_files
from supervisor.cli.errors import NOT_FOUND, NOT_RUNNING, TIMED_OUT, USAGE, CliError
from supervisor.cli.options import Folders, with_folders, with_timeout


@click.command("delete")
@click.argument("names", metavar="[instance] NAME...", nargs=-1, shell_complete=instance_names)
@click.option("-f", "--file", "files", metavar="FILE", multiple=True, help="Delete the instances that FILE defines.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until they are gone.")
@with_timeout("30s")
@with_folders
def delete_command(
    names: tuple[str, ...], files: tuple[str, ...], wait: bool, timeout: float, folders: Folders
) -> None:
    """Delete instances: out of their files, whose other content and comments stay, and off the host."""
    from supervisor.cli.placing import InvalidError, read_applied, remove
    from supervisor.cli.waiting import wait_until

    chosen = list(names[1:] if names[:1] in (("instance",), ("instances",)) and len(names) > 1 else names)
    if files:
        try:
            chosen.extend(read_applied(read_given(files)).instances)
        except InvalidError as exc:
            raise refuse(exc.problems) from exc
    if not chosen:
        raise CliError("name the instances to delete, or a file by -f", USAGE)
    existing = read_existing(folders.config)
    try:
        steps = remove(list(dict.fromkeys(chosen)), existing)
    except KeyError as exc:
        raise CliError(
            f"no file in {folders.config} defines an instance {exc.args[0]}; see `nsvisor get instances`", NOT_FOUND
        ) from exc
    write_files({step.path: step.text for step in steps})
    told = reload(folders)
    if told and wait:
        outcome = wait_until(folders.run, chosen, lambda _, status: status is None, timeout)
        if outcome.missing:
            raise CliError(f"still there after {timeout:g} s: {', '.join(outcome.missing)}", TIMED_OUT)
    for name in dict.fromkeys(step.name for step in steps):
        print(f"{name} deleted")
    if not told:
        raise CliError("nsvisord doesn't run: it takes them off the host when it starts", NOT_RUNNING)
