"""`nsvisor get`: list instances, apps, leases, port maps, uplinks, tables."""

from __future__ import annotations

import sys

import click

from supervisor.cli.completion import instance_names
from supervisor.cli.errors import NOT_FOUND, CliError
from supervisor.cli.options import Folders, with_folders, with_output


@click.command("get")
@click.argument(
    "kind",
    metavar="KIND",
    type=click.Choice(
        (
            "instances",
            "apps",
            "leases",
            "portmaps",
            "uplinks",
            "tables",
            "instance",
            "app",
            "lease",
            "portmap",
            "uplink",
            "table",
        )
    ),
)
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=instance_names)
@with_output
@with_folders
def get_command(kind: str, names: tuple[str, ...], output: str, folders: Folders) -> None:
    """List KIND: instances, apps, leases, portmaps, uplinks or tables.

    NAMEs choose some of them; leases and port maps are chosen by instance, apps by instance or instance/app.
    """
    from supervisor.cli.kinds import BY_ANY_NAME
    from supervisor.cli.output import render_rows
    from supervisor.cli.reading import read_now, staleness

    wanted = BY_ANY_NAME[kind]
    [found] = read_now(folders.run, (wanted.topic, wanted.agent, wanted.scope))
    rows = wanted.all_rows(found.table)
    if names:
        keys = (wanted.filter_key, "instance") if kind in ("apps", "app") else (wanted.filter_key,)
        rows = [row for row in rows if any(row[key] in names for key in keys)]
        known = {str(row[key]) for row in rows for key in keys} | (
            found.table.keys() if keys[0] == "instance" else set()
        )
        missing = [name for name in names if name not in known]
        if missing:
            raise CliError(f"no {wanted.singular} {', '.join(missing)}; see `nsvisor get {wanted.name}`", NOT_FOUND)
    warning = staleness(found, wanted.agent)
    if warning and wanted.scope != "*":
        print(f"nsvisor: {warning}", file=sys.stderr)
    if rows or output in ("json", "yaml"):
        print(render_rows(wanted.columns, rows, output, wanted.name_key))
    elif output != "name":
        print(f"no {wanted.name}", file=sys.stderr)
