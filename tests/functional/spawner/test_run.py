# ruff: noqa: ASYNC221, ASYNC222, ASYNC240  # nothing else runs in these loops
"""A command of `run` or `exec` is born where it belongs, as its user, and leaves nothing behind."""

import asyncio
import contextlib
import os
import pty
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]  # ships no types
import pytest

from supervisor.orders import Exec, RunApp
from supervisor.spawn import Spawner, SpawnError
from tests.functional.spawner.inside import inside, spawner
from tests.hosts import DEADLINE, Host, wait_until

USER = 61234  # nobody in particular
RESOLV = "nameserver 192.0.2.1\nsearch red.internal\n"
ENV = {"PATH": os.environ["PATH"], "COLOUR": "red"}
SLEEP = f"1000.{os.getpid()}"  # seconds; nobody else on this machine sleeps as long


def app(*argv: str, **fields: Any) -> RunApp:
    values: dict[str, Any] = {
        "instance": "red", "app": "web", "argv": argv, "env": ENV, "cwd": "/", "uid": 0, "gid": 0, "hostname": "web",
        "mac": "02:00:00:00:00:42", "address": IPv4Interface("192.0.2.80/24"), "gateway": IPv4Address("192.0.2.1"),
        "resolv_conf": RESOLV, "mtu": 1400,
    }  # fmt: skip
    return RunApp(**{**values, **fields})


def command(*argv: str, **fields: Any) -> Exec:
    values: dict[str, Any] = {"instance": "red", "argv": argv, "env": ENV, "cwd": "/", "uid": 0, "gid": 0}
    return Exec(**{**values, "resolv_conf": RESOLV, **fields})


class Client:
    """What the command line does: it holds one end of the session, and the command's output."""

    def __init__(self, session: socket.socket, output: int) -> None:
        self.session = session
        self.output = output
        self.guardian = 0

    async def receive(self) -> dict[str, Any]:
        async with asyncio.timeout(DEADLINE):
            data = await asyncio.get_running_loop().sock_recv(self.session, 4096)
        assert data, "the session ended without a word"
        return dict(msgpack.unpackb(data))

    def send(self, **message: int) -> None:
        self.session.send(msgpack.packb(message))

    async def text(self) -> str:
        return await asyncio.to_thread(lambda: open(self.output).read())

    async def result(self) -> tuple[str, dict[str, Any]]:
        """Wait for the end of a command that starts; return its output and the last word."""
        started = await self.receive()
        assert "started" in started, started
        return await self.text(), await self.receive()


@contextlib.asynccontextmanager
async def client(running: Spawner, order: RunApp | Exec, stdin: int | None = None) -> AsyncIterator[Client]:
    """Ask for a command; an app's link is made and plugged into a bridge with 192.0.2.1 in the host."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    reader, writer = os.pipe()
    null = os.open("/dev/null", os.O_RDONLY)
    fds = [null if stdin is None else stdin, writer if stdin is None else stdin, writer if stdin is None else stdin]
    made = Client(ours, reader)
    try:
        if isinstance(order, RunApp):
            made.guardian = await running.run_app(order, [*fds, theirs.fileno()])
            plug(made.guardian)
        else:
            made.guardian = await running.exec(order, [*fds, theirs.fileno()])
        os.close(writer)
        theirs.close()
        yield made
    finally:
        ours.close()
        os.close(null)
        if made.guardian:
            os.waitpid(made.guardian, 0)


def plug(pid: int) -> None:
    subprocess.run(
        ["ip", "link", "add", "p-web", "type", "veth", "peer", "name", "eth0", "netns", str(pid)], check=True
    )
    subprocess.run(["ip", "link", "set", "p-web", "master", "br0", "up"], check=True)


async def holds(condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(wait_until, condition)


def unplugged() -> bool:
    return not Path("/sys/class/net/p-web").exists()


def bridge(host: Host) -> None:
    host.sh("ip link add br0 up type bridge; ip addr add 192.0.2.1/24 dev br0")


async def run(order: RunApp | Exec) -> tuple[str, dict[str, Any]]:
    async with spawner("red") as running, client(running, order) as made:
        return await made.result()


def test_an_app_has_its_own_network_and_the_callers_user(host: Host) -> None:
    bridge(host)
    script = """
      ip -br address show eth0; ip route; cat /etc/resolv.conf; hostname; ls /sys/class/net /run/netns
      id -u; id -G; pwd; echo $COLOUR; cat /sys/class/net/eth0/address /sys/class/net/eth0/mtu
      grep -E 'CapBnd|CapEff|NoNewPrivs' /proc/self/status; ping -c1 -W30 192.0.2.1 | grep -c ttl
      ip link add br1 type bridge || true; ls -l /proc/self/fd | grep -c ' -> '; exit 3
    """
    order = app("sh", "-c", script, uid=USER, gid=USER, groups=(7, USER), cwd="/usr")
    text, last = inside(host, run, order)
    lines = text.split("\n")
    assert lines[0].split()[:3] == ["eth0@if3", "UP", "192.0.2.80/24"] or lines[0].split()[2] == "192.0.2.80/24"
    assert "default via 192.0.2.1 dev eth0" in text
    assert RESOLV in text
    assert "\nweb\n/run/netns:" in text
    assert f"\n{USER}\n{USER} 7\n/usr\nred\n02:00:00:00:00:42\n1400\n" in text
    assert "CapEff:\t0000000000000000" in text
    assert "NoNewPrivs:\t1" in text
    assert "Operation not permitted" in text
    assert "\n1\nRTNETLINK" in text, "it can ping"
    assert last == {"exit": 3}


async def leaves_nothing(order: RunApp) -> None:
    async with spawner("red") as running:
        async with client(running, order) as made:
            _, last = await made.result()
            assert last == {"exit": 0}
        await holds(unplugged)
        for end in ("client", "guardian", "sigterm"):
            async with client(running, app("sh", "-c", f"setsid sleep {SLEEP} & sleep {SLEEP}")) as made:
                shown = (await made.receive())["started"]
                assert Path(f"/proc/{shown}/cmdline").read_bytes().startswith(b"sh\0-c\0")
                if end == "client":
                    made.session.close()
                else:
                    os.kill(made.guardian, signal.SIGKILL if end == "guardian" else signal.SIGTERM)
            await holds(lambda: not sleepers())
            await holds(unplugged)


def sleepers() -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if (entry / "cmdline").read_bytes() == f"sleep\0{SLEEP}\0".encode():
                found.append(entry.name)
    return found


def test_nothing_is_left_whoever_ends_first(host: Host) -> None:
    bridge(host)
    inside(host, leaves_nothing, app("sh", "-c", f"setsid sleep {SLEEP} & true"))


async def signals(order: RunApp | Exec) -> list[dict[str, Any]]:
    found = []
    async with spawner("red") as running:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            async with client(running, order) as made:
                assert "started" in await made.receive()
                assert (await asyncio.to_thread(os.read, made.output, 10)) == b"go\n"
                made.send(signal=number)
                found.append(await made.receive())
            if isinstance(order, RunApp):
                await holds(unplugged)
    return found


@pytest.mark.parametrize("make", [app, command])
def test_signals_pass_through(host: Host, make: Any) -> None:
    bridge(host)
    order = make("sh", "-c", "trap 'exit 42' TERM; echo go; while :; do sleep 100 & wait $!; done")
    assert inside(host, signals, order) == [{"exit": 42}, {"signal": signal.SIGINT}, {"signal": signal.SIGUSR1}]


async def terminal(order: RunApp | Exec) -> str:
    master, slave = pty.openpty()
    async with spawner("red") as running, client(running, order, slave) as made:
        os.close(slave)
        assert "started" in await made.receive()
        text = b""
        while b"ready" not in text:
            text += await asyncio.to_thread(os.read, master, 4096)
        os.write(master, b"\x03")
        assert await made.receive() == {"exit": 5}
        while b"bye" not in text:
            text += await asyncio.to_thread(os.read, master, 4096)
        return text.decode()


@pytest.mark.parametrize("make", [app, command])
def test_a_terminal_controls_its_command(host: Host, make: Any) -> None:
    bridge(host)
    text = inside(host, terminal, make("bash", "-c", "trap 'echo bye; exit 5' INT; tty; echo ready; sleep 100"))
    assert "/dev/pts/" in text


async def by_dhcp() -> tuple[str, dict[str, Any]]:
    subprocess.run(
        ["dnsmasq", "-C", "/dev/null", "--port=0", "--interface=br0", "--bind-interfaces", "--no-ping",
         "--dhcp-range=192.0.2.100,192.0.2.110,2m", "--dhcp-host=02:00:00:00:00:42,192.0.2.105",
         "--dhcp-leasefile=/run/leases", "--pid-file=/run/dnsmasq.pid", "--dhcp-authoritative"],
        check=True,
    )  # fmt: skip
    script = "ip -br -4 address show eth0; ip route; cat /etc/resolv.conf; ps ax | grep -c '[u]dhcpc'; id -u"
    return await run(app("sh", "-c", script, address=None, gateway=None, uid=USER, gid=USER))


def test_an_app_without_an_address_gets_a_lease_and_keeps_it(host: Host) -> None:
    bridge(host)
    text, last = inside(host, by_dhcp)
    assert "192.0.2.105/24" in text
    assert "default via 192.0.2.1 dev eth0" in text
    assert RESOLV in text
    assert text.endswith(f"\n1\n{USER}\n")
    assert last == {"exit": 0}
    assert "192.0.2.105 web" in host.read_file("/run/leases")


async def errors() -> None:
    async with spawner("red") as running:
        for order, words in (
            (app("/no/such/command"), "No such file or directory"),
            (app("true", cwd="/no/such/folder"), "/no/such/folder: No such file or directory"),
            (app("true", address=None), "no DHCP lease"),
            (command("nonsense"), "No such file or directory"),
        ):
            async with client(running, order) as made:
                assert words in (await made.receive())["error"]
            await holds(unplugged)
        with pytest.raises(FileNotFoundError, match="/run/netns/nope"):
            async with client(running, command("true", instance="nope")):
                pass
        with pytest.raises(SpawnError, match="more than"):
            async with client(running, command("true", "x" * 5_000_000)):
                pass


def test_what_cannot_start_is_an_error_in_words(host: Host) -> None:
    bridge(host)
    inside(host, errors)


def test_exec_is_in_the_instances_namespace_with_its_resolver(host: Host) -> None:
    host.put_file("/run/systemd/resolve/io.systemd.Resolve", "")
    host.put_file("/run/systemd/resolve/stub-resolv.conf", "nameserver 127.0.0.53\n")
    host.sh("ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf; ip link add eth7 type bridge")
    script = """
      readlink /proc/self/ns/net; ip netns identify; ls /sys/class/net; cat /etc/resolv.conf
      ls /run/systemd/resolve; id -u; grep CapEff /proc/self/status; ip link add br0 type bridge && echo may
    """
    text, last = inside(host, run, command("sh", "-c", script))
    assert "\nred\nlo\n" in text
    assert RESOLV in text
    assert "io.systemd" not in text
    assert text.endswith("may\n")
    assert last == {"exit": 0}
    own = int(host.sh("grep CapEff /proc/self/status").split()[1], 16)
    assert f"CapEff:\t{own:016x}" in text, "root keeps its rights"
    text, last = inside_again(
        host, command("sh", "-c", "id -u; id -G; ip link add br1 type bridge", uid=USER, gid=USER)
    )
    assert text.startswith(f"{USER}\n{USER}\n")
    assert "Operation not permitted" in text
    assert last == {"exit": 2}
    assert "127.0.0.53" in host.read_file("/run/systemd/resolve/stub-resolv.conf")


def inside_again(host: Host, order: Exec) -> tuple[str, dict[str, Any]]:
    async def again() -> tuple[str, dict[str, Any]]:
        async with spawner() as running, client(running, order) as made:
            return await made.result()

    return inside(host, again)


def test_a_host_without_resolv_conf_stays_without_one(host: Host) -> None:
    host.sh("rm -f /etc/resolv.conf")
    text, _ = inside(host, run, command("cat", "/etc/resolv.conf"))
    assert text == RESOLV
    assert host.run(["test", "-e", "/etc/resolv.conf"], check=False).returncode == 1
