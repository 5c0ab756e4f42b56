"""The only door to effects: rtnetlink, nft, sysctls, files and children of the namespace that the process lives in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from pathlib import Path
from typing import Self

from nsmanager import libnftables
from nsmanager.children import Children
from nsmanager.events import KernelEvents
from nsmanager.libnftables import NftError
from nsmanager.netlink import NETLINK_NETFILTER, NETLINK_ROUTE, Netlink, attributes, number, string, u32

__all__ = ["Namespace", "NftError"]

SLICE = 0.01  # seconds of a turn
PROC_SYS = "/proc/sys/"
SYSCTL_SIZE = 4096  # bytes of the longest value
RTM_GETLINK = 18
IFLA_IFNAME = 3
IFLA_EXT_MASK = 29
RTEXT_FILTER_SKIP_STATS = 8  # links without their counters: half the bytes
NFT_MSG_GETGEN = (10 << 8) | 16  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETGEN
NFTA_GEN_ID = 1
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

    async def nft(self, commands: str, *, values: bool = False) -> str:
        """Run nft commands as one transaction and return what they print, on demand with values. Raises NftError."""
        await asyncio.sleep(0)  # a listing may take milliseconds: let others run before it
        return libnftables.run(commands, values=values)

    def read_sysctl(self, key: str) -> str | None:
        """Return a sysctl's value with single spaces; None when the kernel has none of that name."""
        try:
            fd = os.open(_sysctl_path(key), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            return " ".join(os.read(fd, SYSCTL_SIZE).decode().split())
        finally:
            os.close(fd)

    def write_sysctl(self, key: str, value: str) -> None:
        """Set a sysctl. Raises OSError."""
        Path(_sysctl_path(key)).write_text(value)

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


def _sysctl_path(key: str) -> str:
    """Return the file of `net.ipv4.ip_forward`, or of `net/ipv4/conf/eth0.5/rp_filter`, as sysctl(8) reads them."""
    return PROC_SYS + (key if "/" in key else key.replace(".", "/"))
