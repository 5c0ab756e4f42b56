"""What a heartbeat tells, whatever a manager wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.instance import read_heartbeat


def test_it_tells_the_time_of_the_last_beat(tmp_path: Path) -> None:
    file = tmp_path / "heartbeat"
    file.write_text("12.345\nof an older, longer beat")
    assert read_heartbeat(file) == 12.345


@pytest.mark.parametrize("text", ["nan", "-nan", "inf", "-inf", "1e999", "soon", "\0"])
def test_what_is_no_time_is_no_beat(tmp_path: Path, text: str) -> None:
    """To find the most silent manager all are compared, and nothing is less or more than `nan`."""
    file = tmp_path / "heartbeat"
    file.write_text(text)
    assert read_heartbeat(file) == 0.0
