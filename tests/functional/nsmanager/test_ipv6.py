"""IPv6 of an instance: real radvd, dnsmasq and clients, and the way out and in."""

from __future__ import annotations

import os
import signal
import subprocess
from ipaddress import IPv6Interface
from pathlib import Path

import pytest

from pubsub.topics import Dhcp6Mode
from tests.functional.nsmanager.rig import APP6, BRIDGE6, LINK, LINK6, NAME, REPAIR, RUN_DIR, Rig
from tests.hosts import DEADLINE, Host, wait_until

REFUSED = "(?s)exit (7|28)"  # of curl: no connection, no answer in time
DHCLIENT = Path("/run/dhclient.script")
# Only tells what it got: dhclient-script(8).
SCRIPT = """#!/bin/sh
case $reason in BOUND6|RENEW6|REBIND6) set | grep ^new_ > /run/lease6
    ip -6 addr replace "$new_ip6_address/128" dev eth0 nodad;; esac
exit 0
"""


@pytest.fixture
def app(rig: Rig) -> Host:
    """The app of an instance with IPv6, in stateless mode."""
    return rig.with_ipv6()


def addresses(host: Host, ifname: str = "eth0", netns: str = "") -> list[str]:
    """Return the IPv6 addresses of a link that are no link-local ones."""
    shown = host.run(["ip", "-o", "-6", "addr", "show", "dev", ifname, "scope", "global"], netns=netns).stdout
    return sorted(line.split()[3] for line in shown.splitlines())


def router(host: Host) -> str:
    """Return the host's IPv6 router; empty when it has none."""
    words = host.run(["ip", "-6", "route", "show", "default"]).stdout.split()
    return words[2] if words else ""


def online(app: Host) -> Host:
    """Return the app when it has its address and router."""
    wait_until(lambda: addresses(app) == [f"{APP6}/64"] and router(app), what="SLAAC")
    return app


def advertisement(app: Host) -> str:
    """Return a router advertisement as tcpdump explains it, which the app asked for."""
    words = ["tcpdump", "--immediate-mode", "-Z", "root", "-vv", "-l", "-nn", "-i", "eth0", "-c", "1"]
    shown = app.popen([*words, "ip6[40] == 134"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert shown.stderr
    while "listening" not in shown.stderr.readline():
        assert shown.poll() is None
    app.sh("ip link set eth0 down; ip link set eth0 up")  # a link that comes up asks for routers
    return str(shown.communicate(timeout=DEADLINE)[0])


def lease6(app: Host, *options: str) -> dict[str, str]:
    """Ask by a real DHCPv6 client, which runs to its first answer; return what the server told."""
    app.put_file(DHCLIENT, SCRIPT, 0o755)
    files = ["-lf", "/run/leases6", "-pf", "/run/dhclient6.pid", "-cf", "/dev/null"]
    app.run(["dhclient", "-6", "-1", *options, *files, "-sf", DHCLIENT, "eth0"])
    app.run(["dhclient", "-6", "-x", *files, "-sf", "/bin/true", "eth0"], check=False)
    pairs = [line.partition("=") for line in app.read_file("/run/lease6").splitlines()]
    return {name.removeprefix("new_"): value.strip("'") for name, _, value in pairs}


def resolve6(app: Host, name: str) -> str:
    """Return what the instance's DNS answers over IPv6."""
    output = app.sh(f"busybox nslookup -type=aaaa {name} {BRIDGE6.ip}")
    return output.rpartition("Address:")[2].strip()


def test_an_app_gets_the_predicted_address_and_its_router(rig: Rig, app: Host) -> None:
    online(app)
    link_local = rig.inside("ip -o -6 addr show dev br0 scope link").split()[3].split("/")[0]
    assert router(app) == link_local
    app.sh(f"ping -6 -c 1 -W 30 {BRIDGE6.ip}; ping -6 -c 1 -W 30 {link_local}%eth0")


def test_the_advertisement_tells_prefix_mtu_and_dns(rig: Rig, app: Host) -> None:
    rig.publish(mtu=1400)
    rig.wait_ready()
    told = advertisement(app)
    assert "Flags [other stateful]" in told
    assert "prefix info option (3), length 32 (4): fd00:1::/64, Flags [onlink, auto]" in told
    assert "mtu option (5), length 8 (1):  1400" in told
    assert f"addr: {BRIDGE6.ip}" in told
    assert "red.internal." in told


def test_a_change_is_told_without_a_new_radvd(rig: Rig, app: Host) -> None:
    online(app)
    radvd, dnsmasq = rig.service("radvd"), rig.dnsmasq()
    rig.publish(mtu=1400)
    rig.wait_ready()
    wait_until(lambda: app.sh("sysctl -n net.ipv6.conf.eth0.mtu") == "1400\n", what="the advertised MTU")
    assert (radvd, dnsmasq) == (rig.service("radvd"), rig.dnsmasq())
    assert rig.alive(radvd)


def test_the_rest_comes_by_stateless_dhcp(app: Host) -> None:
    lease = lease6(online(app), "-S")
    assert lease["dhcp6_name_servers"] == str(BRIDGE6.ip)
    assert lease["dhcp6_domain_search"] == "red.internal."
    assert addresses(app) == [f"{APP6}/64"]


def test_an_app_gets_the_same_address_by_stateful_dhcp(rig: Rig) -> None:
    app = rig.with_ipv6(dhcp6=Dhcp6Mode.STATEFUL)
    wait_until(lambda: router(app), what="the router")
    assert addresses(app) == []
    lease = lease6(app)
    assert lease["ip6_address"] == str(APP6)
    assert lease["dhcp6_name_servers"] == str(BRIDGE6.ip)
    app.sh(f"ping -6 -c 1 -W 30 {LINK6.gateway6}")


def test_a_stranger_gets_an_address_of_the_range_by_stateful_dhcp(rig: Rig) -> None:
    rig.with_ipv6(dhcp6=Dhcp6Mode.STATEFUL)
    other = rig.attach("other")
    rig.inside("ip link set p-other master br0 up")
    wait_until(lambda: router(other), what="the router")
    assert lease6(other)["ip6_address"].startswith("fd00:1::1:")


def test_dns_knows_the_apps_by_both_addresses(rig: Rig, app: Host) -> None:
    online(app)
    assert resolve6(app, "web.red.internal") == str(APP6)
    dnsmasq = rig.dnsmasq()
    changed = rig.app(ifname="p-web", name="shop", address6=APP6)
    rig.publish(apps=(changed,))
    rig.wait_ready()
    wait_until(lambda: resolve6(app, "shop.red.internal") == str(APP6))
    assert rig.dnsmasq() == dnsmasq


def test_apps_go_out_by_the_links_address(rig: Rig, app: Host) -> None:
    rig.host.serve_page("host")
    assert LINK6.address6 is not None
    page = online(app).fetch(f"http://[{LINK6.gateway6}]/")
    assert page.startswith(f"host to {LINK6.address6.ip}")


def test_a_routed_prefix_keeps_its_addresses_and_lets_nobody_in(rig: Rig) -> None:
    app = online(rig.with_ipv6(nat6=False))
    assert LINK6.address6 is not None
    rig.host.sh(f"ip -6 route add {BRIDGE6.network} via {LINK6.address6.ip}")
    rig.host.serve_page("host")
    app.serve_page("web")
    assert app.fetch(f"http://[{LINK6.gateway6}]/").startswith(f"host to {APP6}")
    with pytest.raises(AssertionError, match=REFUSED):
        rig.host.fetch(f"http://[{APP6}]/", timeout=0.5)
    assert rig.host.fetch(f"http://[{LINK6.address6.ip}]:8080/").startswith("web to")


def test_a_port_map_leads_to_the_app(rig: Rig, app: Host) -> None:
    online(app).serve_page("web")
    assert LINK6.address6 is not None
    assert rig.host.fetch(f"http://[{LINK6.address6.ip}]:8080/").startswith(f"web to {LINK6.gateway6}")
    with pytest.raises(AssertionError, match=REFUSED):
        rig.host.fetch(f"http://[{LINK6.address6.ip}]:81/", timeout=0.5)


def test_a_killed_radvd_is_back(rig: Rig, app: Host) -> None:
    online(app)
    old = rig.service("radvd")
    helper = Path(f"/proc/{old}/task/{old}/children").read_text().split()
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: rig.service("radvd") != old and rig.alive(rig.service("radvd")), REPAIR)
    rig.wait_ready()
    assert helper
    wait_until(lambda: not any(rig.alive(int(pid)) for pid in helper), what="the end of the old one's helper")


def test_a_radvd_is_started_though_a_helper_holds_on_to_the_last_ones_files(rig: Rig, app: Host) -> None:
    online(app)
    old = rig.service("radvd")
    helpers = [int(pid) for pid in Path(f"/proc/{old}/task/{old}/children").read_text().split()]
    for pid in helpers:
        os.kill(pid, signal.SIGSTOP)
    rig.inside("ip link del br0")  # for the new one it must be started anew
    wait_until(lambda: rig.service("radvd") != old and rig.alive(rig.service("radvd")), REPAIR)
    rig.wait_ready()
    assert any(rig.alive(pid) for pid in helpers)
    for pid in helpers:
        os.kill(pid, signal.SIGCONT)
    assert "unable to lock" not in rig.log()


def test_a_killed_radvds_pid_may_be_the_longer_one(rig: Rig, app: Host) -> None:
    """As when the kernel begins again with small ones: the file isn't cut off."""
    online(app)
    old = rig.service("radvd")
    os.kill(rig.pid, signal.SIGSTOP)  # it must not be faster than we
    os.kill(old, signal.SIGKILL)
    rig.host.path(f"{RUN_DIR}/instances/{NAME}/radvd.pid").write_text(f"{old}9999\n9\n")
    os.kill(rig.pid, signal.SIGCONT)
    wait_until(lambda: rig.alive(rig.service("radvd")), REPAIR)
    rig.wait_ready()
    assert "died at once" not in rig.log()


def test_a_manager_that_comes_back_adopts_radvd(rig: Rig, app: Host) -> None:
    online(app)
    radvd = rig.service("radvd")
    rig.kill()
    rig.start()
    wait_until(lambda: rig.log().count("manager of red") == 2)
    rig.publish(hosts={})
    status = rig.wait_ready()
    assert {service.name: service.pid for service in status.services} == {"dnsmasq": rig.dnsmasq(), "radvd": radvd}


def test_radvd_has_no_rights(rig: Rig, app: Host) -> None:
    online(app)
    status = Path(f"/proc/{rig.service('radvd')}/status").read_text()
    assert "CapEff:\t0000000000000000" in status
    owner = Path(f"/proc/{rig.service('radvd')}").stat().st_uid
    assert owner != Path(f"/proc/{rig.pid}").stat().st_uid


def test_switched_off_nothing_of_ipv6_stays(rig: Rig, app: Host) -> None:
    online(app)
    radvd = rig.service("radvd")
    rig.publish(link=LINK, bridge6=None, apps=(rig.app(ifname="p-web"),))
    rig.wait_ready()
    for ifname in ("br0", "up0", "lo"):
        assert not rig.inside(f"ip -6 addr show dev {ifname}"), ifname
    assert not rig.alive(radvd)
    assert "dhcp-range=fd00" not in rig.host.read_file(f"{RUN_DIR}/instances/{NAME}/dnsmasq.conf")
    rig.publish(link=LINK6, bridge6=IPv6Interface("fd00:2::1/64"))
    rig.wait_ready()
    wait_until(lambda: "fd00:2::ff:fe00:80/64" in addresses(app))
