"""Connections that tell who they seem to come from, and frames that no honest host sends.

Run as a script in a network namespace (`python -SE talk.py who|hold|mark|forge …`); imports the standard library only.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import json
import os
import socket
import socketserver
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator

PATIENT = 60.0  # seconds; a connection that must live and takes longer hangs
TOS = 0xB8  # by which forged packets are told from all others, after NAT too
PORT = 4444  # UDP, to which forged packets go
HOPS = 2  # that a source route is tried by
LSRR, SSRR = 0x83, 0x89  # RFC 791, 3.1
ROUTING_HEADERS = (0, 2, 4)  # RFC 5095 (deprecated), RFC 6275, RFC 8754


def name(address: str) -> str:
    """Return an address as people write it: of an IPv4-mapped one the IPv4 address."""
    return address.removeprefix("::ffff:")


def who(port: str) -> None:
    """Answer each line of a TCP connection, and each datagram, with the asker's address."""

    class Lines(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline():
                self.wfile.write(f"{name(self.client_address[0])}\n".encode())

    class Datagram(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request[1].sendto(f"{name(self.client_address[0])}\n".encode(), self.client_address)

    class Tcp(socketserver.ThreadingTCPServer):
        address_family = socket.AF_INET6
        allow_reuse_address = True
        daemon_threads = True
        request_queue_size = 1024

    class Udp(socketserver.UDPServer):
        address_family = socket.AF_INET6

    with Tcp(("::", int(port)), Lines) as tcp, Udp(("::", int(port)), Datagram) as udp:
        threading.Thread(target=udp.serve_forever, daemon=True).start()
        print("ready", flush=True)
        tcp.serve_forever()


def hold(address: str, port: str, count: str, patience: str = str(PATIENT)) -> None:
    """Open connections to a `who`; print as JSON what each is told, now and again for each line of standard input.

    The words of an error stand in place of an answer.
    """
    opened = [connect(address, int(port), float(patience)) for _ in range(int(count))]
    print(json.dumps(ask(opened, float(patience))), flush=True)
    for _ in sys.stdin:
        print(json.dumps(ask(opened, float(patience))), flush=True)


def connect(address: str, port: int, patience: float) -> socket.socket | str:
    try:
        return socket.create_connection((address, port), patience)
    except OSError as error:
        return f"error: {error}"


def ask(connections: list[socket.socket | str], patience: float) -> list[str]:
    """Ask on all connections at once; who hasn't answered after that many seconds doesn't."""
    for one in connections:
        if not isinstance(one, str):
            one.settimeout(patience)
            with contextlib.suppress(OSError):  # told again by `answer`
                one.sendall(b"who\n")
    until = time.monotonic() + patience
    return [answer(one, until) for one in connections]


def answer(connection: socket.socket | str, until: float) -> str:
    if isinstance(connection, str):
        return connection
    try:
        connection.settimeout(max(0.01, until - time.monotonic()))
        return connection.recv(256).decode().strip() or "error: closed"
    except OSError as error:
        return f"error: {error}"


def mark(address: str, port: str) -> None:
    """Send an honest datagram with the mark of forged ones."""
    family, option = (socket.AF_INET6, (socket.IPPROTO_IPV6, 67)) if ":" in address else (socket.AF_INET, (0, 1))
    with socket.socket(family, socket.SOCK_DGRAM) as out:
        out.setsockopt(*option, TOS)  # IPV6_TCLASS, IP_TOS
        out.sendto(b"honest", (address, int(port)))


# --- frames -----------------------------------------------------------------------------------------------------------


def forge(ifname: str, macs: str, sources: str, targets: str) -> None:
    """Send a datagram from each source to each target, in each way that might get it there; all lists by commas."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind((ifname, 0))
        mac = out.getsockname()[4]
        sent = 0
        for to_mac, source, target in itertools.product(macs.split(","), sources.split(","), targets.split(",")):
            if (":" in source) == (":" in target):
                for ethertype, packet in packets(source, target, targets.split(",")):
                    out.send(bytes.fromhex(to_mac.replace(":", "")) + mac + struct.pack("!H", ethertype) + packet)
                    sent += 1
    print(sent)


def packets(source: str, target: str, others: list[str]) -> Iterator[tuple[int, bytes]]:
    """Return one datagram in all its disguises: plain, and routed by its source over any of the others."""
    via = [other for other in others if (":" in other) == (":" in target) and other != target][:HOPS]
    if ":" in target:
        yield 0x86DD, ipv6(source, target)
        for routing_type, hop in itertools.product(ROUTING_HEADERS, via):
            yield 0x86DD, ipv6(source, hop, target, routing_type)
    else:
        yield 0x0800, ipv4(source, target)
        for option, hop in itertools.product((LSRR, SSRR), via):
            yield 0x0800, ipv4(source, hop, bytes([option, 7, 4]) + ipaddress.ip_address(target).packed + b"\0")


def ipv4(source: str, target: str, options: bytes = b"") -> bytes:
    """Return an IPv4 packet with a datagram that has no checksum."""
    datagram = struct.pack("!HHHH", PORT, PORT, 16, 0) + b"forged!!"
    words = 5 + len(options) // 4
    ends = ipaddress.ip_address(source).packed + ipaddress.ip_address(target).packed
    first = struct.pack("!BBHHHBB", 0x40 | words, TOS, 4 * words + len(datagram), 1, 0, 64, socket.IPPROTO_UDP)
    total = checksum(first + b"\0\0" + ends + options)
    return first + struct.pack("!H", total) + ends + options + datagram


def ipv6(source: str, target: str, last: str = "", routing_type: int = 0) -> bytes:
    """Return an IPv6 packet with a datagram; with `last` a routing header leads it on to there."""
    ends = ipaddress.ip_address(source).packed + ipaddress.ip_address(target).packed
    datagram = struct.pack("!HHHH", PORT, PORT, 16, 0) + b"forged!!"
    final = ipaddress.ip_address(last or target).packed
    pseudo = ipaddress.ip_address(source).packed + final + struct.pack("!II", len(datagram), socket.IPPROTO_UDP)
    datagram = datagram[:6] + struct.pack("!H", checksum(pseudo + datagram) or 0xFFFF) + datagram[8:]
    routing = struct.pack("!BBBBI", socket.IPPROTO_UDP, 2, routing_type, 1, 0) + final if last else b""
    following = socket.IPPROTO_ROUTING if last else socket.IPPROTO_UDP
    head = struct.pack("!IHBB", 0x60000000 | TOS << 20, len(routing) + len(datagram), following, 64)
    return head + ends + routing + datagram


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


if __name__ == "__main__":
    MODES: dict[str, Callable[..., None]] = {"who": who, "hold": hold, "mark": mark, "forge": forge}
    try:
        MODES[sys.argv[1]](*sys.argv[2:])
    except (BrokenPipeError, KeyboardInterrupt):
        os._exit(0)
