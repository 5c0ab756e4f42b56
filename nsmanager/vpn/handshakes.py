"""The tunnels of a WireGuard link, watched: the kernel keeps them up, and tells nobody when it can't."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import logging
import time
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network

from nsmanager.board import Board
from nsmanager.items.wireguard import PORT, Wireguard
from nsmanager.names import WIREGUARD
from nsmanager.namespace import Namespace
from nsmanager.place import Place
from nsmanager.vpn.wireguard import DeviceState, PeerChange, PeerState, read, write
from pubsub.topics import NamespaceConfig, NamespaceOutlook, NamespacePeer, TunnelStatus

LOOK = 1.8  # seconds between two looks; a link that was changed by hand is back in under two
FIRST_LOOKS = 0.2  # seconds, for a while after a change
A_WHILE = 5.0  # seconds
VALID = 180.0  # seconds that keys are good for; the kernel makes new ones after 120 (REJECT_AFTER_TIME, messages.h)
ANSWER = 25.0  # seconds: who hears data says something in 10, else the kernel asks again after 15
KEEPALIVE_BYTES = 32  # of a packet without data, which nobody answers
CIPHER = "ChaCha20-Poly1305"
KIND = "wireguard"
BEGINNING = "being set up"

log = logging.getLogger("nsmanager")


async def watch_handshakes(ns: Namespace, place: Place, board: Board) -> None:  # noqa: ARG001  # a duty's form
    """Tell what became of each peer, where the config has any. Runs until cancelled."""
    stirred = board.watch()
    peers, outlook = Peers(), board.outlook
    quick_until, trouble = 0.0, ""
    while True:
        config = board.config
        if stirred.is_set():
            stirred.clear()
            quick_until = time.monotonic() + A_WHILE
        if config is None or config.wireguard is None:
            _tell(board, ())
            await stirred.wait()
            continue
        try:
            device = read(WIREGUARD) if ns.ifindex(WIREGUARD) else None
            if device is not None and _is_elsewhere(outlook, board.outlook):
                _speak_up(device, board.outlook)
            await _compare(ns, board)
        except OSError as exc:
            if str(exc) != trouble:
                log.warning("wireguard: %s", exc)
            device, trouble = None, str(exc)
        outlook = board.outlook
        _tell(board, peers.look(config, device, now=time.time(), clock=time.monotonic()))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LOOKS if time.monotonic() < quick_until else LOOK):
                await stirred.wait()


def _is_elsewhere(before: NamespaceOutlook, now: NamespaceOutlook) -> bool:
    """Tell whether the peers know an address of ours that is no longer."""
    return bool(now.uplink) and bool(before.uplink) and now != before


def _speak_up(device: DeviceState, outlook: NamespaceOutlook) -> None:
    """Have each peer hear from us at once, and so learn where we are: a keepalive that begins is sent (set_peer)."""
    log.info("wireguard: the uplink is %s now", outlook.uplink)
    for keepalives in ([0] * len(device.peers), [peer.keepalive for peer in device.peers]):
        write(
            WIREGUARD,
            [
                PeerChange(peer.public_key, keepalive=keepalive)
                for peer, keepalive in zip(device.peers, keepalives, strict=True)
            ],
        )


async def _compare(ns: Namespace, board: Board) -> None:
    """Wake the reconciliation when somebody changed the link: no event tells of it."""
    planned = [item for item in board.plan if isinstance(item, Wireguard)]
    for item, found in zip(planned, await Wireguard.observe(ns, planned), strict=False):
        if not item.matches(found):
            ns.events.happened.set()


@dataclasses.dataclass
class _Traffic:
    """What was last seen of a peer, and since when it owes an answer."""

    sent: int = 0
    received: int = 0
    asked: float | None = None  # monotonic seconds

    def look(self, peer: PeerState, clock: float) -> bool:
        """Tell whether the peer has owed an answer for too long."""
        sent, received = peer.sent - self.sent, peer.received - self.received
        self.sent, self.received = peer.sent, peer.received
        if received:
            self.asked = None
        elif self.asked is None and sent > KEEPALIVE_BYTES:
            self.asked = clock
        return self.asked is not None and clock - self.asked > ANSWER


class Peers:
    """What is known of the peers from one look to the next."""

    def __init__(self) -> None:
        self._traffic: dict[bytes, _Traffic] = {}
        self._before: dict[str, TunnelStatus] = {}

    def look(
        self, config: NamespaceConfig, device: DeviceState | None, *, now: float, clock: float
    ) -> tuple[TunnelStatus, ...]:
        """Return what each tunnel is like. `now`: seconds since the epoch, `clock`: monotonic."""
        found = {peer.public_key: peer for peer in device.peers} if device is not None else {}
        told = []
        for peer in config.peers:
            state = found.get(peer.public_key.raw)
            silent = False
            if state is not None:
                fresh = _Traffic(state.sent, state.received)
                silent = self._traffic.setdefault(state.public_key, fresh).look(state, clock)
            told.append(self._status(config, peer, device, state, silent=silent, now=now))
        self._before = {one.name: one for one in told}
        self._traffic = {key: value for key, value in self._traffic.items() if key in found}
        return tuple(told)

    def _status(
        self,
        config: NamespaceConfig,
        peer: NamespacePeer,
        device: DeviceState | None,
        state: PeerState | None,
        *,
        silent: bool,
        now: float,
    ) -> TunnelStatus:
        before = self._before.get(peer.name)
        reason = _why(config, peer, device, state, silent=silent, now=now)
        here = str(config.link.address.ip) if config.link is not None else ""
        if reason or state is None or device is None:
            last = "" if reason == BEGINNING else reason
            return TunnelStatus(
                name=peer.name,
                up=False,
                kind=KIND,
                reason=reason,
                public_key=_text(device),
                handshake=state.handshake if state else 0.0,
                sent_bytes=state.sent if state else 0,
                received_bytes=state.received if state else 0,
                last_error=last or (before.last_error if before else ""),
            )
        return TunnelStatus(
            name=peer.name,
            up=True,
            kind=KIND,
            local=_end(here, PORT),
            remote=_end(str(state.address), state.port),
            esp="kernel",
            cipher=CIPHER,
            networks=_pairs(config, peer),
            since=before.since if before is not None and before.up else state.handshake,
            handshake=state.handshake,
            public_key=_text(device),
            sent_bytes=state.sent,
            received_bytes=state.received,
            last_error=before.last_error if before else "",
        )


def _why(
    config: NamespaceConfig,
    peer: NamespacePeer,
    device: DeviceState | None,
    state: PeerState | None,
    *,
    silent: bool,
    now: float,
) -> str:
    """Return why no packets pass; empty: they do."""
    if config.wireguard is not None and not config.wireguard.secrets:
        return "its secrets can't be read"
    if device is None or state is None:
        return BEGINNING
    if not state.handshake:
        return f"{_end(str(peer.remote), peer.port)} doesn't answer: it must know our public key {_text(device)}"
    if silent or now - state.handshake > VALID:
        return "the peer doesn't answer"
    return ""


def _pairs(config: NamespaceConfig, peer: NamespacePeer) -> tuple[str, ...]:
    own: list[IPv4Network | IPv6Network] = [config.router.network]
    own += [config.bridge6.network] if config.bridge6 is not None else []
    there = [selector.network for selector in peer.remote_subnets]
    return tuple(f"{here} === {net}" for here in own for net in there if here.version == net.version)


def _text(device: DeviceState | None) -> str:
    return base64.b64encode(device.public_key).decode() if device is not None else ""


def _end(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _tell(board: Board, found: Iterable[TunnelStatus]) -> None:
    found = tuple(found)
    before = {one.name: (one.up, one.reason) for one in board.tunnels(KIND)}
    for one in found:
        if before.get(one.name) != (one.up, one.reason):
            log.info("tunnel %s: %s", one.name, "up" if one.up else f"down: {one.reason}")
    if found != board.tunnels(KIND):
        board.tell_tunnels(found, KIND)
