"""Rows, changes and failures as text, JSON and YAML."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import yaml

import pubsub
from pubsub.config.directory import write_atomically
from pubsub.topics import NetworkInstanceStatus
from supervisor.cli import logs, run, watch
from supervisor.cli.errors import CliError
from supervisor.cli.kinds import INSTANCES, KINDS
from supervisor.cli.main import translate
from supervisor.cli.options import Seconds
from supervisor.cli.output import Column, render_rows, size
from supervisor.cli.plan import render as render_plan

COLUMNS = (Column("NAME", "name"), Column("UP", "up"), Column("PORTS", "ports"), Column("PID", "pid", wide=True))
ROWS = [
    {"name": "red", "up": True, "ports": ["a", "b"], "pid": 5},
    {"name": "a-long-name", "up": False, "ports": [], "pid": None},
]


def test_a_table_is_aligned_and_wide_shows_more() -> None:
    assert render_rows(COLUMNS, ROWS, "table", "name").splitlines() == [
        "NAME         UP   PORTS",
        "red          yes  a, b",
        "a-long-name  no   -",
    ]
    assert render_rows(COLUMNS, ROWS, "wide", "name").splitlines()[2] == "a-long-name  no   -      -"


def test_data_formats_have_every_field() -> None:
    assert json.loads(render_rows(COLUMNS, ROWS, "json", "name")) == ROWS
    assert yaml.safe_load(render_rows(COLUMNS, ROWS, "yaml", "name")) == ROWS
    assert render_rows(COLUMNS, ROWS, "name", "name") == "red\na-long-name"
    assert render_rows(COLUMNS, [], "json", "name") == "[]"


def test_every_column_is_a_field_of_its_rows() -> None:
    status = NetworkInstanceStatus(name="red", type="local", state="ready")  # type: ignore[arg-type]  # texts do here
    [row] = INSTANCES.rows("red", status)
    assert all(column.key in row for column in INSTANCES.columns)
    assert all(kind.columns for kind in KINDS.values())


def test_sizes_are_readable() -> None:
    assert [size(number) for number in (0, 1023, 1536, 5 << 20, 3 << 30)] == [
        *("0 B", "1023 B", "1.5 KiB", "5.0 MiB", "3.0 GiB")
    ]


def test_a_change_shows_what_is_new() -> None:
    old, new = ({"state": s, "pid": 5, "conditions": c} for s, c in (("starting", ["a", "b"]), ("ready", ["a", "c"])))
    assert watch.difference(new, old) == {"state": "ready", "conditions": ["c"]}
    assert watch.difference(new, {}) == new
    stale = pubsub.Stale(table="a/B", scope="", since=12.5)
    assert watch.render(stale, "table") == "stale a/B 12.5"
    assert json.loads(watch.render(stale, "json"))["since"] == 12.5


def test_a_plan_reads_as_a_script() -> None:
    found = {"host": ["ip link add v-red"], "instances": {"red": ["nft -f - <<'END'\ntable t\nEND"], "blue": []}}
    assert render_plan(found, "table").splitlines() == [
        "# the host",
        "ip link add v-red",
        "",
        "# instance red",
        "ip netns exec red nft -f - <<'END'",
        "table t",
        "END",
    ]
    assert render_plan({"host": [], "instances": {"red": []}}, "table") == "# nothing would change"


@pytest.mark.parametrize(
    ("exc", "code"),
    [
        (CliError("no", 3), 3),
        (PermissionError(13, "Permission denied", "/x"), 7),
        (ConnectionRefusedError(), 4),
        (TimeoutError(), 5),
        (FileNotFoundError(2, "No such file", "/x"), 1),
        (KeyError("x"), 1),
        (ExceptionGroup("g", [ExceptionGroup("h", [CliError("no", 6)])]), 6),
    ],
)
def test_every_failure_has_words_and_a_code(exc: Exception, code: int) -> None:
    text, found = translate(exc)
    assert found == code
    assert text


@pytest.mark.parametrize(("text", "seconds"), [("10", 10), ("10s", 10), ("200ms", 0.2), ("1.5m", 90), ("1h", 3600)])
def test_durations_are_read(text: str, seconds: float) -> None:
    assert Seconds().convert(text, None, None) == seconds


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("true",), ("", ("true",))),
        (("--", "ls", "-l"), ("", ("ls", "-l"))),
        (("--name", "web", "--", "ls", "--name", "x"), ("web", ("ls", "--name", "x"))),
        (("--name=web", "ls"), ("web", ("ls",))),
        (("ls", "--", "x"), ("", ("ls", "--", "x"))),
    ],
)
def test_the_name_may_stand_behind_the_instance(words: tuple[str, ...], wanted: tuple[str, tuple[str, ...]]) -> None:
    assert run.take_name("", words) == wanted


@pytest.mark.parametrize("lines", [0, 1, 2, 5, 9])
@pytest.mark.parametrize("text", ["", "a\n", "a", "a\nb\nc\n", "a\nb\nc", "x" * 200_000 + "\ny\n"])
def test_the_last_lines_of_a_log(text: str, lines: int) -> None:
    file = io.BytesIO(text.encode())
    file.seek(logs.tail_offset(file, lines))
    wanted = text.splitlines(keepends=True)[-lines:] if lines else []
    assert file.read().decode() == "".join(wanted)


def test_a_file_is_replaced_at_once_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    write_atomically(path, "one")
    assert path.stat().st_mode & 0o777 == 0o644
    path.chmod(0o600)
    write_atomically(path, "two")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("two", 0o600)
    assert [one.name for one in tmp_path.iterdir()] == ["a.yaml"]
