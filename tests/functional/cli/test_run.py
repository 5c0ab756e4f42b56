"""run and exec: exit status, signals, descriptors, and a terminal of one's own."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import Self

import pytest

from tests.hosts import DEADLINE, Daemon, wait_until

SLEEP = f"7777.{os.getpid()}"  # seconds; nobody else on this machine sleeps as long

run_or_exec = pytest.mark.parametrize("command", ["run", "exec"])


@run_or_exec
def test_the_exit_status_is_the_commands(daemon: Daemon, command: str) -> None:
    assert daemon.cli(command, "red", "--", "true").returncode == 0
    assert daemon.cli(command, "red", "--", "sh", "-c", "exit 7").returncode == 7
    assert daemon.cli(command, "red", "--", "sh", "-c", "kill -TERM $$").returncode == 128 + signal.SIGTERM


@run_or_exec
def test_input_and_output_pass_through_untouched(daemon: Daemon, command: str) -> None:
    done = daemon.cli(command, "red", "--", "sh", "-c", "tr a-z A-Z; echo error >&2", text="hello\n" * 10000)
    assert done.stdout == "HELLO\n" * 10000
    assert done.stderr == "error\n"


@run_or_exec
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_are_the_commands(daemon: Daemon, command: str, number: int) -> None:
    name = signal.Signals(number).name.removeprefix("SIG")
    script = f"trap 'echo got {name}; exit 9' {name}; echo waiting; while :; do sleep 0.05; done"
    argv = [daemon.command, command, "red", "--", "sh", "-c", script]
    process = daemon.host.popen(argv, env=daemon.environment, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "waiting\n"
        os.kill(process.pid, number)
        assert process.stdout.readline() == f"got {name}\n"
    assert process.wait(DEADLINE) == 9


@run_or_exec
def test_a_killed_caller_ends_the_command(daemon: Daemon, command: str) -> None:
    argv = [daemon.command, command, "red", "--", "sh", "-c", f"echo waiting; exec sleep {SLEEP}"]
    process = daemon.host.popen(argv, env=daemon.environment, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "waiting\n"
        os.kill(process.pid, signal.SIGKILL)
        wait_until(
            lambda: not daemon.host.run(["pgrep", "-xf", f"sleep {SLEEP}"], check=False).stdout,
            what="the end of the command",
        )
    process.wait(DEADLINE)


def test_run_is_an_app_and_exec_is_inside(daemon: Daemon) -> None:
    inside = daemon.cli("exec", "red", "--", "ip", "-br", "link", check=True).stdout
    assert "br0" in inside
    app = daemon.cli("run", "--name", "web", "red", "--", "ip", "-br", "addr", check=True).stdout
    assert "eth0" in app
    assert "10.1.0.80/24" in app
    page = daemon.cli("run", "red", "--", "curl", "-sS", "--max-time", "30", "http://www.example.test/", check=True)
    assert "192.168.0.2" in page.stdout


def test_a_command_that_does_not_exist_is_told(daemon: Daemon) -> None:
    done = daemon.cli("run", "red", "--", "no-such-command")
    assert done.returncode == 1
    assert "No such file or directory" in done.stderr


def test_a_person_at_a_terminal_gets_a_terminal(daemon: Daemon) -> None:
    with Person(daemon, "run", "red", "--", "sh", "-c", "tty; stty size; read line; echo got $line; exit 5") as person:
        assert "33 99" in person.until("99")
        assert "/dev/pts" in person.seen
        person.type("hello\n")
        person.until("got hello")
        assert person.status() == 5


def test_ctrl_c_reaches_the_command_and_the_terminal_is_right_afterwards(daemon: Daemon) -> None:
    with Person(
        daemon, "exec", "red", "--", "sh", "-c", "trap 'echo caught; exit 3' INT; echo on; while :; do sleep 0.05; done"
    ) as person:
        person.until("on")
        person.type("\x03")
        person.until("caught")
        assert person.status() == 3
        assert person.is_cooked()


def test_a_new_size_of_the_terminal_is_the_commands_too(daemon: Daemon) -> None:
    script = "trap 'stty size; exit 0' WINCH; echo on; while :; do sleep 0.05; done"
    with Person(daemon, "run", "red", "--", "sh", "-c", script) as person:
        person.until("on")
        person.resize(44, 111)
        person.until("44 111")
        assert person.status() == 0


class Person:
    """nsvisor with a terminal of 33 lines and 99 columns, and someone before it."""

    def __init__(self, daemon: Daemon, *args: str) -> None:
        self.master, slave = pty.openpty()
        self.seen = ""
        self.resize(33, 99)
        # setsid makes the terminal the controlling one: it signals Ctrl-C and new sizes.
        argv = ["setsid", "--ctty", daemon.command, *args]
        self.process = daemon.host.popen(argv, env=daemon.environment, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(DEADLINE)
        os.close(self.master)

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def resize(self, rows: int, columns: int) -> None:
        subprocess.run(["stty", "rows", str(rows), "cols", str(columns)], stdin=self.master, check=True)

    def until(self, text: str) -> str:
        end = time.monotonic() + DEADLINE
        while text not in self.seen:
            assert select.select([self.master], [], [], end - time.monotonic())[0], f"no {text!r} in {self.seen!r}"
            self.seen += os.read(self.master, 4096).decode()
        return self.seen

    def status(self) -> int:
        return self.process.wait(DEADLINE)

    def is_cooked(self) -> bool:
        done = subprocess.run(["stty", "-a"], stdin=self.master, check=True, capture_output=True, text=True)
        return " icanon" in done.stdout and " echo " in done.stdout


def asks_dhcp(daemon: Daemon, hostname: str) -> bool:
    """Tell whether an app's DHCP client runs; a look that is quick, for it runs eight seconds only."""
    found = False
    for pid in daemon.host.pids():
        with contextlib.suppress(OSError):
            found |= f"hostname:{hostname}\0" in Path(f"/proc/{pid}/cmdline").read_text()
    return found


def test_a_person_may_give_up_before_the_command_has_started(daemon: Daemon) -> None:
    """No DHCP server answers here: dnsmasq is stopped meanwhile."""
    dnsmasq = next(one["pid"] for one in daemon.instance("red")["processes"] if one["name"] == "dnsmasq")
    daemon.host.sh(f"kill -STOP {dnsmasq}")
    try:
        with Person(daemon, "run", "red", "--name", "late", "--", "true") as person:
            wait_until(lambda: asks_dhcp(daemon, "late"), what="the app's DHCP client")
            os.kill(person.process.pid, signal.SIGINT)  # heard when DHCP is done
            os.kill(person.process.pid, signal.SIGTERM)  # the second one counts here
            assert person.status() == 128 + signal.SIGTERM
            assert person.is_cooked()
    finally:
        daemon.host.sh(f"kill -CONT {dnsmasq}")
    wait_until(lambda: "late" not in str(daemon.get("apps")), what="the end of the app")
