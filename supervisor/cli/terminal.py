"""Gives a command a terminal of its own when we have one, and passes everything between the two."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pty
import termios
import tty
from types import TracebackType
from typing import Any, Self

BLOCK = 65536  # bytes passed on at once
STDIN, STDOUT = 0, 1


class Terminal:
    """A context manager: makes a pty if stdin is a terminal, and puts the terminal right again at its end.

    Without a terminal the command gets our own stdin, stdout and stderr, and nothing passes through us. Only what is
    a terminal is replaced: `nsvisor run red -- CMD | less` keeps its pipe.
    """

    def __init__(self) -> None:
        self.stdio = [0, 1, 2]  # what the command gets
        self._master = -1
        self._slave = -1
        self._saved: list[Any] | None = None
        self._is_input_open = True

    def __enter__(self) -> Self:
        if os.isatty(STDIN):
            self._master, self._slave = pty.openpty()
            self._saved = termios.tcgetattr(STDIN)
            termios.tcsetattr(self._slave, termios.TCSANOW, self._saved)
            self.resize()
            self.stdio = [self._slave if os.isatty(fd) else fd for fd in (0, 1, 2)]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._saved is not None:
            termios.tcsetattr(STDIN, termios.TCSADRAIN, self._saved)
        for fd in (self._master, self._slave):
            if fd >= 0:
                os.close(fd)
        self._master = self._slave = -1

    def handed_over(self) -> None:
        """Give up our copy of what the command has now."""
        if self._slave >= 0:
            os.close(self._slave)
            self._slave = -1

    def begin(self) -> None:
        """Let the keys be the command's from here on, Ctrl-C too; until it has started they are ours."""
        if self._master >= 0:
            tty.setraw(STDIN)

    def sources(self) -> list[int]:
        """Return what is to be waited for."""
        if self._master < 0:
            return []
        return [self._master, STDIN] if self._is_input_open else [self._master]

    def pump(self, source: int) -> None:
        """Pass on what a readable source has."""
        if source == STDIN:
            keys = os.read(STDIN, BLOCK)
            if keys:
                _write_all(self._master, keys)
            else:
                self._is_input_open = False
        elif not self._pass_output():
            os.close(self._master)
            self._master = -1

    def drain(self) -> None:
        """Pass on what the command wrote last."""
        if self._master >= 0:
            os.set_blocking(self._master, False)
            with contextlib.suppress(BlockingIOError):
                while self._pass_output():
                    pass

    def resize(self) -> None:
        """Give the command's terminal the size of ours."""
        if self._master >= 0:
            size = fcntl.ioctl(STDIN, termios.TIOCGWINSZ, bytes(8))
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    def _pass_output(self) -> bool:
        """Pass on a block of output; False when all of the other ends are closed."""
        try:
            data = os.read(self._master, BLOCK)
        except OSError as exc:
            if exc.errno == errno.EIO:  # Linux: nobody holds the slave any more
                return False
            raise
        _write_all(STDOUT, data)
        return bool(data)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
