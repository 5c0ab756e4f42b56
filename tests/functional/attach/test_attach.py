"""What others made is taken into an instance and given back: a container's namespace, a tap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.hosts import Daemon, Host, wait_until


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Host() as host, Daemon(host) as daemon:
        yield daemon


def configure(daemon: Daemon, apps: dict[str, Any]) -> None:
    daemon.configure({"instances": {"red": {"subnet": "10.1.0.0/24", "uplinks": [], "apps": apps}}})


def app(daemon: Daemon, name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = [one for one in daemon.get("apps") if one["app"] == name]
    return found[0] if found else {}


@pytest.fixture
def container(daemon: Daemon) -> Iterator[int]:
    """A process in a network namespace of its own, as a container runtime leaves it; its pid."""
    host = daemon.host
    host.sh("ip netns add box")
    process = host.start(["sh", "-c", "echo ready; exec sleep 300"], netns="box")
    yield process.pid
    process.kill()
    process.wait()
    host.sh("ip netns del box")


def test_a_container_is_linked_configured_and_let_go(daemon: Daemon, container: int) -> None:
    host = daemon.host
    configure(daemon, {"box": {"attach": {"container": container}, "address": "10.1.0.7"}})
    wait_until(lambda: app(daemon, "box").get("attached"), what="the container is on the bridge")
    assert " 10.1.0.7/24 " in host.sh("ip -br -4 addr show eth0", netns="box")
    assert "1 received" in host.sh("ping -c 1 -W 30 10.1.0.1", netns="box")
    assert app(daemon, "box")["kind"] == "container"
    configure(daemon, {})
    wait_until(lambda: "eth0" not in host.sh("ip -br link", netns="box"), what="the container's link is gone")


def test_a_container_with_a_link_of_that_name_is_told(daemon: Daemon, container: int) -> None:
    host = daemon.host
    host.sh("ip link add eth0 type veth peer name other", netns="box")
    configure(daemon, {"box": {"attach": {"container": container}}})
    wait_until(lambda: "eth0 already" in str(app(daemon, "box").get("reason")), what="the reason is told")
    host.sh("ip link del eth0", netns="box")
    configure(daemon, {"box": {"attach": {"container": container}}, "more": {}})
    wait_until(lambda: app(daemon, "box").get("attached"), what="the container is attached once the name is free")
    configure(daemon, {})
    wait_until(lambda: "eth0" not in host.sh("ip -br link", netns="box"), what="the container's link is gone")


def test_a_tap_is_waited_for_lent_and_back_on_the_host(daemon: Daemon) -> None:
    host = daemon.host
    configure(daemon, {"vm": {"attach": {"tap": "tap7"}}})
    wait_until(lambda: "waiting for tap tap7" in str(app(daemon, "vm").get("reason")), what="the tap is waited for")
    host.sh("ip tuntap add tap7 mode tap")
    wait_until(lambda: app(daemon, "vm").get("attached"), what="the tap is on the bridge")
    assert "master br0" in host.sh("ip -n red link show tap7")
    configure(daemon, {})
    wait_until(lambda: "tap7" in host.sh("ip -br link"), what="the tap is back on the host")
    configure(daemon, {"vm": {"attach": {"tap": "tap7"}}})
    wait_until(lambda: app(daemon, "vm").get("attached"), what="the tap is lent again")
    daemon.configure({})
    wait_until(lambda: "tap7" in host.sh("ip -br link"), what="the tap outlives the instance")
    host.sh("ip tuntap del tap7 mode tap")


def test_what_is_no_tap_stays_where_it_is(daemon: Daemon) -> None:
    host = daemon.host
    host.sh("ip link add dumb type bridge")
    configure(daemon, {"vm": {"attach": {"tap": "dumb"}}})
    wait_until(lambda: "is no tap" in str(app(daemon, "vm").get("reason")), what="the reason is told")
    assert "dumb" in host.sh("ip -br link")
    host.sh("ip link del dumb")
