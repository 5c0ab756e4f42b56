"""Floods a hub: python -SE spam.py SOCKET. Small messages as fast as it takes them; when it hangs up, again at once.

Raw ZMTP (RFC 23), for nothing can be faster; only the standard library.
"""

from __future__ import annotations

import contextlib
import socket
import sys

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + b"\x00" + bytes(31)
READY = b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
PUT = b"\x94\xa3put\x01\x01\x90"  # msgpack of ["put", 1, 1, []]
MANY = (b"\x00" + bytes([len(PUT)]) + PUT) * 1000


def main(path: str) -> None:
    """Run until killed."""
    while True:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            connection.sendall(GREETING + READY)
            said = b""
            while b"READY" not in said:
                more = connection.recv(4096)
                if not more:
                    raise ConnectionError
                said += more
            while True:
                connection.sendall(MANY)


if __name__ == "__main__":
    main(sys.argv[1])
