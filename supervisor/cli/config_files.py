"""What `apply`, `plan` and `delete` share: the files they are given, the directory, and how problems are told."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import click

from pubsub.config.directory import config_files, read_directory, read_file, sync_directory, write_atomically
from pubsub.topics import ConfigProblem
from supervisor.cli.errors import INVALID_CONFIG, NOT_FOUND, CliError
from supervisor.cli.options import Command

STDIN = "-"


def with_files(function: Command) -> Command:
    """Give the command `files`."""
    return click.option(
        "-f",
        "--file",
        "files",
        metavar="FILE",
        multiple=True,
        required=True,
        type=click.Path(allow_dash=True),
        help="A config file, a directory of such, or - for stdin; may be given several times.",
    )(function)


def read_given(files: Iterable[str]) -> dict[str, bytes | OSError]:
    """Read what the user named, by absolute path. Raises CliError for what doesn't exist."""
    found: dict[str, bytes | OSError] = {}
    for name in files:
        if name == STDIN:
            found[STDIN] = sys.stdin.buffer.read()
            continue
        path = Path(name).resolve()
        if not path.exists():
            raise CliError(f"{name}: no such file", NOT_FOUND)
        for each in config_files(path) if path.is_dir() else [path]:
            found[str(each)] = read_file(each)
    return found


def read_existing(directory: Path) -> dict[str, bytes | OSError]:
    """Read the config directory, by absolute path; one that doesn't exist is empty."""
    resolved = directory.resolve()
    return read_directory(resolved) if resolved.exists() else {}


def write_files(texts: dict[Path, str | None]) -> None:
    """Write or delete files, each atomically. Raises OSError."""
    for path, text in texts.items():
        if text is None:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text)
    for directory in {path.parent for path in texts}:
        sync_directory(directory)


def refuse(problems: tuple[ConfigProblem, ...]) -> CliError:
    """Tell all problems, and return the error to raise."""
    for problem in problems:
        print(words(problem), file=sys.stderr)
    count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
    return CliError(f"invalid configuration: {count}; nothing was done", INVALID_CONFIG)


def words(problem: ConfigProblem) -> str:
    """Return a problem in one line, as compilers write them."""
    where = f"{problem.file}:{problem.line}" if problem.line else problem.file
    field = f" {problem.field}:" if problem.field else ""
    value = f" (found: {problem.value})" if problem.value and problem.value not in problem.message else ""
    return f"{where}:{field} {problem.message}{value}; {problem.remedy}"
