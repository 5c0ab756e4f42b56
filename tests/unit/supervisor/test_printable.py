"""Nothing that others wrote can control a terminal, begin a line of a log, or look like another text."""

from __future__ import annotations

import io
import json
import logging
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.__main__ import LogFormatter
from supervisor.cli import screen
from supervisor.cli.output import Column, render_rows
from supervisor.printable import in_line, printable


@given(st.text())
def test_no_control_character_is_left(text: str) -> None:
    assert not [one for one in printable(text) if unicodedata.category(one) in {"Cc", "Cs"} and one not in "\t\n"]
    assert not [one for one in in_line(text) if unicodedata.category(one) in {"Cc", "Cs", "Zl", "Zp"}]


@pytest.mark.parametrize("text", ["\x1b[2J", "\x1b]0;title\x07", "\x9b2J", "\r", "\b", "\x7f", "\u202e", "\u2066"])
def test_it_is_shown_instead(text: str) -> None:
    assert printable(f"a{text}b") == f"a\\u{ord(text[0]):04x}{printable(text[1:])}b"
    assert json.loads(f'"{printable(text)}"') == text


def test_what_people_write_stays() -> None:
    text = "naïve → 日本語 …\n\ta"
    assert printable(text) == text
    assert in_line(text) == r"naïve → 日本語 …\n\ta"


def test_a_terminal_gets_colours_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, expected in ((Terminal(), "\x1b[1;32mok\x1b[0m \\u001b[2J"), (io.StringIO(), "\\u001b[1;32mok")):
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        screen.guard()
        print("\x1b[1;32mok\x1b[0m \x1b[2J", end="")
        assert stream.getvalue().startswith(expected)


def test_a_cell_makes_no_row() -> None:
    text = render_rows([Column("NAME", "name")], [{"name": "red\nblue"}, {"name": "\x1b[31mx"}], "table", "name")
    assert text.splitlines() == ["NAME", "red\\nblue", "\\u001b[31mx"]


def test_a_message_begins_no_line_of_the_log() -> None:
    record = logging.LogRecord("x", logging.WARNING, "", 0, "%s", ("a\nERROR b\x1b[2J",), None)
    assert LogFormatter("%(levelname)s %(message)s").format(record) == "WARNING a\n    ERROR b\\u001b[2J"
