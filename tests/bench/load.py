"""Load and clocks for the benches of paths: packets as fast as they go, round trips, and who is first after a failure.

Run as a script in a network namespace (`python -SE load.py flood|rtt|race …`), so it imports only the standard library.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import json
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

BATCH = 64  # datagrams a sendmmsg(2)
FIRST_PORT = 20000  # of the first namespace's datagrams, by which `race` knows them
GIVE_UP = 30.0  # seconds for a race
CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
SO_TIMESTAMPNS = 35
ETH_P_IP = 0x0800
LIBC = ctypes.CDLL(None, use_errno=True)


class Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_char_p), ("length", ctypes.c_size_t))


class Message(ctypes.Structure):
    """struct mmsghdr of a connected socket: nothing but one piece of data."""

    _fields_ = (
        ("name", ctypes.c_void_p), ("name_length", ctypes.c_uint), ("iov", ctypes.POINTER(Iovec)),
        ("iov_length", ctypes.c_size_t), ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int), ("sent", ctypes.c_uint),
    )  # fmt: skip


def flood(address: str, port: str, seconds: str) -> None:
    """Send datagrams of 18 bytes (frames of 60) for so long."""
    piece = Iovec(b"x" * 18, 18)
    batch = (Message * BATCH)(*(Message(iov=ctypes.pointer(piece), iov_length=1) for _ in range(BATCH)))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.connect((address, int(port)))
        end = time.monotonic() + float(seconds)
        while time.monotonic() < end:
            LIBC.sendmmsg(out.fileno(), batch, BATCH, 0)


def rtt(address: str, count: str) -> None:
    """Exchange echoes one after the other with a kernel; print the microseconds of the 50th and 99th percentile."""
    gc.disable()
    took = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as out:
        out.connect((address, 0))
        out.settimeout(1.0)
        for number in range(int(count)):
            packet = struct.pack("!BBHHH", 8, 0, 0, 0, number & 0xFFFF) + b"x" * 18
            began = time.perf_counter_ns()
            out.send(packet)
            with contextlib.suppress(TimeoutError):
                out.recv(256)
            took.append(time.perf_counter_ns() - began)
    took.sort()
    print(json.dumps([took[len(took) // 2] / 1000, took[len(took) * 99 // 100] / 1000]))


# --- who is first after a failure -------------------------------------------------------------------------------------


def race(gateway: str, fails: str, watched: str, target: str, pace: str) -> None:
    """Answer each line `carrier` or `silence` of standard input with the milliseconds of each namespace, as JSON.

    A line is a failure of the gateway's link `fails`; from then on each namespace sends a new connection's datagram
    every `pace` seconds until one is seen on the gateway's link `watched`. The first line are the files of the
    namespaces. The milliseconds go from the failure to the kernel's time stamp of the packet; -1: none came.
    """
    gc.disable()
    places = json.loads(sys.stdin.readline())
    with entered(f"/proc/{gateway}/ns/net"):
        seen = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_IP))
        seen.bind((watched, ETH_P_IP))
        seen.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        seen.setsockopt(socket.SOL_SOCKET, 33, 16 * 2**20)  # SO_RCVBUFFORCE
        seen.setblocking(False)
        control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    outs = []
    for place in places:
        with entered(place):
            outs.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            outs[-1].setblocking(False)
    print("ready", flush=True)
    for line in sys.stdin:
        drain(seen)
        if line.strip() == "carrier":
            began = time.time_ns()
            take_down(control, fails)
        else:
            began = time.time_ns()
            enter = ["nsenter", f"--net=/proc/{gateway}/ns/net", "nft", "-f", "-"]
            rule = f"type filter hook ingress device {fails} priority 0; policy drop;"
            text = f"table netdev {fails} {{ chain arriving {{ {rule} }}; }}\n"
            subprocess.run(enter, input=text, text=True, check=True)
        print(json.dumps(first_packets(seen, outs, target, float(pace), began)), flush=True)


@contextlib.contextmanager
def entered(place: str) -> Iterator[None]:
    """Be in a network namespace for a while: its sockets stay there."""
    with Path("/proc/self/ns/net").open() as home, Path(place).open() as there:
        if LIBC.setns(there.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {place}")
        try:
            yield
        finally:
            LIBC.setns(home.fileno(), CLONE_NEWNET)


def take_down(control: socket.socket, ifname: str) -> None:
    """Take a link down, which takes the carrier from the other end; by one system call, netdevice(7)."""
    request = bytearray(struct.pack("16sh22x", ifname.encode(), 0))
    fcntl.ioctl(control, SIOCGIFFLAGS, request)
    (flags,) = struct.unpack_from("h", request, 16)
    struct.pack_into("h", request, 16, flags & ~IFF_UP)
    fcntl.ioctl(control, SIOCSIFFLAGS, request)


def drain(seen: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            seen.recv(2048)


def first_packets(seen: socket.socket, outs: list[socket.socket], target: str, pace: float, began: int) -> list[float]:
    """Return for each socket the milliseconds until its first packet was seen."""
    took = [-1.0] * len(outs)
    waiting = set(range(len(outs)))
    round_at, give_up = time.monotonic(), time.monotonic() + GIVE_UP
    while waiting and time.monotonic() < give_up:
        for index in waiting:
            with contextlib.suppress(OSError):  # as ENETUNREACH, while there is no way
                outs[index].sendto(b"first?", (target, FIRST_PORT + index))
        round_at += pace
        while (left := round_at - time.monotonic()) > 0:
            if select.select([seen], [], [], left)[0]:
                take(seen, took, waiting, began)
        take(seen, took, waiting, began)
        round_at = max(round_at, time.monotonic() - pace)
    return took


def take(seen: socket.socket, took: list[float], waiting: set[int], began: int) -> None:
    """Note the packets that have come."""
    with contextlib.suppress(BlockingIOError):
        while True:
            data, extra, _, _ = seen.recvmsg(128, 64)
            if len(data) >= 42 and data[23] == socket.IPPROTO_UDP:
                index = struct.unpack_from("!H", data, 36)[0] - FIRST_PORT
                if index in waiting:
                    seconds, nanoseconds = struct.unpack("qq", extra[0][2])
                    took[index] = (seconds * 10**9 + nanoseconds - began) / 1e6
                    waiting.discard(index)


if __name__ == "__main__":
    MODES: dict[str, Callable[..., None]] = {"flood": flood, "rtt": rtt, "race": race}
    MODES[sys.argv[1]](*sys.argv[2:])
