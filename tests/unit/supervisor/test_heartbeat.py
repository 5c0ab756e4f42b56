"""The heartbeat is a file of the manager's: root reads it and believes little."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.instance import read_heartbeat


@pytest.mark.parametrize(("text", "beat"), [("123.5", 123.5), ("77\n", 77.0), ("", 0.0), ("now", 0.0)])
def test_a_beat_is_a_number_or_none(tmp_path: Path, text: str, beat: float) -> None:
    (tmp_path / "heartbeat").write_text(text)
    assert read_heartbeat(tmp_path / "heartbeat") == beat


def test_no_file_is_no_beat(tmp_path: Path) -> None:
    assert read_heartbeat(tmp_path / "heartbeat") == 0.0


def test_no_link_is_followed_and_no_pipe_waited_for(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("5")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    os.mkfifo(tmp_path / "pipe")
    assert read_heartbeat(tmp_path / "real") == 5.0
    assert read_heartbeat(tmp_path / "link") == 0.0
    assert read_heartbeat(tmp_path / "pipe") == 0.0
