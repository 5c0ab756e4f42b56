"""Traffic for tests: a web page, a UDP echo, a numbered stream that counts its losses, a long download, a marked frame.

Run as a script inside a host, an instance or an app (`python -SE traffic.py page|echo|stream|download|frame …`, so it
imports only the standard library); imported, it gives `Stream`, the test's side of numbered stream and download.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import select
import signal
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from types import FrameType

HANGS = 60.0  # seconds; whoever takes longer hangs
SILENCE = 5.0  # seconds without any answer after which a stream that was stopped waits no longer
LATE = 2.0  # seconds for which a stopped stream waits for what is missing: a busy CPU's queue may stand still so long
SO_RCVBUFFORCE = 33  # socket(7), beyond what a user may; Python has no name for it
ECHO_BUFFER = 1 << 22  # bytes: the windows of a thousand streams' datagrams, while the echo waits for its turn
WINDOW = 100  # datagrams under way; a socket's buffer holds more than twice as many
PROBE = 0.1  # seconds between two datagrams when so many are without an answer
BEHIND = 50  # numbers; what hasn't come by LATE, when those so much later have, is lost
LONG_PATH = "/long"  # of a page without an end
CHUNK = bytes(range(256)) * 64
PACE = 0.02  # seconds between two chunks: 0.8 MB/s, which leaves a small machine to what is tested
FRAME_TYPE = 0x88B5  # IEEE 802 local experimental: no kernel does anything with it


class Stream:
    """A running numbered stream or download: `process` is one that runs this file's `stream`, wherever."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def stop(self) -> dict[str, Any]:
        """Stop, await the last answers; return `sent`, `received`, `lost` and more for a message."""
        self.process.send_signal(signal.SIGINT)
        output, _ = self.process.communicate(timeout=HANGS)
        counted: dict[str, Any] = json.loads(output.splitlines()[-1])
        return counted


def page(port: str, text: str) -> None:
    """Serve one page that tells who asked, and a long one."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == LONG_PATH:
                self.send_long()
                return
            asker = self.client_address[0].removeprefix("::ffff:")  # RFC 4291, 2.5.5.2: an IPv4 address
            body = f"{text} to {asker}\n".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def send_long(self) -> None:
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):  # until the client has enough
                while True:
                    self.wfile.write(CHUNK)
                    time.sleep(PACE)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6  # IPv4 too, see ipv6(7)

    with Server(("::", int(port)), Page) as server:
        print("ready", flush=True)
        server.serve_forever()


def echo(port: str) -> None:
    """Send every datagram back, from the address that it came to."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server:
        server.bind(("::", int(port)))
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        server.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ECHO_BUFFER)
        print("ready", flush=True)
        while True:
            data, ancillary, _, peer = server.recvmsg(2048, socket.CMSG_SPACE(20))
            address = ancillary[0][2][:16]  # struct in6_pktinfo: the address, and the link that is left to routing
            server.sendmsg([data], [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, address + bytes(4))], 0, peer)


def stream(address: str, port: str, rate: str = "1000") -> None:
    """Send numbered datagrams to an echo, at most `rate` a second, until SIGINT; then print as JSON what is missing.

    What is late isn't lost, however slow the machine: it sends on until datagrams come back that are well behind those
    that count. Nor are there ever more under way than the sockets hold; nor more than one until the first came back,
    since CPUs that meet a flow's first datagrams at the same time may each begin a connection, and drop one.
    """
    running = True

    def stop(_signum: int, _frame: FrameType | None) -> None:
        nonlocal running
        running = False

    signal.signal(signal.SIGINT, stop)
    client = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    client.connect((address, int(port)))
    missing: set[int] = set()
    sent, refused, newest, end = 0, 0, -1, -1
    began = sent_at = heard_at = time.monotonic()
    ended_at = 0.0
    while True:
        now = time.monotonic()
        window = WINDOW if newest >= 0 else 1
        while sent < (now - began) * int(rate) and (sent - newest <= window or now - sent_at > PROBE):
            missing.add(sent)
            try:
                client.send(struct.pack("!Q", sent))
            except OSError:  # as ECONNREFUSED, ENETUNREACH: counts as lost
                refused += 1
            sent, sent_at = sent + 1, now
        if not running and end < 0:
            end, ended_at = sent, now
        while select.select([client], [], [], 1 / int(rate))[0]:
            try:
                number = struct.unpack("!Q", client.recv(64))[0]
            except OSError:
                refused += 1
                continue
            if newest < 0:
                print("ready", flush=True)
            missing.discard(number)
            newest, heard_at = max(newest, number), time.monotonic()
            if sent < (heard_at - began) * int(rate):
                break
        now = time.monotonic()
        is_over = now - heard_at > SILENCE or (newest >= end + BEHIND and now - ended_at > LATE)
        if end >= 0 and (min(missing, default=end) >= end or is_over):
            break
    lost = sorted(number for number in missing if number < end)
    some = lost[:3] + lost[3:][-3:]
    print(
        json.dumps({"sent": end, "lost": len(lost), "numbers": some, "received": end - len(lost), "refused": refused})
    )


def download(address: str, port: str) -> None:
    """Read a page's long form until SIGINT; print as JSON how many bytes came and how many of them were wrong."""
    running = True

    def stop(_signum: int, _frame: FrameType | None) -> None:
        nonlocal running
        running = False

    signal.signal(signal.SIGINT, stop)
    expected = CHUNK * 8
    received = lost = 0
    with socket.create_connection((address, int(port)), HANGS) as connection:
        connection.sendall(f"GET {LONG_PATH} HTTP/1.0\r\n\r\n".encode())
        reader = connection.makefile("rb")
        while reader.readline().strip():
            pass
        print("ready", flush=True)
        while running:
            data = reader.read1(len(CHUNK))
            if not data:
                break
            start = received % len(CHUNK)
            lost += 0 if data == expected[start : start + len(data)] else len(data)
            received += len(data)
    print(json.dumps({"received": received, "lost": lost, "broken": running}))


def frame(ifname: str, text: str) -> None:
    """Send one frame that nobody answers and every capture on the link sees."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as packet:
        packet.bind((ifname, 0))
        packet.send(b"\xff" * 6 + b"\x02\0\0\0\0\x01" + struct.pack("!H", FRAME_TYPE) + text.encode().ljust(46, b"."))


if __name__ == "__main__":
    MODES: dict[str, Callable[..., None]] = {
        "page": page,
        "echo": echo,
        "stream": stream,
        "download": download,
        "frame": frame,
    }
    MODES[sys.argv[1]](*sys.argv[2:])
