"""`nsvisor doctor`: what stands in the way on this host, and what to do about it."""

from __future__ import annotations

import click

from supervisor.cli.errors import FAILED
from supervisor.cli.options import Folders, with_folders, with_output
from supervisor.cli.output import Column, render_rows

COLUMNS = (Column("LEVEL", "level"), Column("CHECK", "check"), Column("FOUND", "found"), Column("REMEDY", "remedy"))


@click.command("doctor")
@click.option("-q", "--quiet", is_flag=True, help="Leave out what is well.")
@with_output
@with_folders
def doctor_command(quiet: bool, output: str, folders: Folders) -> int:
    """Look for what stands in the way: kernel, software, firewalls, limits, configuration.

    Changes nothing, and needs no nsvisord. Exit code 1 when something can't work.
    """
    from supervisor.cli.diagnosis import Level, judge, look

    findings = judge(look(folders.config, folders.run))
    shown = [finding for finding in findings if not quiet or finding.level is not Level.OK]
    rows = [finding._asdict() | {"level": finding.level.value} for finding in shown]
    if rows or output in ("json", "yaml"):
        print(render_rows(COLUMNS, rows, output, "check"))
    return FAILED if any(finding.level is Level.ERROR for finding in findings) else 0
