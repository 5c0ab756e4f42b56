"""`nsvisor apply`: take instances and uplinks into the configuration, and wait until the instances are ready."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pubsub.config.merge import INSTANCES
from supervisor.cli.config_files import read_existing, read_given, refuse, with_files, write_files
from supervisor.cli.errors import FAILED, NOT_RUNNING, TIMED_OUT, CliError
from supervisor.cli.options import Folders, with_folders, with_output, with_timeout
from supervisor.cli.output import Column, render_rows

if TYPE_CHECKING:
    from pubsub.topics import NetworkInstanceStatus
    from supervisor.cli.placing import Step

COLUMNS = (
    Column("INSTANCE", "name"),
    Column("ACTION", "action"),
    Column("STATE", "state"),
    Column("REASON", "reason"),
    Column("FILE", "file", wide=True),
)


@click.command("apply")
@with_files
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until all of them are ready.")
@with_timeout("30s")
@with_output
@with_folders
def apply_command(files: tuple[str, ...], wait: bool, timeout: float, output: str, folders: Folders) -> None:
    """Create or change the instances and uplinks of config FILEs.

    Each goes into a file of its own in the config directory, so that it is there again after a reboot. Those that
    aren't named stay as they are. Nothing is done when anything is wrong.
    """
    steps = write(files, folders)
    told = reload(folders)
    statuses = wait_for(steps, timeout, folders) if told and wait else {}
    instances = [_row(step, statuses.get(step.name)) for step in steps if step.section == INSTANCES]
    rows = [_row(step, None) for step in steps if step.section != INSTANCES] + instances
    if rows or output in ("json", "yaml"):
        print(render_rows(COLUMNS, rows, output, "name"))
    if not told:
        raise CliError("nsvisord doesn't run: it will take this configuration when it starts", NOT_RUNNING)
    late = [row for row in instances if wait and row["state"] != "ready"]
    if late:
        code = FAILED if all(row["state"] == "failed" for row in late) else TIMED_OUT
        raise CliError(f"not ready: {', '.join(row['name'] for row in late)}", code)


def write(files: tuple[str, ...], folders: Folders) -> list[Step]:
    """Validate, then write what differs. Raises CliError."""
    from supervisor.cli.placing import ElsewhereError, InvalidError, place, place_settings, read_applied

    sources, existing, directory = read_given(files), read_existing(folders.config), folders.config.resolve()
    try:
        applied = read_applied(sources)
        steps = place(applied, sources, existing, directory)
        settings = place_settings(applied, sources, existing, directory)
    except InvalidError as exc:
        raise refuse(exc.problems) from exc
    except ElsewhereError as exc:
        raise CliError(str(exc)) from exc
    texts: dict[Path, str | None] = {
        step.path: step.text
        for step in steps
        if step.text is not None and existing.get(str(step.path)) != step.text.encode()
    }
    if settings:
        texts[settings[0]] = settings[1]
    write_files(texts)
    return steps


def reload(folders: Folders) -> bool:
    """Have nsvisord read its files now; False when it doesn't run."""
    from supervisor.control import ControlError, request

    try:
        request(folders.run, {"do": "reload"})
    except ControlError as exc:
        if exc.code == NOT_RUNNING:
            return False
        raise
    return True


def wait_for(steps: list[Step], timeout: float, folders: Folders) -> dict[str, NetworkInstanceStatus]:
    """Wait until the instances are ready with just this config, or failed; return how they stand."""
    from pubsub.codec import digest
    from supervisor.cli.waiting import is_failed, wait_until

    digests = {
        step.name: digest(step.config) for step in steps if step.config is not None and step.section == INSTANCES
    }

    def answers(status: NetworkInstanceStatus) -> bool:
        return getattr(status, "config", "") in ("", digests[status.name])

    outcome = wait_until(
        folders.run,
        list(digests),
        lambda _, status: status is not None and status.state == "ready" and answers(status),
        timeout,
        hopeless=lambda status: is_failed(status) and answers(status),
    )
    return outcome.statuses


def _row(step: Step, status: NetworkInstanceStatus | None) -> dict[str, Any]:
    return {
        "name": step.title,
        "action": step.action,
        "state": status.state.value if status else "",
        "reason": status.reason if status else "",
        "file": str(step.path),
    }
