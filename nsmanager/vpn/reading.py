"""What vici tells of tunnels -> TunnelStatus. Pure. The messages are those of `list-sas` (vici's README)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from pubsub.topics import NamespaceTunnel, ServiceCounters, TunnelStatus

SECOND = 1.5  # vici tells ages in whole seconds: a moment that is known stays the same within this

Association = Mapping[str, Any]


class Traffic(msgspec.Struct, frozen=True):
    """What ESP has carried."""

    sent_bytes: int = 0
    sent_packets: int = 0
    received_bytes: int = 0
    received_packets: int = 0

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(*(one + two for one, two in zip(self.counts, other.counts, strict=True)))

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """All of them, in order."""
        return (self.sent_bytes, self.sent_packets, self.received_bytes, self.received_packets)


class Totals:
    """The traffic of a tunnel over all its security associations: each begins at zero, and is gone when it is over."""

    def __init__(self) -> None:
        self._ended = Traffic()
        self._living: dict[str, Traffic] = {}

    def count(self, children: Iterable[Association]) -> Traffic:
        """Take what lives now, and return all that there was."""
        now = {word(child, "spi-in"): _traffic(child) for child in children}
        for spi in self._living.keys() - now.keys():
            self._ended += self._living[spi]
        self._living = now
        return sum(now.values(), self._ended)


def established(association: Association) -> bool:
    """Tell whether the peers have proved to each other who they are."""
    return word(association, "state") == "ESTABLISHED"


def under_way(association: Association) -> bool:
    """Tell whether charon works on it by itself."""
    return word(association, "state") in ("CREATED", "CONNECTING")


def installed(association: Association) -> list[Association]:
    """Return the ESP associations of an IKE association that carry packets."""
    children = association.get("child-sas", {}).values()
    return [child for child in children if word(child, "state") in ("INSTALLED", "REKEYING", "UPDATING")]


def status(
    tunnel: NamespaceTunnel,
    associations: Iterable[Association],
    before: TunnelStatus | None,
    totals: Totals,
    *,
    now: float,
    kernel_esp: bool,
    rekeys: int = 0,
    error: str = "",
) -> TunnelStatus:
    """Return what a tunnel is like; `error`: what charon said last of a failure."""
    alive = [one for one in associations if established(one)]
    carrying = [one for one in alive if installed(one)]
    traffic = totals.count(child for one in alive for child in installed(one))
    common = {
        **msgspec.structs.asdict(traffic),
        "name": tunnel.name,
        "rekeys": rekeys,
        "last_error": error or (before.last_error if before else ""),
    }
    if not carrying:
        return TunnelStatus(up=False, reason=_why(tunnel, error), **common)
    one, child = carrying[-1], installed(carrying[-1])[-1]
    since = now - int(word(one, "established") or 0)
    if before is not None and abs(before.since - since) <= SECOND:
        since = before.since
    pairs = [f"{here} === {there}" for here in texts(child, "local-ts") for there in texts(child, "remote-ts")]
    return TunnelStatus(
        up=True,
        local=_end(one, "local"),
        remote=_end(one, "remote"),
        esp="kernel" if kernel_esp else "user space",
        cipher=_cipher(child),
        networks=tuple(pairs),
        since=since,
        **common,
    )


def counters(found: Iterable[TunnelStatus]) -> tuple[ServiceCounters, ...]:
    """Return what tunnels carried, for the metrics."""
    return tuple(
        ServiceCounters(
            service=f"tunnel {one.name}",
            counters={
                "sent bytes": one.sent_bytes,
                "received bytes": one.received_bytes,
                **(_of_ipsec(one) if one.kind == "ipsec" else {}),
            },
        )
        for one in found
    )


def _of_ipsec(one: TunnelStatus) -> dict[str, int]:
    """Return what the kernel doesn't count of WireGuard."""
    return {"sent packets": one.sent_packets, "received packets": one.received_packets, "rekeys": one.rekeys}


def word(message: Association, key: str) -> str:
    """Return a value as text; empty when it is absent."""
    value = message.get(key, b"")
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def texts(message: Association, key: str) -> list[str]:
    """Return a list of values as texts."""
    return [one.decode(errors="replace") for one in message.get(key, [])]


def _why(tunnel: NamespaceTunnel, error: str) -> str:
    if not tunnel.secrets:
        return "its secrets can't be read"
    return error or f"being set up with {tunnel.remote}"


def _traffic(child: Association) -> Traffic:
    keys = ("bytes-out", "packets-out", "bytes-in", "packets-in")
    return Traffic(*(int(word(child, key) or 0) for key in keys))


def _end(association: Association, side: str) -> str:
    address, port = word(association, f"{side}-host"), word(association, f"{side}-port")
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _cipher(child: Association) -> str:
    cipher, size = word(child, "encr-alg"), word(child, "encr-keysize")
    integrity = word(child, "integ-alg")
    return "/".join(part for part in (f"{cipher}-{size}" if size else cipher, integrity) if part)
