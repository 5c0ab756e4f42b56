"""The file with what probes found."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from supervisor.probing.memory import KEPT, Memory
from supervisor.probing.track import Track

NOW = 1_700_000_000.0
TRACK = Track(up=False, since=NOW - 9, at=NOW - 1, run=4, error="refused", history=(1.5, -1.0), flips=(NOW - 9,))


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    Memory(tmp_path).save({"eth0 arp 192.168.0.1": TRACK, "eth1 tcp://198.51.100.1:443": Track(at=NOW)})
    assert Memory(tmp_path).load(NOW) == {
        "eth0 arp 192.168.0.1": TRACK,
        "eth1 tcp://198.51.100.1:443": Track(at=NOW),
    }
    assert [path.name for path in tmp_path.iterdir()] == ["probes.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"eth0": 1}', b'{"eth0": {"up": "no"}}', b"\xff\xfe"])
def test_a_file_that_is_damaged_is_ignored_and_said(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "probes.json").write_bytes(content)
    assert Memory(tmp_path).load(NOW) == {}
    assert "can't be read" in caplog.text


def test_no_file_is_no_trouble(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert Memory(tmp_path).load(NOW) == {}
    assert not caplog.text


@pytest.mark.parametrize("now", [NOW + KEPT + 1, NOW - KEPT - 10])
def test_what_is_too_old_or_of_the_future_is_ignored_and_said(
    tmp_path: Path, now: float, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    Memory(tmp_path).save({"eth0 arp 192.168.0.1": TRACK})
    assert Memory(tmp_path).load(now) == {}
    assert "1 of 1 probes" in caplog.text


def test_a_file_that_can_not_be_written_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    memory = Memory(tmp_path / "absent")
    for _ in range(3):
        memory.save({})
    assert caplog.text.count("can't be written") == 1
