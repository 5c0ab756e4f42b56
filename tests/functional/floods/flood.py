"""Floods, and the numbered tries beside them, run inside an app: standard library only. One mode a word of the caller.

Each prints `ready` once its first packet is sent, and at its end how many there were.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import os
import random
import socket
import struct
import sys
from collections.abc import Callable, Iterator

IFNAME = "eth0"  # of every app
TCP, UDP = 6, 17
BROADCAST = b"\xff" * 6
MAGIC = bytes.fromhex("63825363")  # of DHCP (RFC 2131)


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def ip_packet(protocol: int, source: bytes, target: bytes, payload: bytes) -> bytes:
    if len(source) == 16:
        return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + source + target + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0) + source + target
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def segment(protocol: int, source: bytes, target: bytes, ports: tuple[int, int], payload: bytes = b"") -> bytes:
    """Return a SYN or a datagram with its checksum: conntrack takes none with a wrong one for a connection."""
    if protocol == TCP:
        body = struct.pack("!HHIIBBHHH", *ports, 1, 0, 0x50, 2, 1024, 0, 0)
    else:
        body = struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload
    if len(source) == 4:
        length = struct.pack("!BBH", 0, protocol, len(body))
    else:
        length = struct.pack("!IHBB", len(body), 0, 0, protocol)
    found = checksum(source + target + length + body)
    at = 16 if protocol == TCP else 6
    return body[:at] + struct.pack("!H", found or 0xFFFF) + body[at + 2 :]


def send_all(frames: Iterator[bytes]) -> None:
    """Send frames until there are no more, or until we are interrupted."""
    count = 0
    with (
        contextlib.suppress(KeyboardInterrupt),
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as packet,
    ):
        packet.bind((IFNAME, 0))
        for frame in frames:
            try:
                packet.send(frame)
            except OSError:  # ENOBUFS: the kernel has no room for more just now
                continue
            if not count:
                print("ready", flush=True)
            count += 1
    print(count, flush=True)


def own_mac() -> bytes:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as packet:
        packet.bind((IFNAME, 0))
        found: bytes = packet.getsockname()[4]
    return found


def addressed(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


def connections(gateway: str, source: str, target: str, protocol: str, count: str) -> None:
    """Open connections that nobody answers, each from other ports."""
    src, dst, number = addressed(source), addressed(target), TCP if protocol == "tcp" else UDP
    head = bytes.fromhex(gateway.replace(":", "")) + own_mac() + b"\x08\x00"
    ports = ((1024 + n % 60000, 1000 + n // 60000) for n in range(int(count)))
    send_all(head + ip_packet(number, src, dst, segment(number, src, dst, pair)) for pair in ports)


def stream(target: str, port: str, count: str) -> None:
    """Send many datagrams of one connection, for nobody's answer."""
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.bind(("", 4001))
        for _ in range(int(count)):
            client.sendto(b"x", (target, int(port)))
    print(count, flush=True)


def hosts(gateway: str, source: str, network: str, count: str) -> None:
    """Send a datagram to each of many addresses of a network."""
    src, net = addressed(source), ipaddress.ip_network(network)
    kind = b"\x08\x00" if net.version == 4 else b"\x86\xdd"
    head = bytes.fromhex(gateway.replace(":", "")) + own_mac() + kind
    targets = ((net.network_address + 256 + n).packed for n in range(int(count)))
    send_all(head + ip_packet(UDP, src, dst, segment(UDP, src, dst, (4000, 9))) for dst in targets)


def claims(router: str, router6: str, network: str, count: str) -> None:
    """Ask and answer by ARP, and ask by neighbour discovery, in the name of many addresses."""
    mac, net = own_mac(), ipaddress.ip_network(network)
    arp = BROADCAST + mac + b"\x08\x06" + struct.pack("!HHBB", 1, 0x0800, 6, 4)

    def frames() -> Iterator[bytes]:
        for n in range(int(count)):
            claimed = (net.network_address + 256 + n).packed
            for operation in (1, 2):
                yield arp + struct.pack("!H", operation) + mac + claimed + bytes(6) + addressed(router)
            src, dst = addressed("fe80::")[:-4] + struct.pack("!I", n + 1), addressed(router6)
            yield b"\x33\x33\xff" + dst[-3:] + mac + b"\x86\xdd" + solicitation(src, dst, mac)

    send_all(frames())


def solicitation(src: bytes, dst: bytes, mac: bytes) -> bytes:
    """Return a question for a neighbour, which tells who asks (RFC 4861)."""
    group = addressed("ff02::1:ff00:0")[:-3] + dst[-3:]
    body = struct.pack("!BBHI", 135, 0, 0, 0) + dst + b"\x01\x01" + mac
    found = checksum(src + group + struct.pack("!IHBB", len(body), 0, 0, 58) + body)
    packet = struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + src + group
    return packet + body[:2] + struct.pack("!H", found) + body[4:]


def leases(network: str, kind: str, count: str) -> None:
    """Ask by DHCP for one address after another, as another client each time.

    `chaddr`: of another MAC address in the message; `mac`: in the frame too; `client`: with another client id.
    """
    net, mac = ipaddress.ip_network(network), own_mac()

    def frames() -> Iterator[bytes]:
        for n in range(int(count)):
            other = b"\x02\x77" + struct.pack("!I", n)
            chaddr = mac if kind == "client" else other
            message = struct.pack("!BBBBIHH", 1, 1, 6, 0, n, 0, 0x8000) + bytes(16) + chaddr + bytes(10 + 64 + 128)
            address = (net.network_address + 64 + n).packed
            message += MAGIC + b"\x35\x01\x03" + b"\x32\x04" + address
            message += (b"\x3d\x07\x00" + other if kind == "client" else b"") + b"\xff"
            body = segment(UDP, bytes(4), b"\xff" * 4, (68, 67), message)
            source = other if kind == "mac" else mac
            yield BROADCAST + source + b"\x08\x00" + ip_packet(UDP, bytes(4), b"\xff" * 4, body)

    send_all(frames())


def queries(server: str, suffix: str, count: str) -> None:
    """Ask for random names, and wait for no answer."""
    n = 0
    with contextlib.suppress(KeyboardInterrupt), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect((server, 53))
        for n in range(int(count)):
            try:
                client.send(question(f"{random.getrandbits(64):x}.{suffix}", n & 0xFFFF))
            except ConnectionRefusedError:
                continue
            if not n:
                print("ready", flush=True)
    print(n, flush=True)


def question(name: str, number: int) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", 1, 1)


def resolve(server: str, name: str, count: str) -> None:
    """Ask for a name again and again; print how many questions were answered."""
    answered = 0
    for n in range(int(count)):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(20)
            client.connect((server, 53))
            client.send(question(name, n))
            answered += struct.unpack_from("!H", client.recv(512))[0] == n
    print(answered, flush=True)


def connect(address: str, port: str, count: str) -> None:
    """Open new connections one after another, numbered; print how many got their number back."""
    answered = 0
    for n in range(int(count)):
        with socket.create_connection((address, int(port)), timeout=60) as client:
            client.sendall(b"%08d" % n)
            answered += client.recv(8, socket.MSG_WAITALL) == b"%08d" % n
    print(answered, flush=True)


def answer(port: str) -> None:
    """Give each connection its number back, until ended."""
    with socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512) as server:
        print("ready", flush=True)
        while True:
            client = server.accept()[0]
            if os.fork() == 0:
                with client:
                    while data := client.recv(64):
                        client.sendall(data)
                os._exit(0)
            client.close()
            while reaped():
                pass


def reaped() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def hold(address: str, port: str) -> None:
    """Keep one connection, and print each answer to a line of our input."""
    with socket.create_connection((address, int(port)), timeout=60) as client:
        print("ready", flush=True)
        for number in itertools.count():
            if not sys.stdin.readline():
                return
            client.sendall(b"%08d" % number)
            print(client.recv(8, socket.MSG_WAITALL).decode(), flush=True)


def compute() -> None:
    """Send nothing, but use a processor."""
    print("ready", flush=True)
    while True:
        pass


if __name__ == "__main__":
    MODES: dict[str, Callable[..., None]] = {
        "connections": connections, "hosts": hosts, "claims": claims, "stream": stream, "leases": leases,
        "queries": queries, "resolve": resolve, "connect": connect, "answer": answer, "hold": hold,
        "compute": compute,
    }  # fmt: skip
    MODES[sys.argv[1]](*sys.argv[2:])
