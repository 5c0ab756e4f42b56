"""The tunnels of an instance, kept up: charon is told of them, started on them, and asked what became of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from nsmanager.board import Board
from nsmanager.namespace import Namespace
from nsmanager.place import Place
from nsmanager.services.charon import socket_path
from nsmanager.vpn import reading
from nsmanager.vpn.conversation import Conversation, Refusal
from nsmanager.vpn.esp import kernel_has_esp
from nsmanager.vpn.messages import connection
from nsmanager.vpn.secrets import AUTHORITY, CERTIFICATE, KEY, SECRET, secret_file
from nsmanager.vpn.words import meaning
from pubsub.attempt import attempt
from pubsub.topics import NamespaceOutlook, NamespaceTunnel, TunnelStatus

LOOK = 5.0  # seconds between two looks at what passed; what happens is heard at once
CHARON_RETRY = 0.2  # seconds between two tries to reach charon, while there is none
FIRST_PAUSE = 1.0  # seconds after a failed start of a tunnel until the next; doubled each time
LAST_PAUSE = 15.0  # seconds
KIND = "ipsec"
IPV4 = 4

log = logging.getLogger("nsmanager")


async def keep_tunnels(ns: Namespace, place: Place, board: Board) -> None:  # noqa: ARG001  # a duty's form
    """Keep the tunnels of the config up, where it has any. Runs until cancelled."""
    tunnels = _Tunnels(place, board)
    while True:
        if board.config is None or not (board.config.tunnels or tunnels.told):
            await tunnels.stirred.wait()
            tunnels.stirred.clear()
            continue
        try:
            await attempt(tunnels.converse())
        except* OSError as group:
            absent = isinstance(group.exceptions[0], FileNotFoundError | ConnectionRefusedError)
            tunnels.lose("charon doesn't run" if absent else f"charon doesn't answer: {group.exceptions[0]}")
        except* Exception as group:
            log.exception("tunnels: a defect")
            tunnels.lose(f"a defect of the manager: {group.exceptions[0]}")
        await asyncio.sleep(CHARON_RETRY)


class _Tunnels:
    """What is known of all tunnels; what charon has been told is known for one conversation."""

    def __init__(self, place: Place, board: Board) -> None:
        self.stirred = board.watch()  # set by each new config and outlook, and by what charon tells
        self.told: tuple[TunnelStatus, ...] = ()
        self._place = place
        self._board = board
        self._loaded: dict[str, NamespaceTunnel] = {}
        self._errors: dict[str, str] = {}  # why a tunnel isn't up, as charon said last
        self._rekeys: dict[str, int] = {}
        self._totals: dict[str, reading.Totals] = {}
        self._starts: dict[str, tuple[float, float]] = {}  # when to start a tunnel next, and the pause after that
        self._outlook = NamespaceOutlook()  # by which the tunnels were set up
        self._charon: Conversation

    async def converse(self) -> None:
        """Speak with charon for as long as it is there. Raises OSError in a group when it isn't."""
        async with Conversation(socket_path(self._place), self._hear) as charon, asyncio.TaskGroup() as tasks:
            self._charon = charon
            self._loaded, self._starts = {}, {}
            tasks.create_task(charon.listen(), name="listen")
            while self._wanted or self.told:
                self.stirred.clear()
                await self._load()
                await self._follow_uplink()
                wait = await self._keep_up()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self.stirred.wait()

    def lose(self, error: str) -> None:
        """Tell that there is no charon to ask."""
        self._tell(
            [
                msgspec.structs.replace(
                    self._before(tunnel.name) or TunnelStatus(name=tunnel.name, up=False), up=False, reason=error
                )
                for tunnel in self._wanted.values()
            ]
        )

    @property
    def _wanted(self) -> dict[str, NamespaceTunnel]:
        return {tunnel.name: tunnel for tunnel in self._board.config.tunnels} if self._board.config else {}

    # --- what charon is told -----------------------------------------------------------------------------------------

    async def _load(self) -> None:
        """Tell charon of what changed in the config and in the secrets."""
        wanted = self._wanted
        for name in self._loaded.keys() - wanted.keys():
            await self._unload(name)
        for name, tunnel in wanted.items():
            before = self._loaded.get(name)
            if tunnel == before or not tunnel.secrets:
                continue
            self._loaded[name] = tunnel
            self._starts.pop(name, None)
            if before is not None and msgspec.structs.replace(before, secrets=tunnel.secrets) != tunnel:
                await self._end(name)
            try:
                secrets = self._read(tunnel)
            except OSError as exc:
                self._errors[name] = f"its secrets can't be read: {exc.strerror}"
                continue
            try:
                await self._tell_charon(tunnel, secrets)
            except Refusal as exc:
                self._errors[name] = f"charon doesn't take it: {exc}"
                log.error("tunnel %s: %s", name, exc)  # noqa: TRY400  # the words are charon's
            else:
                log.info(
                    "tunnel %s: told charon: %s === %s",
                    name,
                    *map(_words, (tunnel.local_subnets, tunnel.remote_subnets)),
                )

    async def _tell_charon(self, tunnel: NamespaceTunnel, secrets: Mapping[str, bytes]) -> None:
        if tunnel.certificates:
            await self._charon.ask("load-key", {"type": "any", "data": secrets[KEY]})
        else:
            owners = [tunnel.local_id, tunnel.remote_id]
            secret = secrets[SECRET].removesuffix(b"\n").removesuffix(b"\r")
            await self._charon.ask("load-shared", {"id": tunnel.name, "type": "IKE", "data": secret, "owners": owners})
        message = connection(
            tunnel,
            kernel_esp=kernel_has_esp(),
            certificate=secrets.get(CERTIFICATE, b""),
            authority=secrets.get(AUTHORITY, b""),
        )
        await self._charon.ask("load-conn", message)

    def _read(self, tunnel: NamespaceTunnel) -> dict[str, bytes]:
        kinds = (CERTIFICATE, KEY, AUTHORITY) if tunnel.certificates else (SECRET,)
        return {kind: Path(self._place.run, secret_file(tunnel.name, kind)).read_bytes() for kind in kinds}

    async def _unload(self, name: str) -> None:
        del self._loaded[name]
        for known in (self._errors, self._rekeys, self._totals, self._starts):
            known.pop(name, None)
        for command, message in (("unload-conn", {"name": name}), ("unload-shared", {"id": name})):
            with contextlib.suppress(Refusal):  # charon doesn't know it
                await self._charon.ask(command, message)
        await self._end(name)

    async def _end(self, name: str, *, by_force: bool = False) -> None:
        with contextlib.suppress(Refusal):  # there is none
            force = {"force": "yes"} if by_force else {}
            await self._charon.ask("terminate", {"ike": name, "timeout": "-1", **force})

    # --- what becomes of it ------------------------------------------------------------------------------------------

    async def _follow_uplink(self) -> None:
        """Have the tunnels set up anew by another uplink: the new one first, then the old one ends.

        Packets go by the new uplink already; the peer answers to the old address until it is told. Addresses of the
        protocol that a tunnel doesn't go over come and go without it.
        """
        before, now = self._outlook, self._board.outlook
        if not now.uplink or now == before:
            return
        self._outlook = now
        if not before.uplink:
            return
        log.info("tunnels: the uplink is %s now", now.uplink)
        wanted = self._wanted
        for name, association in await self._charon.list():
            if name in wanted and _ours(before, wanted[name]) == _ours(now, wanted[name]):
                continue
            if reading.established(association):
                with contextlib.suppress(Refusal):  # it is gone meanwhile
                    await self._charon.ask("rekey", {"ike-id": reading.word(association, "uniqueid"), "reauth": "yes"})
            else:
                await self._end(name, by_force=True)
                self._starts.pop(name, None)

    async def _keep_up(self) -> float:
        """Start what isn't up and isn't on its way, end what isn't wanted; tell what there is.

        Returns the seconds until the next look.
        """
        wait = LOOK
        wanted, now = self._wanted, time.monotonic()
        found: dict[str, list[Any]] = {}
        for name, association in await self._charon.list():
            peer = reading.word(association, "remote-host")
            if name not in wanted or (reading.established(association) and peer != str(wanted[name].remote)):
                await self._end(name)
            else:
                found.setdefault(name, []).append(association)
        for name in self._loaded.keys() & wanted.keys():
            associations = found.get(name, [])
            if any(map(reading.installed, associations)):
                self._starts.pop(name, None)
            elif not any(map(reading.under_way, associations)):
                due, pause = self._starts.get(name, (now, FIRST_PAUSE))
                if due <= now:
                    due = now + pause
                    self._starts[name] = due, min(LAST_PAUSE, 2 * pause)
                    await self._start(name)
                wait = min(wait, max(0.0, due - now))
        self._tell([self._status(tunnel, found.get(name, [])) for name, tunnel in wanted.items()])
        return wait

    async def _start(self, name: str) -> None:
        try:
            await self._charon.ask("initiate", {"ike": name, "child": name, "timeout": "-1"})
        except Refusal as exc:
            self._errors[name] = str(exc)

    def _status(self, tunnel: NamespaceTunnel, associations: list[Any]) -> TunnelStatus:
        return reading.status(
            tunnel,
            associations,
            self._before(tunnel.name),
            self._totals.setdefault(tunnel.name, reading.Totals()),
            now=time.time(),
            kernel_esp=kernel_has_esp(),
            rekeys=self._rekeys.get(tunnel.name, 0),
            error=self._errors.get(tunnel.name, ""),
        )

    def _before(self, name: str) -> TunnelStatus | None:
        return next((one for one in self.told if one.name == name), None)

    def _tell(self, found: list[TunnelStatus]) -> None:
        before = {one.name: (one.up, one.reason) for one in self.told}
        for one in found:
            if before.get(one.name) != (one.up, one.reason):
                log.info("tunnel %s: %s", one.name, "up" if one.up else f"down: {one.reason}")
        self.told = tuple(found)
        self._board.tell_tunnels(self.told, KIND)

    def _hear(self, kind: str, message: Mapping[str, Any]) -> None:
        """Take an event of charon's."""
        if kind == "log":
            name, words = reading.word(message, "ikesa-name"), meaning(reading.word(message, "msg"))
            if not words or name not in self._loaded:
                return
            self._errors[name] = words
        else:
            for name in (key for key, value in message.items() if isinstance(value, dict)):
                if kind == "child-rekey":
                    self._rekeys[name] = self._rekeys.get(name, 0) + 1
                elif kind == "child-updown" and "up" in message:
                    self._errors.pop(name, None)
        self.stirred.set()


def _ours(outlook: NamespaceOutlook, tunnel: NamespaceTunnel) -> tuple[object, ...]:
    """Return by which uplink and with which addresses a tunnel's peer may know us."""
    return outlook.uplink, outlook.external if tunnel.remote.ip.version == IPV4 else outlook.external6


def _words(networks: tuple[object, ...]) -> str:
    return ", ".join(map(str, networks))
