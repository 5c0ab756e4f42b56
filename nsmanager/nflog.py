"""Packets that nft's `log group N` copies to us. See the kernel's nfnetlink_log.c."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import AsyncIterator

from nsmanager.netfilter import HEADER, RECEIVE_SIZE, Listener, messages
from nsmanager.netlink import NLM_F_ACK, NLM_F_REQUEST, NLMSG_ERROR, attribute, attributes, string
from nsmanager.packets import Packet, parse

WHOLE = 0xFFFF  # bytes: as much as there is
PACKET, CONFIG = (4 << 8) | 0, (4 << 8) | 1  # NFNL_SUBSYS_ULOG and the message
CONFIG_COMMAND, CONFIG_MODE, CONFIG_BUFFER, CONFIG_TIMEOUT, CONFIG_AT_ONCE, CONFIG_FLAGS = 1, 2, 3, 4, 5, 6
COMMAND_BIND, COPY_PACKET = 1, 2
NUMBERED = 1  # NFULNL_CFG_F_SEQ: so that it is known how many were lost
BUFFER = 65536  # bytes that the kernel collects at most before it sends them
LONGEST_WAIT = 10  # hundredths of a second until it sends what it has collected
MARK, TIMESTAMP, PAYLOAD, PREFIX, SEQUENCE = 2, 3, 9, 10, 12
GROUP_HEADER = struct.Struct("!BBH")  # struct nfgenmsg: family, version, group


class Logged:
    """One packet that met a rule with `log`."""

    __slots__ = ("_fields", "at")

    def __init__(self, fields: dict[int, bytes], now: float) -> None:
        self._fields = fields
        self.at = now  # seconds since the epoch
        stamp = fields.get(TIMESTAMP, b"")
        if len(stamp) == 16:
            seconds, microseconds = struct.unpack("!QQ", stamp)
            self.at = seconds + microseconds / 1e6

    @property
    def prefix(self) -> str:
        """What the rule says."""
        return string(self._fields.get(PREFIX))

    @property
    def mark(self) -> int:
        return int.from_bytes(self._fields.get(MARK, b""), "big")

    @property
    def packet(self) -> Packet | None:
        """The packet as far as it was copied; None when it isn't IP."""
        return parse(self._fields.get(PAYLOAD, b""))


class PacketLog(Listener):
    """The socket of one group. A context manager. Raises OSError where another one has the group."""

    def __init__(self, group: int, *, copied: int, at_once: int) -> None:
        super().__init__()
        self.lost = 0  # packets that the kernel had no room for
        self._expected = 0  # number of the next packet
        try:
            self._configure(group, copied, at_once)
        except BaseException:
            self.socket.close()
            raise

    def _configure(self, group: int, copied: int, at_once: int) -> None:
        body = GROUP_HEADER.pack(0, 0, group)
        body += attribute(CONFIG_COMMAND, struct.pack("B", COMMAND_BIND))
        body += attribute(CONFIG_MODE, struct.pack("!IBx", copied, COPY_PACKET))
        body += attribute(CONFIG_BUFFER, struct.pack("!I", BUFFER))
        body += attribute(CONFIG_TIMEOUT, struct.pack("!I", LONGEST_WAIT))
        body += attribute(CONFIG_AT_ONCE, struct.pack("!I", at_once))
        body += attribute(CONFIG_FLAGS, struct.pack("!H", NUMBERED))
        self.socket.send(HEADER.pack(16 + len(body), CONFIG, NLM_F_REQUEST | NLM_F_ACK, 1, 0) + body)
        while True:  # the kernel has answered already; a packet that came before is counted as lost
            for kind, _, answer in messages(self.socket.recv(RECEIVE_SIZE)):
                if kind == NLMSG_ERROR:
                    (code,) = struct.unpack_from("=i", answer)
                    if code:
                        raise OSError(-code, f"log group {group}: {os.strerror(-code)}")
                    return

    async def packets(self) -> AsyncIterator[list[Logged]]:
        """Yield the packets as they come; of a flood one turn at a time."""
        async for batch in self.batches():
            now = time.time()
            yield [self._read(body, now) for kind, _, body in batch if kind == PACKET]

    def _read(self, body: bytes, now: float) -> Logged:
        fields = attributes(body, GROUP_HEADER.size)
        number = int.from_bytes(fields.get(SEQUENCE, b""), "big")
        self.lost += (number - self._expected) & 0xFFFFFFFF
        self._expected = (number + 1) & 0xFFFFFFFF
        return Logged(fields, now)
