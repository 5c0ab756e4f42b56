"""A folder goes with all that an instance may have put there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.folders import opened, owned, remove
from supervisor.names import UIDS_PER_INSTANCE


def test_nothing_that_lies_there_stays(tmp_path: Path) -> None:
    """Deeper than any path or recursion can be, with names and kinds that nobody expects."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("stays")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(outside)
    (folder / ".removed-0").write_text("in the way")
    (folder / ".removed-1").mkdir()
    (folder / ".removed-1/full").mkdir()
    (folder / ".removed-1/full/file").touch()
    os.mkfifo(folder / "\x1b[2J\n")
    at = os.open(folder, os.O_RDONLY)
    for depth in range(1200):
        os.mkdir("deep", dir_fd=at)
        os.symlink(outside, f"link-{depth}", dir_fd=at)
        inner = os.open("deep", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inner
    os.close(at)
    remove(folder)
    assert not folder.exists()
    assert (outside / "file").read_text() == "stays"
    remove(folder)


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match=r"symbolic|directory"):
        remove(tmp_path / "link")
    assert (tmp_path / "outside").exists()


def test_only_what_another_instance_left_is_deleted(tmp_path: Path) -> None:
    folder = tmp_path / "red"
    folder.mkdir()
    kept = folder / "kept"
    first = 10 * UIDS_PER_INSTANCE
    for owner, uid, stays in (
        (0, first, True),  # made by us, and not handed on yet
        (first, first, True),
        (first + UIDS_PER_INSTANCE - 1, first, True),  # given away inside
        (first + UIDS_PER_INSTANCE, first, False),
        (first - 1, first, False),
    ):
        kept.touch()
        os.chown(folder, owner, owner)
        with opened(tmp_path) as parent, owned("red", uid, parent):
            assert kept.exists() == stays, owner
        assert folder.stat().st_uid == uid
