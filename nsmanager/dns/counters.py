"""What dnsmasq counts, as it tells itself: by names of the class CHAOS. See `--cache-size` in dnsmasq(8)."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address

from nsmanager.board import Board
from nsmanager.dns.message import HEADER, RECORD
from nsmanager.duty import while_wanted
from nsmanager.namespace import Namespace
from nsmanager.place import Place
from nsmanager.services import dnsmasq
from pubsub.topics import ServiceCounters

INTERVAL = 30.0  # seconds between two looks
TIMEOUT = 2.0  # seconds for all answers
RETRY = 2.0  # seconds
PORT = 53
TXT, CHAOS = 16, 3
RECURSION_DESIRED = 0x0100
# Not `hits`: our own questions count there.
COUNTERS = {"misses": "forwarded", "insertions": "cached", "evictions": "evicted"}
SERVERS = "servers"  # a text for each: address and port, questions, failures


async def count_dns(ns: Namespace, place: Place, board: Board) -> None:  # noqa: ARG001  # a duty's form
    """Keep the board told of what dnsmasq counts. Runs until cancelled."""

    async def run(address: IPv4Address) -> None:
        await board.reported.wait()
        while True:
            try:
                board.count_service(await ask(address))
                await asyncio.sleep(INTERVAL)
            except (TimeoutError, ConnectionError, ValueError):  # it starts, or is busy
                await asyncio.sleep(RETRY)

    await while_wanted("dns counters", board, lambda config: config.bridge.ip if config.bridge else None, run)


async def ask(address: IPv4Address) -> ServiceCounters:
    """Ask dnsmasq, which answers at this address. Raises TimeoutError, OSError; ValueError where that is no answer."""
    loop = asyncio.get_running_loop()
    answers: dict[str, tuple[str, ...]] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as conn:
        conn.connect((str(address), PORT))
        async with asyncio.timeout(TIMEOUT):
            for number, name in enumerate((*COUNTERS, SERVERS)):
                asked = question(number, name)
                await loop.sock_sendall(conn, asked)
                answers[name] = texts(asked, await loop.sock_recv(conn, 0xFFFF))
    counters = {called: int(answers[name][0]) for name, called in COUNTERS.items()}
    for text in answers[SERVERS]:
        server, queries, failed = text.split()
        counters |= {f"asked {server}": int(queries), f"failed {server}": int(failed)}
    return ServiceCounters(service=dnsmasq.NAME, counters=counters)


def question(number: int, name: str) -> bytes:
    """Return the question for `NAME.bind`."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in (name, "bind"))
    return HEADER.pack(number, RECURSION_DESIRED, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", TXT, CHAOS)


def texts(asked: bytes, answer: bytes) -> tuple[str, ...]:
    """Return the texts of the one record that answers a question. Raises ValueError where it isn't that."""
    try:
        end = len(asked)
        alike = answer[:2] == asked[:2] and answer[HEADER.size : end] == asked[HEADER.size :]
        kind, family, _, length = RECORD.unpack_from(answer, end + 2)  # after a pointer to the question's name
        data = answer[end + 2 + RECORD.size :][:length]
        if not alike or (kind, family) != (TXT, CHAOS) or len(data) < length:
            raise ValueError("no answer to what was asked")
        return tuple(_strings(data))
    except (struct.error, IndexError) as exc:
        raise ValueError("ends too early") from exc


def _strings(data: bytes) -> Iterator[str]:
    while data:
        yield data[1 : 1 + data[0]].decode()
        data = data[1 + data[0] :]
