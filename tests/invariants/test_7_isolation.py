"""Invariant 7: one instance's trouble stays there: the others' packets, processes and kernel objects don't notice."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pubsub.topics import State
from supervisor.backoff import WINDOW
from tests.hosts import DEADLINE, wait_until
from tests.invariants.rig import TWO_TENANTS, Rig, alive, finish, kill

FULL = "/var/lib/nsvisor/instances/full"
SUBSCRIBER = """
import asyncio, sys, pubsub
from pathlib import Path
from pubsub.topics import NetworkInstanceStatus
async def main():
    async with pubsub.connect(Path(sys.argv[1]), agent="slow") as bus:
        async for change in bus.subscribe(NetworkInstanceStatus, agent="supervisor"):
            print("ready", flush=True)
asyncio.run(main())
"""
HOLDER = """
import socket, sys, time
with socket.create_server((sys.argv[1], int(sys.argv[2]))):
    print("ready", flush=True)
    time.sleep(1000)
"""


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    made = Rig({**TWO_TENANTS, "full": {"subnet": "10.5.0.0/24"}}, expected=("red", "blue"))
    # Room for folders, none for the content of a file.
    made.host.sh(
        f"mkdir -p {FULL}; mount -t tmpfs -o size=4k,mode=755 tmpfs {FULL}; head -c 4096 /dev/zero > {FULL}/fill"
    )
    with made:
        yield made


@pytest.fixture(scope="module")
def app(rig: Rig) -> Iterator[int]:
    with rig.app("red", "web") as pid:
        rig.serve_flows()
        yield pid


def belongings(rig: Rig, name: str) -> list[object]:
    """Return what is an instance's own: its processes, namespace and link."""
    link = rig.host.sh(f"ip -o link show v-{name}").partition(":")[0]
    return [rig.manager(name), rig.dnsmasq(name), rig.inode(name), link, rig.status(name).restarts]


@contextlib.contextmanager
def undisturbed(rig: Rig, app: int) -> Iterator[None]:
    """See that red notices nothing of what happens in the context."""
    before = belongings(rig, "red")
    flow = rig.outwards(app)
    yield
    (counted,) = finish(flow)
    assert counted["lost"] == 0 < counted["sent"], counted
    assert belongings(rig, "red") == before
    assert rig.ready("red")
    assert alive(rig.daemon.pid)


def living(rig: Rig, name: str) -> int:
    """Return the pid of an instance's manager, 0 when it doesn't live."""
    pid = rig.manager(name)
    return pid if alive(pid) else 0


def change_and_wait(rig: Rig, name: str, domain: str) -> None:
    """Change an instance's config and see it done: whoever is in the way of that disturbs."""
    rig.instances[name]["dns"] = {"domain": domain}
    rig.configure()
    conf = rig.daemon.run_dir / f"instances/{name}/dnsmasq.conf"
    wait_until(lambda: f"domain={domain}" in rig.host.read_file(conf), what=f"{name}'s new domain")


def test_an_invalid_config(rig: Rig, app: int) -> None:
    with undisturbed(rig, app):
        rig.instances["blue"]["subnet"] = "10.1.0.0/33"
        rig.configure()
        wait_until(lambda: "subnet" in rig.status("blue").last_error, what="blue's error")
        status = rig.status("blue")
        assert status.state == State.DEGRADED  # serves as before
        assert "test.yaml" in status.reason
        assert rig.reaches_outside("blue")
        rig.instances["blue"]["subnet"] = TWO_TENANTS["blue"]["subnet"]
        rig.configure()
        rig.wait_ready("blue")


def test_a_file_that_is_no_yaml(rig: Rig, app: int) -> None:
    with undisturbed(rig, app):
        rig.daemon.configure("instances: {green: [", "broken.yaml")
        wait_until(lambda: "broken.yaml" in rig.daemon.log(), what="the error")
        rig.host.path("/etc/nsvisor/broken.yaml").unlink()


def test_a_hung_manager(rig: Rig, app: int) -> None:
    hung = rig.manager("blue")
    with undisturbed(rig, app):
        os.kill(hung, signal.SIGSTOP)
        wait_until(lambda: (status := rig.ready("blue")) and status.pid != hung, what="blue's next manager")
        assert not alive(hung)
        assert f"manager (pid {hung}) hangs: no heartbeat" in rig.daemon.log()


def test_a_crash_loop(rig: Rig, app: int) -> None:
    """It is visible, said to be what it is, and said to be over when it is."""
    rig.instances["loop"] = {"subnet": "10.6.0.0/24"}
    rig.configure()
    rig.wait_ready("loop")
    with undisturbed(rig, app):
        for _ in range(5):
            kill(wait_until(lambda: living(rig, "loop"), what="loop's manager"))
        wait_until(lambda: rig.status("loop").state == State.FAILED, what="the crash loop in the status")
        assert "crash loop" in rig.status("loop").reason
        assert "killed by SIGKILL" in rig.status("loop").last_error
        change_and_wait(rig, "blue", "crash.internal")
    rig.wait_ready("loop", timeout=WINDOW + DEADLINE)  # nothing else happens to it
    del rig.instances["loop"]
    rig.configure()
    wait_until(lambda: "v-loop" not in rig.host.sh("ip -br link"), what="loop's end")


def test_a_service_that_cannot_start(rig: Rig, app: int) -> None:
    with undisturbed(rig, app):
        os.kill(rig.manager("blue"), signal.SIGSTOP)  # it must not be faster than we
        kill(rig.dnsmasq("blue"))
        holder = rig.host.start([sys.executable, "-c", HOLDER, "10.1.0.1", "53"], netns="blue")
        os.kill(rig.manager("blue"), signal.SIGCONT)
        wait_until(lambda: rig.status("blue").state == State.DEGRADED, what="blue's trouble")
        assert "dnsmasq" in rig.status("blue").reason
        kill(holder.pid)
        rig.wait_ready("blue")


def test_a_full_disk(rig: Rig, app: int) -> None:
    with undisturbed(rig, app):
        assert rig.host.run(["sh", "-c", f"echo more > {FULL}/more"], check=False).returncode != 0
        assert rig.status("full").pid  # it does what can be done without a disk
        old = rig.manager("full")
        kill(old)
        wait_until(lambda: rig.manager("full") not in {0, old}, what="full's manager")
        change_and_wait(rig, "blue", "disk.internal")


def test_a_subscriber_that_stands_still(rig: Rig, app: int) -> None:
    argv = [sys.executable, "-c", SUBSCRIBER, str(rig.daemon.run_dir)]
    reader = rig.host.popen(argv, env=rig.daemon.environment, stdout=subprocess.PIPE)
    assert reader.stdout
    assert reader.stdout.readline() == "ready\n"
    os.kill(reader.pid, signal.SIGSTOP)
    with undisturbed(rig, app):
        for number in range(3):
            change_and_wait(rig, "blue", f"slow{number}.internal")
            rig.wait_ready("blue")
    reader.kill()


def test_what_disturbs_is_seen(rig: Rig, app: int) -> None:
    """Without this the tests above could pass though nothing was looked at."""

    def disturb() -> None:
        with undisturbed(rig, app):
            kill(rig.manager("red"))
            wait_until(lambda: alive(rig.manager("red")), what="red's manager")
            rig.wait_ready("red")

    with pytest.raises(AssertionError):
        disturb()
