"""The command's frame: its subcommands, loaded when asked for, and the one place that turns failures into words."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click

from supervisor.cli.errors import DENIED, EXIT_CODES, FAILED, NOT_RUNNING, TIMED_OUT, USAGE, CliError
from supervisor.cli.screen import guard

INTERRUPTED = 130  # as shells have it for SIGINT
TRACEBACK_VARIABLE = "NSVISOR_TRACEBACK"

# Subcommand -> module and summary. A module is imported when its command is used: the start-up time is theirs.
COMMANDS = {
    "apply": ("apply", "Create or change the instances of config FILEs."),
    "completion": ("completion", "Print the completion script of a shell."),
    "delete": ("delete", "Delete instances: out of their files, and off the host."),
    "describe": ("describe", "Tell all about one instance, app or uplink."),
    "dns": ("dns", "Print the DNS queries of an instance's apps, and their answers."),
    "doctor": ("doctor", "Look for what stands in the way on this host."),
    "down": ("down", "Take all instances down and stop nsvisord."),
    "exec": ("run", "Run a command inside the network namespace of an instance."),
    "explain": ("explain", "Tell the way a packet would take, and what decides each step."),
    "flows": ("flows", "Print the connections of an instance's apps, and what was dropped."),
    "get": ("get", "List instances, apps, leases, portmaps, uplinks or tables."),
    "graph": ("graph.command", "Draw the network: uplinks, instances, apps, port maps, tunnels."),
    "logs": ("logs", "Print the log of an instance."),
    "plan": ("plan", "Print what applying FILEs would change, as shell commands."),
    "restart": ("restart", "Replace managers, one after another; networks and services go on."),
    "run": ("run", "Run a command as an app of an instance."),
    "schema": ("schema", "Print the JSON Schema of a config file."),
    "version": ("version", "Print the versions of the command and of nsvisord."),
    "wait": ("wait", "Wait until instances are in a state."),
    "watch": ("watch", "Print a table of the bus, then every change to it."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's interface
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"supervisor.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), text) for code, text in EXIT_CODES.items()])


@click.command(cls=_LazyGroup, name="nsvisor", context_settings={"help_option_names": ["-h", "--help"]})
def nsvisor() -> None:
    """Networks in namespaces of their own, supervised."""


def main() -> None:
    """Run the command line of this process."""
    guard()
    sys.exit(run(sys.argv[1:]))


def run(args: list[str]) -> int:
    """Run one command line; return its exit code. No exception leaves it."""
    try:
        code = nsvisor.main(args, prog_name="nsvisor", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.ClickException as exc:
        exc.show()
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # Python would try to flush stdout at its end, and complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as exc:  # noqa: BLE001  # the top: nobody above could tell the user
        if os.environ.get(TRACEBACK_VARIABLE):
            import traceback

            traceback.print_exc()
        text, code = translate(exc)
        print(f"nsvisor: {text}", file=sys.stderr)
        return code


def translate(exc: Exception) -> tuple[str, int]:
    """Return what to tell the user about a failure, and the exit code."""
    if isinstance(exc, ExceptionGroup):
        return translate(exc.exceptions[0])
    if isinstance(exc, CliError):
        return str(exc), exc.code
    control_error = getattr(sys.modules.get("supervisor.control"), "ControlError", ())
    if isinstance(exc, control_error):
        return str(exc), exc.code
    bus_denied = getattr(sys.modules.get("pubsub.errors"), "Denied", ())
    if isinstance(exc, bus_denied):
        return "the bus speaks only with root and with whom the supervisor grants it; use root", DENIED
    if isinstance(exc, PermissionError):
        return f"{exc.filename or 'not permitted'}: permission denied; use root", DENIED
    if isinstance(exc, ConnectionRefusedError):
        return "nsvisord doesn't run here; start it, or name its --run-dir", NOT_RUNNING
    if isinstance(exc, TimeoutError):
        return "timed out", TIMED_OUT
    if isinstance(exc, OSError):
        where = f"{exc.filename}: " if exc.filename else ""
        return f"{where}{exc.strerror or exc}", FAILED
    hint = f"run it again with {TRACEBACK_VARIABLE}=1 and report what it prints"
    return f"internal error: {type(exc).__name__}: {exc}; {hint}", FAILED
