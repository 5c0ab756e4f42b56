"""Options that many commands share."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

FORMATS = ("table", "wide", "json", "yaml", "name")
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

Command = Callable[..., Any]


class Folders(msgspec.Struct, frozen=True):
    """Where one nsvisord lives."""

    run: Path
    config: Path
    state: Path


class Seconds(click.ParamType[float]):
    """A duration: a number with ms, s, m or h; a bare number is seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)?", str(value))
        if not match:
            self.fail(f"{value!r} is no duration; write a number and ms, s, m or h, as 10s", param, ctx)
        return float(match[1]) * SECONDS[match[2] or "s"]


def with_folders(function: Command) -> Command:
    """Give the command `folders`, from its options or the environment."""

    @click.option(
        "--run-dir", envvar="NSVISOR_RUN_DIR", default="/run/nsvisor", show_default=True, help="Sockets of nsvisord."
    )
    @click.option(
        "--config",
        envvar="NSVISOR_CONFIG_DIR",
        default="/etc/nsvisor",
        show_default=True,
        help="Directory of the config files.",
    )
    @click.option(
        "--state-dir",
        envvar="NSVISOR_STATE_DIR",
        default="/var/lib/nsvisor",
        show_default=True,
        help="What nsvisord keeps over a reboot.",
    )
    @functools.wraps(function)
    def wrapped(*args: Any, run_dir: str, config: str, state_dir: str, **kwargs: Any) -> Any:
        return function(*args, folders=Folders(Path(run_dir), Path(config), Path(state_dir)), **kwargs)

    return wrapped


def with_output(function: Command) -> Command:
    """Give the command `output`, one of FORMATS."""
    return click.option(
        "-o", "--output", type=click.Choice(FORMATS), default="table", show_default=True, help="How to print."
    )(function)


def with_timeout(default: str) -> Callable[[Command], Command]:
    """Give the command `timeout` in seconds."""
    return click.option("--timeout", type=Seconds(), default=default, show_default=True, help="How long to wait.")
