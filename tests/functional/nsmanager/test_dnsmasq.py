"""A real dnsmasq, supervised by its manager, and real DHCP clients."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from ipaddress import IPv4Address, IPv4Network

import pytest

from nsmanager.children import FIRST_DELAY
from pubsub.topics import Lease, Route
from tests.functional.nsmanager.rig import REPAIR, Rig
from tests.hosts import Host, wait_until
from tests.hosts.host import DHCP_SCRIPT

HOLD_PORT = """
import signal, socket
taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
taken.bind(("", 67))
print("ready", flush=True)
signal.pause()
"""
MAC = "02:00:00:00:00:80"
PAUSE = "started again after a pause"


@pytest.fixture
def app(rig: Rig) -> Host:
    """An app that has the MAC of the config's, and its port on the bridge of a running instance."""
    rig.publish(apps=(rig.app(ifname="p-web"),))
    app = rig.attach("web", MAC)
    rig.start()
    rig.wait_ready()
    return app


def resolve(app: Host, name: str) -> str:
    """Return what the instance's DNS answers; raises AssertionError when it has no answer."""
    output = app.sh(f"busybox nslookup -type=a {name} 10.1.0.1")
    return output.rpartition("Address:")[2].strip()


def leases(rig: Rig) -> tuple[Lease, ...]:
    status = rig.status()
    return status.leases if status else ()


def test_a_lease_carries_all_options(rig: Rig, app: Host) -> None:
    rig.publish(
        mtu=1400,
        ntp=(IPv4Address("192.0.2.123"),),
        routes=(Route(to=IPv4Network("198.51.100.0/24"), via=IPv4Address("10.1.0.2")),),
    )
    rig.wait_ready()
    ask = [word for option in ("mtu", "ntpsrv", "staticroutes") for word in ("-O", option)]
    app.run(["busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-s", DHCP_SCRIPT, *ask])
    lines = app.read_file("/run/dhcp-lease.eth0").splitlines()
    lease = {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines)}
    assert lease["ip"] == "10.1.0.80"
    assert lease["mask"] == "24"
    assert lease["router"] == lease["dns"] == lease["serverid"] == "10.1.0.1"
    assert lease["domain"] == "red.internal"
    assert lease["mtu"] == "1400"
    assert lease["ntpsrv"] == "192.0.2.123"
    assert lease["staticroutes"] == "0.0.0.0/0 10.1.0.1 198.51.100.0/24 10.1.0.2"
    assert lease["lease"] == "3600"


def test_a_stranger_gets_an_address_of_the_range(rig: Rig, app: Host) -> None:
    other = rig.attach("other")
    rig.inside("ip link set p-other master br0 up")
    lease = other.dhcp(hostname="laptop")
    assert rig.config.range
    assert IPv4Address(lease["ip"]) in rig.config.range
    found = wait_until(lambda: leases(rig))
    assert [(str(one.address), one.hostname) for one in found] == [(lease["ip"], "laptop")]
    assert resolve(app_with_address(app), "laptop.red.internal") == lease["ip"]


def app_with_address(app: Host) -> Host:
    app.dhcp()
    return app


def test_new_hosts_are_served_without_a_restart(rig: Rig, app: Host) -> None:
    lease = app.dhcp()
    dnsmasq = rig.dnsmasq()
    assert resolve(app, "printer.red.internal") == "10.1.0.9"
    rig.publish(hosts={"scanner": IPv4Address("10.1.0.10"), "outside.example": IPv4Address("192.0.2.1")})
    rig.wait_ready()
    wait_until(lambda: resolve(app, "scanner.red.internal") == "10.1.0.10")
    assert resolve(app, "outside.example") == "192.0.2.1"
    assert rig.dnsmasq() == dnsmasq
    assert rig.log().count("started, version") == 1
    assert [str(one.address) for one in wait_until(lambda: leases(rig))] == [lease["ip"]]


def test_leases_survive_a_restart(rig: Rig, app: Host) -> None:
    other = rig.attach("other")
    rig.inside("ip link set p-other master br0 up")
    first = other.dhcp()["ip"]
    wait_until(lambda: leases(rig))
    dnsmasq = rig.dnsmasq()
    rig.publish(domain="other.internal")
    rig.wait_ready()
    assert rig.dnsmasq() != dnsmasq
    assert [str(one.address) for one in leases(rig)] == [first]
    assert other.dhcp()["ip"] == first
    assert app.dhcp()["domain"] == "other.internal"


def kill_dnsmasq(rig: Rig) -> tuple[float, float]:
    """Kill it and wait for the next one; return before and after on the monotonic clock."""
    pid, before = rig.dnsmasq(), time.monotonic()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: rig.dnsmasq() != pid and rig.alive(rig.dnsmasq()))
    return before, time.monotonic()


def test_a_killed_dnsmasq_is_back_at_once_and_then_with_pauses(rig: Rig, app: Host) -> None:
    began = time.monotonic()
    wait_until(lambda: time.monotonic() > began + FIRST_DELAY)  # dnsmasq is as old as that, at least
    killed, _ = kill_dnsmasq(rig)
    assert PAUSE not in rig.log()
    for pause in (2 * FIRST_DELAY, 4 * FIRST_DELAY):  # from a start to the next; the kill was before the first
        next_kill, back = kill_dnsmasq(rig)
        assert back - killed >= pause
        killed = next_kill
    status = rig.wait_ready()
    assert status.services[0].restarts == 3
    app.dhcp()


def test_a_dead_dnsmasq_is_told_of_while_it_waits(running: Rig) -> None:
    rig = running

    def told() -> bool:
        """Kill it as often as it takes: the pause grows until it is long enough to be seen."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(rig.dnsmasq(), signal.SIGKILL)
        status = rig.status()
        return bool(status and not status.ready and PAUSE in status.services[0].error)

    wait_until(told)
    rig.wait_ready()


def test_a_dnsmasq_that_cannot_start_is_an_error_in_words(rig: Rig) -> None:
    holder = rig.host.start([sys.executable, "-c", HOLD_PORT], netns="red")
    rig.start()
    status = wait_until(rig.status)
    assert status is not None
    command = "dnsmasq --conf-file=/run/nsvisor/instances/red/dnsmasq.conf"
    assert status.errors == (f"{command}: ended with status 2; see the instance's log",)
    assert "Address already in use" in rig.log()
    holder.kill()
    holder.wait()
    rig.wait_ready()


def test_apps_get_leases_on_a_bridge_that_was_made_anew(rig: Rig, app: Host) -> None:
    assert app.dhcp()["ip"] == "10.1.0.80"
    rig.inside("ip link del br0")
    wait_until(lambda: "p-web" in rig.inside("ip link show master br0"), REPAIR)
    rig.wait_ready()
    assert app.dhcp()["ip"] == "10.1.0.80"
    assert resolve(app, "printer.red.internal") == "10.1.0.9"
