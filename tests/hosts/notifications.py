"""The socket on which systemd would listen to its service, see sd_notify(3)."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
from pathlib import Path


class Notifications:
    """Collects what a service says, until `close`."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="notify-")
        self.address = f"{self._folder.name}/socket"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        Path(self._folder.name).chmod(0o755)
        Path(self.address).chmod(0o666)
        self.lines: list[str] = []
        # Reads all the time: a full socket would make the service wait.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while message := self._socket.recv(4096):
                self.lines += message.decode().splitlines()

    def close(self) -> None:
        """Listen no more."""
        if self._reader.is_alive():
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._reader.join()
        self._socket.close()
        self._folder.cleanup()
