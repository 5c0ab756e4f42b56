"""What stands over one command of `run` or `exec`, from its birth to its end, whatever becomes of the supervisor.

It speaks with the client by the *session* socket, in msgpack maps: it tells `started`, then `exit` or `signal`, or
`error`; the client tells `signal`. The end of the client's end is the end of the command. An app's guardian is
process 1 of the app's own process namespace: with it everything of the app is gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import termios
from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn, TypeVar

import msgpack  # type: ignore[import-untyped]  # ships no types

from pubsub import codec
from supervisor import birth, command_mounts, guardian_network, rights, syscalls
from supervisor.orders import COMMAND_LIMIT, Exec, RunApp

APP_NAMESPACES: Final = syscalls.CLONE_NEWNET | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWNS | syscalls.CLONE_NEWUTS
STDIO_FDS: Final = (3, 4, 5)  # the command's, as they lie in the guardian
SESSION_FD: Final = 6
HOST_PROC_FD: Final = 7
OUT_OF_WAY: Final = 64  # lowest descriptor while they are being moved
TO_GROUP: Final = frozenset({signal.SIGINT, signal.SIGQUIT, signal.SIGHUP})  # a terminal signals the whole group
UMASK: Final = 0o022


Command = TypeVar("Command", RunApp, Exec)


class CommandError(RuntimeError):
    """The command could not be started; the text says why."""


class Session:
    """The guardian's end of the socket to the client."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._unpacker = msgpack.Unpacker(max_buffer_size=65536)

    def tell(self, **message: Any) -> None:
        """Send a message; a client that is gone, or doesn't listen, is no error."""
        with contextlib.suppress(OSError):
            self.socket.send(msgpack.packb(message), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def signals(self) -> Iterator[int]:
        """Read once, and yield the signals asked for. Raises EOFError at the end, or on anything else."""
        try:
            data = self.socket.recv(4096)
        except OSError as exc:
            raise EOFError from exc
        if not data:
            raise EOFError
        self._unpacker.feed(data)
        try:
            for message in self._unpacker:
                yield int(message["signal"])
        except (ValueError, TypeError, KeyError, msgpack.UnpackException) as exc:
            raise EOFError from exc


def run(app: bool, fds: list[int], done: Callable[[], None]) -> None:
    """Enter the namespaces, call `done`, and stand over the command until it ends.

    `fds` as of NewGuardian. An app's namespaces are made already, by the caller's parent.
    """
    *fds, file = fds
    order: RunApp | Exec = _read(file, RunApp) if app else _read(file, Exec)
    if isinstance(order, RunApp) and order.group:
        birth.enter_group(order.group)
    host_proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # before the app's own covers it
    _enter(order)
    syscalls.set_name("nsguard")
    done()
    _keep_only([*fds, host_proc])
    session = Session(socket.socket(fileno=SESSION_FD))
    wake = _wake_on_children()
    try:
        if isinstance(order, RunApp):
            guardian_network.configure(order, session.socket)
        command, shown = _start(order)
    except guardian_network.Interrupted:
        return
    except (guardian_network.NetworkError, CommandError, OSError) as exc:
        session.tell(error=str(exc))
        return
    finally:
        for fd in STDIO_FDS:  # so that who reads the command's output sees its end
            os.close(fd)
    session.tell(started=shown)
    status = _stand(session, command, wake)
    if isinstance(order, RunApp):
        _end_all()
    elif status is None:
        _signal(command, signal.SIGKILL, group=True)
    if status is not None:
        session.tell(**({"signal": -status} if status < 0 else {"exit": status}))


def _read(file: int, kind: type[Command]) -> Command:
    return codec.decode(kind, os.pread(file, COMMAND_LIMIT, 0))


def _enter(order: RunApp | Exec) -> None:
    if isinstance(order, RunApp):  # born in its new namespaces
        socket.sethostname(order.hostname)
    else:
        net = open_container(order.container) if order.container else birth.open_pin(order.instance)
        syscalls.setns(net, syscalls.CLONE_NEWNET)
        syscalls.unshare(syscalls.CLONE_NEWNS)
    command_mounts.enter_command(order.resolv_conf, app=isinstance(order, RunApp))


def open_container(pid: int) -> int:
    """Return a descriptor of a process's network namespace. Raises FileNotFoundError when it is gone."""
    return os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _keep_only(fds: list[int]) -> None:
    """Close all descriptors but the standard ones, and these, which come to lie from 3 on."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0)
    aside = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, OUT_OF_WAY) for fd in fds]
    for place, fd in enumerate(aside, STDIO_FDS[0]):
        os.dup2(fd, place, inheritable=False)
    syscalls.close_from(STDIO_FDS[0] + len(fds))


def _wake_on_children() -> socket.socket:
    """Return a socket that becomes readable when a child ends, or when we are told to end."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    signal.set_wakeup_fd(theirs.detach())
    for number in (signal.SIGCHLD, signal.SIGTERM):  # process 1 gets only the signals that it handles
        signal.signal(number, lambda *_: None)
    return ours


def _start(order: RunApp | Exec) -> tuple[int, int]:
    """Start the command. Returns its pid here and its pid as the host sees it. Raises CommandError."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    last = rights.last_capability()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, os.readlink("self", dir_fd=HOST_PROC_FD).encode() + b"\n")
            _become_command(order, last)
        except BaseException as exc:  # noqa: BLE001  # nothing of the guardian's stack may run in this child
            words = exc.strerror if isinstance(exc, OSError) else str(exc)
            name = getattr(exc, "filename", None)
            os.write(writer, (f"{name}: {words}" if name else str(words)).encode())
        finally:
            os._exit(127)
    os.close(writer)
    with open(reader) as pipe:
        shown, error = pipe.readline(), pipe.read()
    if error or not shown:
        raise CommandError(error or "it died before it started")
    return pid, int(shown)


def _become_command(order: RunApp | Exec, last_capability: int) -> NoReturn:
    os.setsid()
    for place, fd in enumerate(STDIO_FDS):
        os.dup2(fd, place)
    if os.isatty(0):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    if isinstance(order, RunApp):
        rights.limit(rights.APP, last_capability)
        for kind, value in order.rlimits:
            rights.set_limit(kind, value)
    os.umask(UMASK)
    if order.uid or isinstance(order, RunApp):
        rights.become(order.uid, order.gid, order.groups)
    os.chdir(order.cwd)
    os.execvpe(order.argv[0], order.argv, order.env)  # noqa: S606  # it is what the user asked for


def _stand(session: Session, command: int, wake: socket.socket) -> int | None:
    """Wait for the end of the command. Returns its status, negative for a signal; None when it must be ended."""
    while True:
        readable, _, _ = select.select([session.socket, wake], [], [])
        if wake in readable and signal.SIGTERM in wake.recv(4096):
            return None
        status = _reap(command)
        if status is not None:
            return status
        if session.socket in readable:
            try:
                for number in session.signals():
                    _signal(command, number, group=number in TO_GROUP)
            except EOFError:
                return None


def _reap(command: int) -> int | None:
    """Collect all children that have ended; returns the command's status if it is among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == command:
            found = os.waitstatus_to_exitcode(status)


def _signal(command: int, number: int, *, group: bool) -> None:
    with contextlib.suppress(ProcessLookupError, ValueError):
        if group:
            os.killpg(command, number)
        else:
            os.kill(command, number)


def _end_all() -> None:
    """As process 1: end all others of the process namespace, so that they are gone before the client hears of it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
