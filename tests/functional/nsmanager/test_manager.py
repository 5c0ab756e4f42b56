"""A manager with the rights of its birth: its life, and what it says of itself."""

from __future__ import annotations

import os
import signal
from ipaddress import IPv4Interface

from pubsub.values import AddressRange
from tests.functional.nsmanager.rig import HOST_MAC, NAME, REPAIR, RUN_DIR, Rig
from tests.hosts import wait_until


def test_the_first_status_says_ready(running: Rig) -> None:
    status = running.wait_ready()
    assert [(service.name, service.pid, service.restarts) for service in status.services] == [
        ("dnsmasq", running.dnsmasq(), 0)
    ]
    assert not status.waiting
    assert not status.errors


def test_the_log_has_each_command_that_was_done_once(running: Rig) -> None:
    log = running.log()
    for command in ("ip addr add 10.1.0.1/24 dev br0", "ip route add default via 100.127.0.0", "table inet nsvisor {"):
        assert log.count(command) == 1


def test_the_heartbeat_goes_on_in_place(running: Rig) -> None:
    path = running.host.path(f"{RUN_DIR}/instances/{NAME}/heartbeat")
    inode, first = path.stat().st_ino, float(path.read_text())
    wait_until(lambda: float(path.read_text()) > first + 1)
    assert path.stat().st_ino == inode


def test_sigterm_ends_the_manager_alone(running: Rig) -> None:
    before, dnsmasq = running.state(), running.dnsmasq()
    os.kill(running.pid, signal.SIGTERM)
    wait_until(lambda: not running.alive(running.pid))
    assert running.state() == before
    assert running.alive(dnsmasq)


def test_a_manager_that_comes_back_adopts_its_dnsmasq(running: Rig) -> None:
    dnsmasq = running.dnsmasq()
    running.kill()
    running.start()
    wait_until(lambda: running.log().count("manager of red") == 2)
    running.publish(hosts={})  # answered by the new one only
    status = running.wait_ready()
    assert status.services[0].pid == running.dnsmasq() == dnsmasq
    assert running.log().count("started, version") == 1


def test_a_manager_that_lost_its_record_starts_no_second_dnsmasq(running: Rig) -> None:
    old = running.dnsmasq()
    running.kill()
    running.host.path(f"{RUN_DIR}/instances/{NAME}/dnsmasq.running").unlink()
    running.start()
    wait_until(lambda: running.dnsmasq() != old)
    assert not running.alive(old)
    running.wait_ready()


def test_drift_is_repaired_while_the_hub_is_dead(running: Rig) -> None:
    running.hub.kill()
    running.hub.wait()
    running.inside("ip route del default")
    wait_until(lambda: running.inside("ip route show default"), REPAIR)
    running.inside("nft delete table inet nsvisor")
    wait_until(lambda: "nsvisor" in running.inside("nft list tables"), REPAIR)
    running.start_hub()
    running.publish(hosts={})
    running.wait_ready()


def test_an_apps_port_is_waited_for(rig: Rig) -> None:
    rig.publish(apps=(rig.app(ifname="p-web"),))
    rig.start()
    status = wait_until(rig.status)
    assert status is not None
    assert not status.ready
    assert status.waiting == ("link p-web is not there yet",)
    rig.attach("web")
    assert rig.wait_ready(REPAIR).ports == ("p-web",)


def test_a_link_to_the_host_that_comes_late_is_taken(rig: Rig) -> None:
    rig.host.sh(f"ip link del v-{NAME}")
    rig.start()
    status = wait_until(rig.status)
    assert status is not None
    assert status.waiting == ("link up0 is not there yet",)
    rig.host.sh(f"ip link add v-{NAME} address {HOST_MAC} group 196 up type veth peer name up0 netns {NAME}")
    rig.wait_ready(REPAIR)


def test_a_strangers_bridge_is_an_error_and_stays(rig: Rig) -> None:
    rig.inside("ip link add br0 mtu 1400 type bridge")
    rig.start()
    status = wait_until(rig.status)
    assert status is not None
    assert "ip link set br0" in status.errors[0]
    assert "exists and is not ours" in status.errors[0]
    assert "mtu 1400" in rig.inside("ip link show br0")
    rig.inside("ip link del br0")
    rig.wait_ready(REPAIR)


def test_a_changed_config_changes_what_differs_only(running: Rig) -> None:
    log = running.log()
    running.publish(
        bridge=IPv4Interface("10.2.0.1/24"), range=AddressRange.parse("10.2.0.64-10.2.0.99"), hosts={}, apps=()
    )
    running.wait_ready()
    done = running.log().removeprefix(log)
    assert "ip addr add 10.2.0.1/24 dev br0" in done
    assert "ip addr del 10.1.0.1/24 dev br0" in done
    assert "ip link" not in done
    assert "route" not in done
