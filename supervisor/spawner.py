"""The spawner: one process that imports everything once, and from then on only forks.

What it forks shares its pages; that makes a process for every namespace affordable. It holds no zmq context, no
netlink socket and no thread. Orders come by a socketpair from the supervisor; when the other end closes, it ends.
What it bore lives on: the double fork makes the supervisor, a child subreaper, the real parent.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gc
import importlib
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Final, NoReturn

import msgspec

from nsmanager.memory import freeze
from nsmanager.warm import warm as warm_manager
from pubsub import codec
from supervisor import birth, guardian, mounts, rights, syscalls
from supervisor.orders import ORDER_LIMIT, Answer, NewGuardian, NewManager, NewNamespace, Request

MAX_FDS: Final = 5  # descriptors that come with an order
STATUS_FAILED: Final = 1
REPORT_LIMIT: Final = 65536  # bytes of one report
GO: Final = b"g"  # to a newborn: the supervisor knows of you
IGNORED: Final = (signal.SIGINT, signal.SIGHUP)  # a terminal's: they are for the supervisor


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a newborn, or the child between, tells the spawner."""

    pid: int = 0
    errno: int = 0
    error: str = ""
    done: bool = False  # the newborn is where it belongs


NOTHING: Final = Report()


@dataclasses.dataclass
class Birth:
    """One birth under way."""

    number: int  # of the order
    between: int  # pid of the child between
    reports: socket.socket
    report: Report = NOTHING  # so far


class Spawner:
    """The state of the process: its socket, the births under way, and what was prepared for them."""

    def __init__(self, orders: socket.socket, title: tuple[int, int]) -> None:
        self.orders = orders
        self.title = title
        self.last_capability = rights.last_capability()
        self.births: dict[int, Birth] = {}  # by the pipe on which it reports
        self.roots: dict[tuple[str, str], int] = {}  # (run_dir, state_dir) -> mount namespace
        self.poll = select.poll()
        self.poll.register(orders, select.POLLIN)

    def serve(self) -> None:
        """Take orders until the supervisor's end closes."""
        while True:
            for fd, _ in self.poll.poll():
                if fd != self.orders.fileno():
                    self._follow(fd)
                elif not self._take():
                    return

    def _take(self) -> bool:
        """Take one order. Returns False at the end."""
        data, fds, flags, _ = socket.recv_fds(self.orders, ORDER_LIMIT, MAX_FDS)
        if not data and not fds:
            return False
        try:
            if flags & socket.MSG_TRUNC:
                raise ValueError(f"an order of more than {ORDER_LIMIT} bytes")
            self._obey(codec.decode(Request, data), fds)
        except ValueError as exc:  # without a number nobody can be answered
            print(f"spawner: bad order: {exc}", file=sys.stderr, flush=True)
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def _obey(self, request: Request, fds: list[int]) -> None:
        try:
            match request.order:
                case NewNamespace() as new:
                    inode = birth.make_namespace(new.name, new.uid_base, new.uid_count)
                    self._answer(Answer(number=request.number, inode=inode))
                case NewManager() as manager:
                    root = self._root(manager.run_dir, manager.state_dir)
                    self._bear(request.number, 0, lambda done: self._manager(manager, root, fds, done))
                case NewGuardian(app=app):
                    namespaces = guardian.APP_NAMESPACES if app else 0
                    self._bear(request.number, namespaces, lambda done: guardian.run(app, fds, done))
        except Exception as exc:  # noqa: BLE001  # whatever it is, it is that order's trouble
            self._answer(_failure(request.number, exc))

    def _bear(self, number: int, namespaces: int, live: Callable[[Callable[[], None]], None]) -> None:
        """Fork twice. The grandchild calls `live`, and that calls its argument once it is where it belongs.

        Then it waits until the supervisor has been told: what lives is known to somebody, whoever dies meanwhile.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        between = os.fork()
        if between == 0:
            for held in (ours, self.orders, *(one.reports for one in self.births.values())):
                held.close()  # so that their ends are seen, even if the newborn hangs
            _between(theirs, namespaces, live)
        theirs.close()
        self.births[ours.fileno()] = Birth(number, between, ours)
        self.poll.register(ours, select.POLLIN)

    def _follow(self, fd: int) -> None:
        """Read what a birth reports: the pid and the success come from two processes, in either order."""
        one = self.births[fd]
        data = one.reports.recv(REPORT_LIMIT)
        if data:
            report = msgspec.json.decode(data, type=Report)
            one.report = Report(
                pid=report.pid or one.report.pid,
                errno=report.errno or one.report.errno,
                error=report.error or one.report.error,
                done=report.done or one.report.done,
            )
            if not one.report.error and not (one.report.done and one.report.pid):
                return
        self.poll.unregister(fd)
        del self.births[fd]
        with one.reports:
            self._finish(one)

    def _finish(self, one: Birth) -> None:
        os.waitpid(one.between, 0)  # from here on the newborn's parent is the supervisor
        report = one.report
        if report.error:
            self._answer(Answer(number=one.number, errno=report.errno, error=report.error))
        elif not report.done:
            self._answer(Answer(number=one.number, error="it died while it was born"))
        elif self._answer(Answer(number=one.number, pid=report.pid)):
            with contextlib.suppress(OSError):  # it was killed already
                one.reports.send(GO)

    def _manager(self, order: NewManager, root: int, fds: list[int], done: Callable[[], None]) -> None:
        module, _, function = order.entry.partition(":")
        main = getattr(importlib.import_module(module), function)
        os.setsid()
        _take_stdio(fds[0])
        birth.enter_as_manager(order, root, self.last_capability)
        syscalls.set_name(f"nsm-{order.name}")
        syscalls.set_title(self.title, f"nsmanager {order.name}")
        done()
        syscalls.close_from(3)
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)  # only now; without it its own /proc/self would be closed to it
        main(order.name, order.run_dir, order.state_dir)

    def _root(self, run_dir: str, state_dir: str) -> int:
        """Return the mount namespace that managers with these folders start from."""
        key = (run_dir, state_dir)
        if key not in self.roots:
            self.roots[key] = _namespace_of_child(lambda: mounts.build_root(run_dir, state_dir))
        return self.roots[key]

    def _answer(self, answer: Answer) -> bool:
        """Answer the supervisor; False when that is gone, which the next read tells."""
        try:
            self.orders.send(codec.encode(answer))
        except OSError:
            return False
        return True


def _between(spawner: socket.socket, namespaces: int, live: Callable[[Callable[[], None]], None]) -> NoReturn:
    """The child between: make namespaces that only a child can be in, fork the newborn, tell its pid, end."""
    born = False

    def tell(report: Report) -> None:
        spawner.send(msgspec.json.encode(report))

    def done() -> None:
        nonlocal born
        tell(Report(done=True))
        if spawner.recv(1) != GO:
            os._exit(STATUS_FAILED)  # nobody knows of us
        born = True
        spawner.close()

    status = STATUS_FAILED
    try:
        if namespaces:
            syscalls.unshare(namespaces)
        pid = os.fork()
        if pid:
            tell(Report(pid=pid))
            os._exit(0)
        gc.enable()
        for number in IGNORED:
            signal.signal(number, signal.SIG_DFL)
        syscalls.leave_keyring()
        live(done)
        status = 0
    except SystemExit as exc:
        status = exc.code if isinstance(exc.code, int) else STATUS_FAILED if exc.code else 0
    except BaseException as exc:  # noqa: BLE001  # the same
        if born:  # then it is for its own log
            traceback.print_exc()
        else:
            tell(Report(errno=getattr(exc, "errno", 0) or 0, error=_words(exc)))
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(status)


def _namespace_of_child(prepare: Callable[[], None]) -> int:
    """Let a throwaway child make itself a mount namespace. Returns a descriptor of that. The child outlives nobody."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            ours.close()  # so that its end is seen
            prepare()
            theirs.send(b"\0")
            theirs.recv(1)  # until the namespace was taken, or the spawner died
        except BaseException as exc:  # noqa: BLE001  # nothing of the stack above may run in this child
            theirs.send(_words(exc).encode())
        finally:
            os._exit(0)
    theirs.close()
    try:
        error = ours.recv(REPORT_LIMIT)
        if error != b"\0":
            raise birth.BirthError(f"the managers' root: {error.decode()}")
        return os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        ours.close()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _take_stdio(log: int) -> None:
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)


def _failure(number: int, exc: Exception) -> Answer:
    return Answer(number=number, errno=getattr(exc, "errno", 0) or 0, error=_words(exc))


def _words(exc: BaseException) -> str:
    """Say what went wrong, without the number that OSError puts before its text."""
    text = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
    name = getattr(exc, "filename", None)
    return f"{text}: {name}" if name else text or type(exc).__name__


def prepare() -> None:
    """Import and use all that a manager will need, then have it shared."""
    warm_manager()
    freeze()


def main() -> None:
    """Run the spawner on an inherited socket."""
    parser = argparse.ArgumentParser(prog="python -m supervisor.spawner")
    parser.add_argument("--fd", type=int, required=True, help="socket on which orders come")
    orders = socket.socket(fileno=parser.parse_args().fd)
    orders.set_inheritable(False)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    title = syscalls.arguments_area()
    prepare()
    spawner = Spawner(orders, title)
    spawner.serve()
    os._exit(0)  # as `freeze` wants it


if __name__ == "__main__":
    main()
