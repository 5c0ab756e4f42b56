"""The only door to effects: rtnetlink, nft, sysctls, files and children of the namespace that the process lives in."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import socket
import time
from pathlib import Path
from typing import Self

from nsmanager import libnftables
from nsmanager.children import Children
from nsmanager.events import KernelEvents
from nsmanager.libnftables import NftError
from nsmanager.netlink import (
    NETLINK_NETFILTER,
    NETLINK_ROUTE,
    Netlink,
    attribute,
    attributes,
    number,
    string,
    text,
    u32,
)

__all__ = ["Namespace", "NftError"]

SLICE = 0.01  # seconds of a turn
PROC_SYS = "/proc/sys/"
SYS = "/sys/"
SYSCTL_SIZE = 4096  # bytes of the longest value
RTM_GETLINK = 18
IFLA_IFNAME = 3
IFLA_EXT_MASK = 29
RTEXT_FILTER_SKIP_STATS = 8  # links without their counters: half the bytes
NFT_MSG_GETGEN = (10 << 8) | 16  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETGEN
NFT_MSG_GETTABLE = (10 << 8) | 1
NFT_MSG_GETOBJ = (10 << 8) | 19
NFTA_GEN_ID = 1
NFTA_TABLE_NAME = 1
NFTA_OBJ_TABLE, NFTA_OBJ_NAME, NFTA_OBJ_TYPE, NFTA_OBJ_DATA = 1, 2, 3, 4
NFTA_COUNTER_BYTES, NFTA_COUNTER_PACKETS = 1, 2
NFT_OBJECT_COUNTER = 1
NFT_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}  # linux/netfilter.h
NFGENMSG_SIZE = 4  # bytes
IFINFOMSG_SIZE = 16  # bytes


class Namespace:
    """One network namespace, from inside: that of the thread which enters the context."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory  # where the files of services lie; None: there are no services here
        self._turn = 0.0  # when this one's turn began
        self.nft_known: dict[tuple[str, ...], tuple[int, object]] = {}  # item's key -> (generation, what was observed)
        self.links: list[tuple[bytes, dict[int, bytes]]] = []  # header and attributes of each link, as last read
        self.link_messages: dict[int, bytes] = {}  # the same by index, as the kernel sent them
        self.ifnames: dict[int, str] = {}  # names of the links by their index, as last read

    async def __aenter__(self) -> Self:
        self._stack = contextlib.ExitStack()
        self.rtnl = self._stack.enter_context(contextlib.closing(Netlink(NETLINK_ROUTE)))
        self._nfnl = self._stack.enter_context(contextlib.closing(Netlink(NETLINK_NETFILTER)))
        self.events = self._stack.enter_context(contextlib.closing(KernelEvents()))
        self.children = self._stack.enter_context(contextlib.closing(Children(self.events.happened)))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stack.close()

    async def give_way(self) -> None:
        """Let others have their turn once in a while: the kernel can be slow when many ask it."""
        now = time.monotonic()
        if now - self._turn > SLICE:
            await asyncio.sleep(0)
            self._turn = time.monotonic()

    async def changed(self) -> None:
        """Return after the next change of links, addresses, routes, rules, netconf or nftables, or a child's end."""
        await self.events.changed()

    def read_links(self) -> None:
        """Read all links; `links` and `ifnames` tell of them until the next call."""
        found = self.rtnl.dump(RTM_GETLINK, bytes(IFINFOMSG_SIZE) + u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS))
        self.links = [(message, attributes(message, IFINFOMSG_SIZE)) for message in found]
        self.link_messages = {number(message[4:8]): message for message in found}
        self.ifnames = {number(message[4:8]): string(fields[IFLA_IFNAME]) for message, fields in self.links}

    def ifindex(self, ifname: str) -> int:
        """Return the index that a link has now; 0 when there is none."""
        try:
            return socket.if_nametoindex(ifname)
        except OSError:
            return 0

    def nft_generation(self) -> int:
        """Return the number of nft transactions so far."""
        return int.from_bytes(
            attributes(self._nfnl.ask(NFT_MSG_GETGEN, bytes(NFGENMSG_SIZE)), NFGENMSG_SIZE)[NFTA_GEN_ID], "big"
        )

    def nft_tables(self) -> list[tuple[str, str]]:
        """Return family and name of every nft table."""
        found = self._nfnl.dump(NFT_MSG_GETTABLE, bytes(NFGENMSG_SIZE))
        return [
            (NFT_FAMILIES.get(one[0], ""), string(attributes(one, NFGENMSG_SIZE)[NFTA_TABLE_NAME])) for one in found
        ]

    def nft_counters(self, table: str) -> dict[str, tuple[int, int]]:
        """Return packets and bytes that the counters of tables of this name have counted, of all families, by name."""
        wanted = text(NFTA_OBJ_TABLE, table) + attribute(NFTA_OBJ_TYPE, NFT_OBJECT_COUNTER.to_bytes(4, "big"))
        found = {}
        for one in self._nfnl.dump(NFT_MSG_GETOBJ, bytes(NFGENMSG_SIZE) + wanted):
            fields = attributes(one, NFGENMSG_SIZE)
            counted = attributes(fields[NFTA_OBJ_DATA], 0)
            packets, size = (counted[kind] for kind in (NFTA_COUNTER_PACKETS, NFTA_COUNTER_BYTES))
            found[string(fields[NFTA_OBJ_NAME])] = int.from_bytes(packets, "big"), int.from_bytes(size, "big")
        return found

    async def nft(self, commands: str) -> str:
        """Run nft commands as one transaction and return what they print, without counters' values. Raises NftError."""
        await asyncio.sleep(0)  # a listing may take milliseconds: let others run before it
        return libnftables.run(commands)

    async def nft_change(self, commands: str, key: tuple[str, ...] = ()) -> int:
        """Run nft commands as one transaction, of which only what is known of that key isn't true any more.

        Returns the generation that it began; 0 where somebody else wrote meanwhile, or nothing was to change. Raises
        NftError.
        """
        await asyncio.sleep(0)  # as above
        before = self.nft_generation()
        libnftables.run(commands)
        if self.nft_generation() != before + 1:
            return 0
        for one, (generation, known) in self.nft_known.items():
            if generation == before and one != key:
                self.nft_known[one] = (before + 1, known)
        return before + 1

    def read_sysctl(self, key: str) -> str | None:
        """Return a sysctl's value with single spaces; None when the kernel has none of that name."""
        try:
            fd = os.open(_sysctl_path(key), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            return " ".join(os.read(fd, SYSCTL_SIZE).decode().split())
        except FileNotFoundError:  # its link went, or has another name, since it was opened
            return None
        finally:
            os.close(fd)

    def write_sysctl(self, key: str, value: str) -> None:
        """Set a sysctl. Raises OSError."""
        Path(_sysctl_path(key)).write_text(value)

    def read_attribute(self, path: str) -> str | None:
        """Return a file of sysfs(5), by its path below /sys; None when there is none, or its link went meanwhile."""
        try:
            return Path(SYS + path).read_text().rstrip("\n")
        except OSError as exc:
            if exc.errno not in (errno.ENOENT, errno.ENODEV):
                raise
            return None

    def write_attribute(self, path: str, value: str) -> None:
        """Write a file of sysfs(5), by its path below /sys. Raises OSError."""
        Path(SYS + path).write_text(value)

    def read_file(self, path: Path) -> str | None:
        """Return a file's text; None when there is none."""
        try:
            return path.read_text()
        except (FileNotFoundError, UnicodeDecodeError):
            return None

    def write_file(self, path: Path, text: str) -> None:
        """Replace a file at once: a reader sees the old or the new text. Raises OSError."""
        temporary = path.with_name(f".{path.name}.new")
        temporary.write_text(text)
        temporary.replace(path)

    def remove_locked(self, path: Path) -> None:
        """Remove a file where somebody has locked it, see flock(2): who opens that path next makes another."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            path.unlink(missing_ok=True)
        finally:
            os.close(fd)


def _sysctl_path(key: str) -> str:
    """Return the file of `net.ipv4.ip_forward`, or of `net/ipv4/conf/eth0.5/rp_filter`, as sysctl(8) reads them."""
    return PROC_SYS + (key if "/" in key else key.replace(".", "/"))
