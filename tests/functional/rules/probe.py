"""Ends of connections and forged frames, run inside an app: standard library only. One mode a word of the caller.

`ask` and `send` speak UDP, `hold` keeps a TCP connection that asks for a line again and again; `frame` sends bytes.
"""

from __future__ import annotations

import contextlib
import select
import socket
import sys
from collections.abc import Callable

LINE = b"still there?\n"


def family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def ask(address: str, port: str, timeout: str, source: str = "") -> None:
    """Print what a UDP echo answers; nothing when nothing comes in time."""
    with socket.socket(family(address), socket.SOCK_DGRAM) as client:
        client.settimeout(float(timeout))
        if source:
            client.bind((source, 0))
        try:
            client.sendto(b"hello", (address, int(port)))
            print(client.recv(64).decode())
        except OSError as exc:
            print(f"none: {exc}")


def echo(port: str, *addresses: str) -> None:
    """Send every datagram back, from the very address that it came to."""
    servers = []
    for address in addresses:
        server = socket.socket(family(address), socket.SOCK_DGRAM)
        server.bind((address, int(port)))
        servers.append(server)
    print("ready", flush=True)
    while True:
        for server in select.select(servers, [], [])[0]:
            data, peer = server.recvfrom(2048)
            with contextlib.suppress(OSError):  # who asks has no address here while nobody translates it
                server.sendto(data, peer)


def send(address: str, port: str, count: str) -> None:
    """Send many datagrams from one socket, for nobody's answer."""
    with socket.socket(family(address), socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 4)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        client.connect((address, int(port)))
        for _ in range(int(count)):
            client.send(b"x" * 100)


def hold(address: str, port: str) -> None:
    """Connect; then for each line of our input ask the other end for an echo, and print it."""
    with socket.create_connection((address, int(port)), timeout=60) as client:
        print("ready", flush=True)
        for _ in sys.stdin:
            client.sendall(LINE)
            print(client.recv(64).decode().strip(), flush=True)


def lines(port: str) -> None:
    """Echo what comes by TCP, of any number of clients one after another, each to its end."""
    import threading

    def serve(client: socket.socket) -> None:
        with client:
            while data := client.recv(64):
                client.sendall(data)

    with socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        print("ready", flush=True)
        while True:
            threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()


def listen(port: str, group: str = "") -> None:
    """Print each datagram that comes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("", int(port)))
        if group:
            server.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + bytes(4))
        print("ready", flush=True)
        while True:
            print(server.recvfrom(2048)[1][0], flush=True)


def frame(ifname: str, text: str) -> None:
    """Send one frame, given as hexadecimal digits from its destination on."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as packet:
        packet.bind((ifname, 0))
        packet.send(bytes.fromhex(text))


if __name__ == "__main__":
    MODES: dict[str, Callable[..., None]] = {
        "ask": ask, "echo": echo, "send": send, "hold": hold, "lines": lines, "listen": listen, "frame": frame,
    }  # fmt: skip
    MODES[sys.argv[1]](*sys.argv[2:])
