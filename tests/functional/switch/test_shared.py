"""A switch whose uplink the host keeps using: both have their own frames, and the host is as before in the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.functional.switch.rig import PREFIX6, Rig
from tests.hosts import wait_until


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with Rig() as made:
        # What the host learns by RA comes at some time: it would be no sign of ours.
        made.host.sh(f"""
            sysctl -qw net.ipv6.conf.eth3.accept_ra=0
            ip -6 addr flush dev eth3 scope global; ip -6 route flush dev eth3 proto ra
            ip -6 route flush {PREFIX6}/64 dev eth3
            ip addr add 192.168.3.2/24 dev eth3; ip route add default via 192.168.3.1
        """)
        yield made


def test_apps_and_the_host_use_one_uplink(rig: Rig) -> None:
    before = state(rig)
    cam, plc = rig.app("cam"), rig.app("plc")
    rig.configure({"cam": {}, "plc": {}}, switch={"shared": True})
    rig.wait_attached("cam", "plc")
    rig.daemon.wait_ready("sw")
    lease, other = cam.dhcp(), plc.dhcp()
    assert cam.fetch("http://192.168.3.1/") == f"gateway to {lease['ip']}\n"
    assert rig.host.fetch("http://192.168.3.1/") == "gateway to 192.168.3.2\n"
    plc.serve_page("plc")
    assert cam.fetch(f"http://{other['ip']}/") == f"plc to {lease['ip']}\n"
    assert rig.gateway.fetch(f"http://{other['ip']}/") == "plc to 192.168.3.1\n"
    wait_until(lambda: "inet6 2001" in cam.sh("ip addr show dev eth0"), what="an address by RA")
    assert "gateway" in cam.fetch(f"http://[{PREFIX6}1]/")
    assert rig.daemon.instance("sw")["uplinks"] == ["eth3"]
    mac = cam.sh("cat /sys/class/net/eth0/address").strip()
    assert mac in rig.host.sh("bridge fdb show dev eth3")
    with pytest.raises(AssertionError):  # not each other, by it
        cam.run(["ping", "-c", "1", "-W", "1", "192.168.3.2"])
    rig.daemon.configure({})

    def as_before() -> bool:
        now = state(rig)
        assert now == before, set(now.splitlines()) ^ set(before.splitlines())
        return True

    wait_until(as_before, what="the host is as before")
    assert rig.host.fetch("http://192.168.3.1/") == "gateway to 192.168.3.2\n"


def test_without_the_tables_an_app_reaches_nothing_of_the_host(rig: Rig) -> None:
    cam = rig.app("cam2")
    rig.host.serve_page("host", 8080)
    rig.configure({"cam2": {}}, switch={"shared": True})
    rig.wait_attached("cam2")
    rig.daemon.wait_ready("sw")
    cam.dhcp()
    rig.daemon.kill()
    rig.host.sh("nft flush ruleset")
    cam.sh("ip neigh flush dev eth0")
    mac = rig.host.sh("cat /sys/class/net/v-sw/address").strip()
    for neighbour in ("", f"ip neigh replace 192.168.3.2 lladdr {mac} dev eth0 nud permanent"):
        cam.sh(neighbour or "true")
        with pytest.raises(AssertionError, match=r"exit (7|28)"):
            cam.fetch("http://192.168.3.2:8080/", timeout=3)


def state(rig: Rig) -> str:
    return rig.host.sh("""
        ip -br link | sort; bridge fdb show dev eth3; nft list ruleset; ip rule; ip route show table all | sort
        sysctl net.ipv4.conf.eth3 net.ipv6.conf.eth3.forwarding
    """)
