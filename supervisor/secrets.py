"""The secrets of tunnels: read from files that only root may read, handed to the folder of their instance.

What is in them goes nowhere else: to no message, log or error. That a file has changed is told by its time and size.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec

from nsmanager.names import WIREGUARD
from nsmanager.vpn.secrets import (
    AUTHORITY,
    CERTIFICATE,
    KEY,
    PREFIX,
    SECRET,
    WIREGUARD_KEY,
    WIREGUARD_SECRET,
    secret_file,
)
from pubsub.config.rules_vpn import secret_files
from pubsub.topics import NetworkInstanceConfig, VpnConfig
from supervisor.folders import opened, owned

SIZE_LIMIT: Final = 64 * 1024  # bytes of one file; a chain of certificates has a tenth of that
KINDS: Final = {"secret_file": SECRET, "certificate_file": CERTIFICATE, "key_file": KEY, "ca_file": AUTHORITY}
READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a fifo must stop nobody
CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class SecretFile(msgspec.Struct, frozen=True):
    """One file as it is found."""

    version: str = ""  # changes with the file; empty: it can't be used
    trouble: str = ""


class Secrets:
    """All files that instances name, and what was handed out."""

    def __init__(self, run_dir: Path, folder: Path) -> None:
        self._instances = run_dir / "instances"
        self._folder = folder  # where they lie
        self._seen: dict[str, SecretFile] = {}
        self._given: dict[str, dict[str, tuple[str, str]]] = {}  # instance -> file there -> source and its version
        self._troubles: dict[str, tuple[str, ...]] = {}

    def look(self, configs: Iterable[NetworkInstanceConfig]) -> dict[str, str]:
        """Return the versions of all files that can be used."""
        self._seen = {path: inspect(path) for config in configs for path in secret_files(config)}
        return {path: found.version for path, found in self._seen.items() if found.version}

    def changed(self) -> bool:
        """Tell whether a file is another than at the last look."""
        return any(inspect(path) != found for path, found in self._seen.items())

    def troubles(self, instance: str) -> tuple[str, ...]:
        """Return why an instance doesn't have its secrets, in words."""
        return self._troubles.get(instance, ())

    def hand_out(self, configs: Mapping[str, NetworkInstanceConfig], uids: Mapping[str, int]) -> None:
        """Put each instance's secrets into its folder, where they aren't; `uids`: who owns the folders."""
        for name in self._given.keys() - uids.keys():
            self._given.pop(name)  # its folder is gone with it
            self._troubles.pop(name, None)
        for name, uid in uids.items():
            wanted = dict(wanted_files(configs[name]))
            found = {path: self._find(path, name) for path in wanted.values()}
            unusable = [one.trouble for one in found.values() if one.trouble]
            usable = {file: (path, found[path].version) for file, path in wanted.items() if found[path].version}
            try:
                self._give(name, uid, usable)
            except OSError as exc:
                unusable.append(f"the secrets can't be handed to the instance: {exc.strerror}")
                self._given.pop(name, None)
            self._troubles[name] = tuple(dict.fromkeys(unusable))

    def _find(self, path: str, instance: str) -> SecretFile:
        """Return a file as an instance may have it: who writes its config must not get at root's other files."""
        try:
            inner = PurePosixPath(path).relative_to(self._folder)
        except ValueError:
            return SecretFile(trouble=f"secret file {path}: it is outside of {self._folder}; move it there")
        if len(inner.parts) > 1 and inner.parts[0] != instance:
            return SecretFile(trouble=f"secret file {path}: {inner.parts[0]} is the folder of another instance")
        return self._seen.get(path) or inspect(path)

    def _give(self, name: str, uid: int, now: dict[str, tuple[str, str]]) -> None:
        before = self._given.get(name)
        if before == now or (before is None and not now and not (self._instances / name).exists()):
            self._given[name] = now
            return
        self._instances.mkdir(mode=0o755, parents=True, exist_ok=True)
        with opened(self._instances) as parent, owned(name, uid, parent) as folder:
            _forget(folder, keep=now.keys())
            for file, (path, version) in now.items():
                if before is None or before.get(file) != (path, version):
                    _write(folder, file, _read(path), uid)
        self._given[name] = now


def wanted_files(config: NetworkInstanceConfig) -> Iterator[tuple[str, str]]:
    """Yield the files of an instance's folder and the ones that they are copies of."""
    vpn = config.vpn or VpnConfig()
    for name, connection in vpn.connections.items():
        for field, kind in KINDS.items():
            if path := getattr(connection, field):
                yield secret_file(name, kind), path
    if vpn.wireguard is not None:
        yield secret_file(WIREGUARD, WIREGUARD_KEY), vpn.wireguard.key_file
        for name, peer in vpn.wireguard.peers.items():
            if peer.secret_file:
                yield secret_file(name, WIREGUARD_SECRET), peer.secret_file


def inspect(path: str) -> SecretFile:
    """Look at a file without reading it."""
    try:
        found = Path(path).stat()
    except OSError as exc:
        words = "there is none" if exc.errno == errno.ENOENT else exc.strerror
        return SecretFile(trouble=f"secret file {path}: {words}; write it, and chmod 600 {path}")
    if not stat.S_ISREG(found.st_mode):
        return SecretFile(trouble=f"secret file {path}: it is no file")
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid != 0:
        return SecretFile(trouble=f"secret file {path}: it is user {found.st_uid}'s; chown root {path}")
    if mode & 0o077:
        return SecretFile(
            trouble=f"secret file {path}: others than root may use it (mode {mode:04o}); chmod 600 {path}"
        )
    if not 0 < found.st_size <= SIZE_LIMIT:
        return SecretFile(trouble=f"secret file {path}: it has {found.st_size} bytes; 1 to {SIZE_LIMIT} are possible")
    return SecretFile(version=f"{found.st_mtime_ns}-{found.st_ino}-{found.st_size}")


def _read(path: str) -> bytes:
    fd = os.open(path, READ)
    try:
        return os.read(fd, SIZE_LIMIT)
    finally:
        os.close(fd)


def _write(folder: int, file: str, content: bytes, uid: int) -> None:
    """Replace a file in a folder that its instance may write: nothing there is followed."""
    new = f".{file}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new, dir_fd=folder)
    fd = os.open(new, CREATE, 0o600, dir_fd=folder)
    try:
        os.write(fd, content)
        os.fchown(fd, uid, uid)
    finally:
        os.close(fd)
    os.rename(new, file, src_dir_fd=folder, dst_dir_fd=folder)


def _forget(folder: int, keep: Collection[str]) -> None:
    """Delete the secrets that the instance is to have no more."""
    for file in os.listdir(folder):
        if file.startswith(PREFIX) and file not in keep:
            os.unlink(file, dir_fd=folder)
