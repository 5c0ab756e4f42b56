"""Traffic for tests: a web page, a UDP echo, a numbered stream that counts its losses, a marked frame.

Run as a script inside a host, an instance or an app (`python -SE traffic.py page|echo|stream|frame …`, so it imports
only the standard library); imported, it gives `Stream`, the test's side of the numbered stream.
"""

from __future__ import annotations

import http.server
import json
import select
import signal
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from types import FrameType

STRAGGLERS = 1.0  # seconds that a stream waits for the last answers
FRAME_TYPE = 0x88B5  # IEEE 802 local experimental: no kernel does anything with it


class Stream:
    """A running numbered stream: `process` is one that runs this file's `stream`, wherever."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def stop(self) -> dict[str, float]:
        """Stop sending, await the last answers; return `sent`, `received`, `lost` and `gap` (longest, in seconds)."""
        self.process.send_signal(signal.SIGINT)
        output, _ = self.process.communicate(timeout=30)
        counted: dict[str, float] = json.loads(output.splitlines()[-1])
        return counted


def page(port: str, text: str) -> None:
    """Serve one page that tells who asked."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"{text} to {self.client_address[0]}\n".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("0.0.0.0", int(port)), Page) as server:
        print("ready", flush=True)
        server.serve_forever()


def echo(port: str) -> None:
    """Send every datagram back."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("0.0.0.0", int(port)))
        print("ready", flush=True)
        while True:
            data, peer = server.recvfrom(2048)
            server.sendto(data, peer)


def stream(address: str, port: str, rate: str = "1000") -> None:
    """Send numbered datagrams to an echo at `rate` a second until SIGINT, then print what came back as JSON."""
    running = True

    def stop(_signum: int, _frame: FrameType | None) -> None:
        nonlocal running
        running = False

    signal.signal(signal.SIGINT, stop)
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.connect((address, int(port)))
    answered: set[int] = set()
    sent, failed, gap = 0, 0, 0.0
    began = last = time.monotonic()
    deadline = float("inf")
    while running or (len(answered) < sent and time.monotonic() < deadline):
        now = time.monotonic()
        while running and sent < (now - began) * int(rate):
            try:
                client.send(struct.pack("!Q", sent))
            except OSError:  # as ECONNREFUSED, ENETUNREACH: counts as lost
                failed += 1
            sent += 1
        if not running and deadline == float("inf"):
            deadline = now + STRAGGLERS
        while select.select([client], [], [], 1 / int(rate))[0]:
            try:
                data = client.recv(64)
            except OSError:
                failed += 1
                continue
            if len(answered) == 1:
                print("ready", flush=True)
            answered.add(struct.unpack("!Q", data)[0])
            gap, last = max(gap, time.monotonic() - last), time.monotonic()
            if sent < (last - began) * int(rate):
                break
    print(json.dumps({"sent": sent, "received": len(answered), "lost": sent - len(answered), "gap": round(gap, 4)}))


def frame(ifname: str, text: str) -> None:
    """Send one frame that nobody answers and every capture on the link sees."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as packet:
        packet.bind((ifname, 0))
        packet.send(b"\xff" * 6 + b"\x02\0\0\0\0\x01" + struct.pack("!H", FRAME_TYPE) + text.encode().ljust(46, b"."))


if __name__ == "__main__":
    MODES: dict[str, Callable[..., None]] = {"page": page, "echo": echo, "stream": stream, "frame": frame}
    MODES[sys.argv[1]](*sys.argv[2:])
