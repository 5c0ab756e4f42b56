"""`nsvisor flows`: what became of the connections of an instance's apps."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import click

from supervisor.cli.completion import instance_names
from supervisor.cli.options import Folders, with_folders, with_output
from supervisor.cli.output import Column, Row, show, size
from supervisor.cli.records import Printer, Selection, print_records

ICMP = ("icmp", "icmpv6")


def clock(seconds: float) -> str:
    """Return a time since the epoch as the hour of here, to the millisecond; 0 is none."""
    if not seconds:
        return "-"
    try:
        return dt.datetime.fromtimestamp(seconds).astimezone().strftime("%H:%M:%S.%f")[:-3]
    except (OverflowError, ValueError, OSError):  # as in `kinds.moment`
        return f"at {seconds} s"


def end(address: str, port: int, protocol: str) -> str:
    """Return one end of a connection as people write it."""
    if protocol in ICMP or not port:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _amount(row: Row, which: str) -> str:
    return f"{size(row[f'{which}_bytes'])} / {row[f'{which}_packets']}"


def _app(row: Row) -> str:
    return f"{show(row['app'])} > {row['peer_app']}" if row["peer_app"] else show(row["app"])


COLUMNS = (
    Column("ENDED", "end", text=clock),
    Column("APP", "app", row_text=_app),
    Column("VERDICT", "verdict"),
    Column("RULE", "rule"),
    Column("WAY", "direction"),
    Column("PROTO", "protocol"),
    Column("SOURCE", "source", row_text=lambda row: end(row["source"], row["source_port"], row["protocol"])),
    Column(
        "DESTINATION",
        "destination",
        row_text=lambda row: end(row["destination"], row["destination_port"], row["protocol"]),
    ),
    Column("SENT", "sent_bytes", row_text=lambda row: _amount(row, "sent")),
    Column("RECEIVED", "received_bytes", row_text=lambda row: _amount(row, "received")),
    Column("SECONDS", "start", row_text=lambda row: f"{max(0.0, row['end'] - row['start']):.3f}"),
    Column("BEGAN", "start", wide=True, text=clock),
    Column("ZONE", "zone", wide=True),
)
WIDTHS = (12, 12, 7, 10, 3, 6, 21, 21, 14, 14, 8, 12, 4)


def matching(app: str, verdict: str) -> Callable[[Row], bool] | None:
    """Return what tells whether a record is wanted; None: all are."""
    if not app and not verdict:
        return None
    return lambda row: (not app or app in (row["app"], row["peer_app"])) and (not verdict or row["verdict"] == verdict)


@click.command("flows")
@click.argument("name", shell_complete=instance_names)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until interrupted.")
@click.option("-n", "--lines", type=click.IntRange(0), default=50, show_default=True, help="Only the last so many.")
@click.option("--app", default="", help="Only those of this app.")
@click.option("--verdict", type=click.Choice(("allowed", "dropped")), default=None, help="Only those that were so.")
@with_output
@with_folders
def flows_command(  # noqa: PLR0917  # click passes them by name
    name: str, follow: bool, lines: int, app: str, verdict: str | None, output: str, folders: Folders
) -> None:
    """Print the connections of an instance's apps that have ended, and what was dropped.

    The instance's config must say `log: {flows: true}`. SENT and RECEIVED are bytes and packets, with IP headers, by
    who opened the connection and by the other end. With -o json each record is one line. What was lost, of a stream
    that is faster than its reader, is told on the standard error.
    """
    from pubsub.topics import IPFlow

    printer = Printer(COLUMNS, WIDTHS, output)
    print_records(folders.run, IPFlow, name, printer, Selection(lines, follow, matching(app, verdict or "")))
