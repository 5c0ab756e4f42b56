"""What is attached goes and comes back: it is waited for, and never an error of the instance."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from supervisor.names import app_mac
from tests.hosts import Daemon, Host, wait_until

TUN = """
import fcntl, os, struct, sys, time
fd = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", sys.argv[1].encode(), 0x1002))  # TUNSETIFF: a tap without header
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Host() as host, Daemon(host) as daemon:
        yield daemon


def configure(daemon: Daemon, **instances: Any) -> None:
    daemon.configure({"instances": instances})


def instance(apps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"subnet": "10.1.0.0/24", "uplinks": [], "apps": apps, **fields}


def app(daemon: Daemon, name: str, of: str = "red") -> dict[str, Any]:
    found = (one for one in daemon.get("apps") if (one["instance"], one["app"]) == (of, name))
    return next(found, {})


def wait_attached(daemon: Daemon, name: str, of: str = "red") -> None:
    wait_until(lambda: app(daemon, name, of).get("attached"), what=f"{name} is attached: {app(daemon, name, of)}")


def wait_told(daemon: Daemon, name: str, words: str) -> None:
    wait_until(lambda: words in str(app(daemon, name).get("reason")), what=f"{name}: {words}")
    assert daemon.instance("red")["state"] in ("ready", "starting", "waiting"), daemon.instance("red")
    daemon.wait_ready("red")


def links(daemon: Daemon, netns: str) -> str:
    return daemon.host.sh("ip -br link", netns=netns)


def test_a_namespace_that_goes_and_comes_back_is_linked_again(daemon: Daemon) -> None:
    host = daemon.host
    configure(daemon, red=instance({"box": {"attach": {"netns": "box"}, "address": "10.1.0.7"}}))
    wait_told(daemon, "box", "waiting for network namespace /run/netns/box")
    for _ in range(2):
        host.sh("ip netns add box")
        wait_attached(daemon, "box")
        assert "1 received" in host.sh("ping -c 1 -W 30 10.1.0.1", netns="box")
        assert host.sh("cat /sys/class/net/eth0/address", netns="box").strip() == str(app_mac("red", "box"))
        host.sh("ip netns del box")
        wait_told(daemon, "box", "waiting for network namespace /run/netns/box")
        assert "p-box" not in links(daemon, "red")


def test_a_namespace_pinned_anew_while_the_old_one_lives_is_the_one_linked(daemon: Daemon) -> None:
    host = daemon.host
    configure(daemon, red=instance({"box": {"attach": {"netns": "box"}, "address": "10.1.0.7"}}))
    host.sh("ip netns add box")
    wait_attached(daemon, "box")
    holder = host.start(["sh", "-c", "echo ready; exec sleep 600"], netns="box")
    host.sh("ip netns del box; ip netns add box")
    wait_until(lambda: "eth0" in links(daemon, "box"), what="the new one is linked")
    assert "eth0" not in host.sh(f"nsenter --net=/proc/{holder.pid}/ns/net ip -br link")
    holder.kill()
    host.sh("ip netns del box")


def test_a_dead_container_is_waited_for_and_its_link_is_gone(daemon: Daemon) -> None:
    host = daemon.host
    host.sh("ip netns add box")  # it outlives the container's process
    process = host.start(["sh", "-c", "echo ready; exec sleep 600"], netns="box")
    configure(daemon, red=instance({"box": {"attach": {"container": process.pid}}}))
    wait_attached(daemon, "box")
    process.kill()
    process.wait()
    wait_told(daemon, "box", f"waiting for process {process.pid}")
    wait_until(lambda: "eth0" not in links(daemon, "box"), what="the old ends are gone")
    assert "p-box" not in links(daemon, "red")
    host.sh("ip netns del box")


def test_an_app_has_interfaces_in_several_instances_and_several_in_one(daemon: Daemon) -> None:
    host = daemon.host
    host.sh("ip netns add box")
    first = {"attach": {"netns": "box"}, "address": "10.1.0.7"}
    second = {"attach": {"netns": "box", "ifname": "eth1"}, "address": "10.1.0.8"}
    other = {"attach": {"netns": "box", "ifname": "eth2", "configure": False}}
    configure(
        daemon,
        red=instance({"box": first, "box2": second}),
        blue=instance({"box": other}, subnet="10.2.0.0/24"),
    )
    for name, of in (("box", "red"), ("box2", "red"), ("box", "blue")):
        wait_attached(daemon, name, of)
    shown = host.sh("ip -br -4 addr", netns="box")
    assert "10.1.0.7/24" in shown
    assert "10.1.0.8/24" in shown
    assert "eth2" in links(daemon, "box")
    assert "10.2.0" not in shown
    configure(daemon, red=instance({"box": first}))
    wait_until(lambda: {"eth1", "eth2"}.isdisjoint(links(daemon, "box").replace("@", " ").split()), what="two are gone")
    assert "eth0" in links(daemon, "box")
    configure(daemon, red=instance({}))
    wait_until(lambda: "eth0" not in links(daemon, "box"), what="all are gone")
    host.sh("ip netns del box")


def test_only_the_first_default_route_is_set(daemon: Daemon) -> None:
    host = daemon.host
    host.sh("ip netns add box; ip link add eth9 type veth peer name wire; ip link set eth9 up; ip link set wire up")
    host.sh("ip addr add 192.0.2.2/24 dev eth9; ip route add default via 192.0.2.1 dev eth9")
    one = {"attach": {"netns": "box"}, "address": "10.1.0.7"}
    configure(daemon, red=instance({"box": one}, uplinks=["eth9"]))
    wait_attached(daemon, "box")
    assert host.sh("ip route show default", netns="box").strip() == "default via 10.1.0.1 dev eth0"
    two = {"attach": {"netns": "box", "ifname": "eth1"}, "address": "10.2.0.7"}
    configure(
        daemon,
        red=instance({"box": one}, uplinks=["eth9"]),
        blue=instance({"box": two}, uplinks=["eth9"], subnet="10.2.0.0/24"),
    )
    wait_attached(daemon, "box", "blue")
    assert host.sh("ip route show default", netns="box").strip() == "default via 10.1.0.1 dev eth0"
    host.sh("ip netns del box; ip link del eth9")


def test_neither_the_host_nor_an_instance_is_linked_to_an_instance(daemon: Daemon) -> None:
    host = daemon.host
    host.sh(f"ip netns attach mine {host.pid}")
    configure(daemon, red=instance({"box": {"attach": {"netns": "mine"}}}))
    wait_told(daemon, "box", "is the host's own or an instance's")
    assert "eth0" not in host.sh("ip -br link")
    host.sh("ip netns del mine")


@contextlib.contextmanager
def owner(host: Host, tap: str) -> Iterator[None]:
    """Whoever holds a tap open, as a hypervisor does."""
    process = host.start(["python3", "-c", TUN, tap])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_a_tap_that_goes_with_its_owner_is_taken_again_when_that_comes_back(daemon: Daemon) -> None:
    host = daemon.host
    configure(daemon, red=instance({"vm": {"attach": {"tap": "vm0"}}}))
    for _ in range(2):
        wait_told(daemon, "vm", "waiting for tap vm0")
        with owner(host, "vm0"):
            wait_attached(daemon, "vm")
            assert "master br0" in host.sh("ip link show vm0", netns="red")
        wait_until(lambda: not app(daemon, "vm")["attached"], what="the tap is gone")


def test_a_second_tap_of_the_name_takes_the_place_of_one_that_its_owner_left(daemon: Daemon) -> None:
    host = daemon.host
    configure(daemon, red=instance({"vm": {"attach": {"tap": "vm0"}}}))
    host.sh("ip tuntap add vm0 mode tap")  # stays when its owner closes it
    wait_attached(daemon, "vm")
    old = host.sh("cat /sys/class/net/vm0/address", netns="red")
    with owner(host, "vm0"):
        wait_until(lambda: host.sh("cat /sys/class/net/vm0/address", netns="red") != old, what="the new one is inside")
        wait_until(lambda: host.run(["test", "-e", "/sys/class/net/vm0"], check=False).returncode, what="not outside")
        wait_until(lambda: host.sh("cat /sys/class/net/vm0/carrier", netns="red") == "1\n", what="it is in use")
        daemon.wait_ready("red")
