"""No tunnel, no packet: whoever dies, whatever is flushed."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from tests.functional.vpn.world import APP, ECHO, PAGE, World, who_encrypts
from tests.hosts import wait_until


def ask(world: World) -> str:
    """Send what would leak: TCP, UDP, echo, of the app and of the namespace itself; return curl's words."""
    words = world.run("ni4/web", "curl", "-sS", "--max-time", "1", PAGE, check=False)
    for command in ("ping -q -c 20 -i 0.01 -w 1", "busybox nslookup -type=a x.test"):
        world.run("ni4/web", "sh", "-c", f"timeout 1 {command} {ECHO} || true")
    world.host.run(["ping", "-q", "-c", "5", "-i", "0.01", "-w", "1", ECHO], netns="ni4", check=False)
    return words


@contextlib.contextmanager
def held(*pids: int) -> Iterator[None]:
    """Stop processes, so that they mend nothing; the supervisor first, that would kill who doesn't answer."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)


def cut(world: World, charon: int) -> None:
    """Kill charon; return when the tunnel is gone. The kernel's ESP would outlive it."""
    os.kill(charon, signal.SIGKILL)
    if who_encrypts(world) == "kernel":
        world.host.sh("ip xfrm policy flush; ip xfrm state flush", netns="ni4")
    else:
        wait_until(lambda: "ipsec0" not in world.host.sh("ip link", netns="ni4"), what="the tunnel's link is gone")


def test_a_killed_charon_under_traffic_lets_nothing_out(world: World) -> None:
    world.wait_up("ni4")
    before = world.charon("ni4")
    with world.watched("ni4") as seen:
        flow = world.stream("ni4/web", ECHO)
        with held(world.daemon.pid, world.status("ni4").pid):
            cut(world, before)
            ask(world)
        wait_until(lambda: world.charon("ni4") != before, what="another charon")
        world.wait_up("ni4")
        counted = flow.stop()
        tunnelled, clear = seen()
    assert counted["lost"], counted  # it was cut while there was no tunnel
    assert any("UDP-encap: ESP" in packet for packet in tunnelled)
    assert clear == []
    assert world.fetch("ni4/web", PAGE) == f"cloud1 to {APP}"


@pytest.mark.parametrize(
    "broken",
    [
        "nft delete table inet nsvisor",
        "ip rule flush; ip rule add pref 0 lookup local; ip rule add pref 32766 lookup main",
    ],
    ids=["without nft", "without rules"],
)
def test_either_guard_alone_holds(world: World, broken: str) -> None:
    """Without our nft table the routes hold, without the rules that lead there our nft table does."""
    world.wait_up("ni4")
    pid = world.charon("ni4")
    with world.watched("ni4") as seen:
        with held(world.daemon.pid, world.status("ni4").pid):
            world.host.sh(broken, netns="ni4")
            cut(world, pid)
            ask(world)
        wait_until(lambda: world.charon("ni4") not in (0, pid), what="another charon")
        world.wait_up("ni4")
        assert world.fetch("ni4/web", PAGE) == f"cloud1 to {APP}"
        tunnelled, clear = seen()
    assert any("UDP-encap: ESP" in packet for packet in tunnelled)
    assert clear == []


def test_an_unreachable_peer_is_told_to_the_app_at_once(world: World) -> None:
    """The app hears "unreachable" rather than nothing, when there is no tunnel's link."""
    if who_encrypts(world) == "kernel":
        pytest.skip("the kernel's ESP and its link outlive charon")
    world.wait_up("ni4")
    pid = world.charon("ni4")
    with held(world.daemon.pid, world.status("ni4").pid):
        cut(world, pid)
        assert "Unreachable" in world.run("ni4/web", "ping", "-c", "1", "-w", "60", ECHO, check=False)
    world.wait_up("ni4")


def test_the_rules_stand_before_the_link_is_up(world: World) -> None:
    """What an instance's log tells of its birth: who is shut in first, and when a way out is opened."""
    log = world.host.read_file(f"{world.daemon.run_dir}/logs/ni5.log")
    shut = [
        log.index(words) for words in ("chain sealed_output", "unreachable default table 195", "pref 20 lookup 195")
    ]
    opened = [
        log.index(words) for words in ("ip link set up0", "charon-systemd")
    ]  # the link may come later than charon
    assert shut == sorted(shut)
    assert max(shut) < min(opened)
