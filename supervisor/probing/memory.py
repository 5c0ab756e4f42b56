"""RUN/probes.json: what the probes have found, over a restart of nsvisord."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import msgspec

from supervisor.files import read_or_none, write_atomically
from supervisor.probing.track import FLAP_WINDOW, Track

log = logging.getLogger(__name__)

KEPT = FLAP_WINDOW  # seconds after the last result; what was found earlier tells nothing of now


class Memory:
    """The file; its loss costs nothing but the probes' past."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / "probes.json"
        self._trouble = ""  # why the last write failed

    def load(self, now: float) -> dict[str, Track]:
        """Return the tracks by their keys, without those that are stale; none when the file can't be read."""
        try:
            data = read_or_none(self._path)
            if data is None:
                return {}
            tracks = msgspec.json.decode(data, type=dict[str, Track])
        except (OSError, msgspec.MsgspecError) as exc:
            log.warning("%s can't be read (%s): all uplinks are probed from the start", self._path, exc)
            return {}
        fresh = {key: track for key, track in tracks.items() if not is_stale(track, now)}
        if len(fresh) < len(tracks):
            log.info("%s: %d of %d probes are older than %g s: ignored",
                     self._path, len(tracks) - len(fresh), len(tracks), KEPT)  # fmt: skip
        return fresh

    def save(self, tracks: Mapping[str, Track]) -> None:
        """Write the file. A failure is logged once, and again when its words change."""
        try:
            write_atomically(self._path, msgspec.json.encode(tracks))
        except OSError as exc:
            if self._trouble != str(exc):
                log.warning("%s can't be written (%s): a restart forgets what the probes found", self._path, exc)
            self._trouble = str(exc)
        else:
            self._trouble = ""


def is_stale(track: Track, now: float) -> bool:
    """Tell whether the last result is too old to tell of now, or of a clock that was set back since."""
    return abs(now - track.at) > KEPT
