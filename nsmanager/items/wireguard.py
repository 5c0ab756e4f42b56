"""The keys and the peers of a WireGuard link. See wg(8).

The secrets lie in files of the instance's folder; an item has their paths only, and nothing here shows what is in them.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import msgspec

from nsmanager.item import Item, Key, NotYet, Observed, Refused
from nsmanager.vpn.wireguard import NO_KEY, DeviceState, PeerChange, PeerState, read, write

if TYPE_CHECKING:
    from nsmanager.namespace import Namespace

PORT = 51820  # UDP, of our end: WireGuard's usual one, and nobody else's in this namespace
KEY_BYTES = 32


class Peer(msgspec.Struct, frozen=True):
    """One peer."""

    name: str
    public_key: bytes
    address: IPv4Address | IPv6Address
    port: int
    allowed: frozenset[IPv4Network | IPv6Network]
    keepalive: int  # seconds
    secret: str = ""  # path of the shared secret; empty: there is none

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        shared = f" preshared-key {self.secret}" if self.secret else ""
        return (
            f"peer {_text(self.public_key)}{shared} endpoint {host}:{self.port} "
            f"persistent-keepalive {self.keepalive} allowed-ips {','.join(sorted(map(str, self.allowed)))}"
        )

    def change(self, before: PeerState | None, shared: bytes) -> PeerChange | None:
        """Return what makes it of what the kernel has; None: it is so. Sessions of a peer outlive it."""
        found = before or PeerState(self.public_key)
        endpoint = (self.address, self.port)
        change = PeerChange(
            self.public_key,
            shared if shared != found.shared else None,
            endpoint if endpoint != (found.address, found.port) else None,
            self.keepalive if self.keepalive != found.keepalive else None,
            self.allowed if found.allowed - self.allowed else self.allowed - found.allowed,
            only=bool(found.allowed - self.allowed),
        )
        return change if before is None or change != PeerChange(self.public_key) else None


class FoundWireguard(Observed, frozen=True):
    """A WireGuard link as it is, and the files that it is to have its secrets from."""

    ifname: str
    state: DeviceState
    files: Mapping[str, bytes | None]  # path -> key; None: there is none in it

    def __repr__(self) -> str:
        return f"FoundWireguard({self.ifname!r}, {self.state!r})"  # no keys

    @property
    def key(self) -> Key:
        return ("wireguard", self.ifname)

    def undo(self) -> str:
        return f"# {self.ifname} stays as it is"

    async def delete(self, ns: Namespace) -> None:
        """Leave it: it goes with its link."""


class Wireguard(Item, frozen=True):
    """What a WireGuard link, which another item makes, is to have."""

    stage: ClassVar[int] = 20

    ifname: str
    secret: str  # path of the private key
    version: str  # of all files
    peers: tuple[Peer, ...]

    @property
    def key(self) -> Key:
        return ("wireguard", self.ifname)

    def __str__(self) -> str:
        peers = "".join(f" {peer}" for peer in self.peers)
        return f"wg set {self.ifname} listen-port {PORT} fwmark 0 private-key {self.secret}{peers}"

    def undo(self) -> str:
        return f"# {self.ifname} stays as it is"

    def redo(self, old: Observed, /) -> str:
        if not isinstance(old, FoundWireguard):
            return str(self)
        changed = {change.public_key for change in self._changes(old)}
        words = self._settings(old) + [str(peer) for peer in self.peers if peer.public_key in changed]
        words += [f"peer {_text(one.public_key)} remove" for one in self._surplus(old)]
        return " ".join(["wg set", self.ifname, *words])

    def _settings(self, found: FoundWireguard) -> list[str]:
        state, key = found.state, found.files.get(self.secret)
        return [
            *([f"listen-port {PORT}"] if state.port != PORT else []),
            *(["fwmark 0"] if state.mark else []),
            *([f"private-key {self.secret}"] if key is None or state.private != clamped(key) else []),
        ]

    def _surplus(self, found: FoundWireguard) -> list[PeerState]:
        planned = {peer.public_key for peer in self.peers}
        return [one for one in found.state.peers if one.public_key not in planned]

    def _changes(self, found: FoundWireguard) -> Iterator[PeerChange]:
        """Yield what makes the peers as planned; those that nobody planned go first, for their networks' sake."""
        before = {one.public_key: one for one in found.state.peers}
        for one in self._surplus(found):
            yield PeerChange(one.public_key, remove=True)
        for peer in self.peers:
            shared = found.files.get(peer.secret) if peer.secret else NO_KEY
            change = peer.change(before.get(peer.public_key), shared or NO_KEY)
            if change is not None:
                yield change

    def matches(self, observed: Observed) -> bool:
        return (
            isinstance(observed, FoundWireguard)
            and None not in observed.files.values()
            and not self._settings(observed)
            and not [*self._changes(observed)]
        )

    async def create(self, ns: Namespace) -> None:
        """Tell the kernel what differs; the link was made meanwhile."""
        for found in await self.observe(ns, [self]):
            await self.replace(ns, found)
            return
        raise NotYet(f"link {self.ifname} is not there yet")

    async def replace(self, _ns: Namespace, old: Observed, /) -> None:
        """Tell the kernel what differs. Raises Refused when a file holds no key."""
        assert isinstance(old, FoundWireguard), "what is observed at its key"
        for path, content in old.files.items():
            if content is None:
                name = next((f"peer {one.name}'s secret_file" for one in self.peers if one.secret == path), "key_file")
                raise Refused(f"{name} holds no key of WireGuard; write what `wg genkey` or `wg genpsk` prints")
        state, private = old.state, clamped(old.files[self.secret] or NO_KEY)
        write(
            self.ifname,
            [*self._changes(old)],
            private=private if private != state.private else None,
            port=PORT if state.port != PORT else None,
            mark=0 if state.mark else None,
        )
        now = read(self.ifname)
        if now is not None and any(peer.public_key == now.public_key for peer in self.peers):
            raise Refused("a peer's public_key is our own; write the one that the peer prints by `wg pubkey`")

    async def delete(self, ns: Namespace) -> None:
        """Leave it: it goes with its link."""

    @classmethod
    async def observe(cls, ns: Namespace, planned: Sequence[Self]) -> Iterable[Observed]:
        """Return the planned ones whose link is there."""
        found = []
        for item in planned:
            state = read(item.ifname) if ns.ifindex(item.ifname) else None
            if state is not None:
                paths = [item.secret, *(peer.secret for peer in item.peers if peer.secret)]
                files = {path: _key(ns.read_file(Path(path))) for path in paths}
                found.append(FoundWireguard(item.ifname, state, files))
        return found


def clamped(key: bytes) -> bytes:
    """Return a private key as the kernel keeps it (RFC 7748, section 5)."""
    return bytes([key[0] & 248, *key[1:31], key[31] & 127 | 64])


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode()


def _key(content: str | None) -> bytes | None:
    """Read a key as wg(8) writes it; None: it is none."""
    try:
        key = base64.b64decode((content or "").strip(), validate=True)
    except ValueError:
        return None
    return key if len(key) == KEY_BYTES else None
