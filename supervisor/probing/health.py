"""Whether an uplink is healthy, by the tracks of its probes, and why not, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from pubsub.topics import ProbeStatus
from supervisor.facts import Health
from supervisor.probing.probes import Probe
from supervisor.probing.track import Track, answers_needed

NAMED = 3  # endpoints of which the reason tells

Probed = tuple[Probe, Track]


def judge(probed: Iterable[Probed]) -> Health:
    """Return the health of one uplink: a gateway answers, if any is asked, and an endpoint, if there are any."""
    gateways: list[Probed] = []
    endpoints: list[Probed] = []
    for one in probed:
        (endpoints if one[0].endpoint else gateways).append(one)
    endpoints_up = sum(track.up for _, track in endpoints)
    reasons = []
    if gateways and not any(track.up for _, track in gateways):
        reasons.append("; ".join(gateway_trouble(*one) for one in gateways))
    if endpoints and not endpoints_up:
        told = [endpoint_trouble(*one) for one in endpoints[:NAMED]]
        told += [f"{len(endpoints) - NAMED} more"] if len(endpoints) > NAMED else []
        reasons.append(f"no endpoint answers: {'; '.join(told)}")
    return Health(not reasons, endpoints_up, "; ".join(reasons))


def gateway_trouble(probe: Probe, track: Track) -> str:
    """Say why a gateway counts as down."""
    if track.answered:
        return f"{probe.what} {recovering(probe, track)}"
    last = track.history[-probe.counts.down :]
    lost = sum(latency < 0 for latency in last)
    return f"{probe.what} is silent ({lost} of {len(last)} probes lost): {track.error}"


def endpoint_trouble(probe: Probe, track: Track) -> str:
    """Say why an endpoint counts as down."""
    return f"{probe.endpoint}: {recovering(probe, track) if track.answered else track.error}"


def recovering(probe: Probe, track: Track) -> str:
    """Say what is still missing. The same text for each answer: a changed reason is told to everybody."""
    return f"answers again, but not yet {answers_needed(track, probe.counts, track.at)} times in a row"


def status(probe: Probe, track: Track) -> ProbeStatus:
    """Return what is told of one probe."""
    return ProbeStatus(
        name=probe.name,
        up=track.up,
        latency=round(track.latency, 3),
        since=track.since,
        error=track.error,
        history=track.history,
    )
