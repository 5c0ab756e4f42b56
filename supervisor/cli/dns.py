"""`nsvisor dns`: what the apps of an instance asked of its DNS."""

from __future__ import annotations

from collections.abc import Callable

import click

from supervisor.cli.completion import instance_names
from supervisor.cli.flows import clock
from supervisor.cli.options import Folders, with_folders, with_output
from supervisor.cli.output import Column, Row, few, milliseconds
from supervisor.cli.records import Printer, Selection, print_records

COLUMNS = (
    Column("ASKED", "at", text=clock),
    Column("APP", "app"),
    Column("NAME", "name"),
    Column("TYPE", "type"),
    Column("CODE", "code", text=lambda code: code or "no answer"),
    Column("ANSWERS", "answers", text=few),
    Column("TTL", "ttl", row_text=lambda row: f"{row['ttl']} s" if row["answers"] else "-"),
    Column("LATENCY", "latency", text=milliseconds),
    Column("BY", "protocol", wide=True),
    Column("SOURCE", "source", wide=True),
)
WIDTHS = (12, 12, 32, 5, 9, 34, 8, 8, 3, 15)


def matching(app: str, code: str) -> Callable[[Row], bool] | None:
    """Return what tells whether a record is wanted; None: all are."""
    if not app and not code:
        return None
    return lambda row: (not app or row["app"] == app) and (not code or row["code"] == code.upper())


@click.command("dns")
@click.argument("name", shell_complete=instance_names)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until interrupted.")
@click.option("-n", "--lines", type=click.IntRange(0), default=50, show_default=True, help="Only the last so many.")
@click.option("--app", default="", help="Only those of this app.")
@click.option("--code", default="", help="Only those answered so, as NXDOMAIN.")
@with_output
@with_folders
def dns_command(  # noqa: PLR0917  # click passes them by name
    name: str, follow: bool, lines: int, app: str, code: str, output: str, folders: Folders
) -> None:
    """Print the DNS queries of an instance's apps, and their answers.

    The instance's config must say `log: {dns: true}`. With -o json each record is one line. What was lost, of a stream
    that is faster than its reader, is told on the standard error.
    """
    from pubsub.topics import DnsQuery

    printer = Printer(COLUMNS, WIDTHS, output)
    print_records(folders.run, DnsQuery, name, printer, Selection(lines, follow, matching(app, code)))
