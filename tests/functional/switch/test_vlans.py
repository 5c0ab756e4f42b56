"""VLANs of a switch's apps: each port is an access port of its own, the uplink carries all of them tagged."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from functools import partial

import pytest

from tests.functional.switch.rig import Rig
from tests.hosts import Capture, Host, wait_until

TRIED = subprocess.run(
    ["unshare", "--net", "ip", "link", "add", "x", "type", "bridge", "vlan_filtering", "1"],
    capture_output=True, check=False,
)  # fmt: skip
needs_vlans = pytest.mark.skipif(TRIED.returncode != 0, reason="this kernel's bridges have no VLANs; scripts/test-vm")
VLANS = {"cam": 20, "mic": 20, "fan": 30, "plc": 0}
ADDRESSES = {"cam": "192.168.20.7", "mic": "192.168.20.8", "fan": "192.168.20.9", "plc": "192.168.20.10"}
UPLINK = {1: ["PVID", "Egress Untagged"], 20: [], 30: []}  # what it carries, and how
ROUTER = "192.168.20.1"  # in VLAN 20, beyond the uplink


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    """All apps are in one IP network, whatever their VLAN."""
    with Rig() as made:
        for app in VLANS:
            made.app(app)
        if not TRIED.returncode:
            made.gateway.sh(f"""
                ip link add link g-eth3 name tagged type vlan id 20
                ip link set tagged up; ip addr add {ROUTER}/24 dev tagged
            """)
            configure(made)
            for app in VLANS:
                give_address(made, app)
                made.host_of(app).serve_page(app)
        yield made


def give_address(rig: Rig, app: str) -> None:
    rig.host_of(app).sh(f"ip link set eth0 up; ip addr replace {ADDRESSES[app]}/24 dev eth0")


def configure(rig: Rig, **changed: Mapping[str, object]) -> None:
    """Have the apps in their VLANs, but for what is changed; wait until it is so."""
    apps = {app: {"vlan": vlan, **changed.get(app, {})} for app, vlan in VLANS.items()}
    rig.configure(apps)
    rig.wait_attached(*apps)
    vlans = {app: int(str(config.get("vlan", 0))) for app, config in apps.items()}
    wait_until(partial(are_in, rig, vlans), what="the ports' VLANs")
    rig.daemon.wait_ready("sw")


def are_in(rig: Rig, vlans: dict[str, int]) -> bool:
    """Compare what the kernel has; without any VLAN its bridge filters none."""
    told = rig.host.sh("cat /sys/class/net/br0/bridge/vlan_filtering", netns="sw").strip()
    assert told == str(int(any(vlans.values())))
    for app, vlan in vlans.items() if told == "1" else ():
        assert vlans_of(rig, port(rig, app)) == {vlan or 1: ["PVID", "Egress Untagged"]}
    return True


def vlans_of(rig: Rig, ifname: str) -> dict[int, list[str]]:
    """Return the VLANs of a link of the switch, with their flags."""
    listed = json.loads(rig.host.sh(f"bridge -json vlan show dev {ifname}", netns="sw"))
    return {one["vlan"]: one.get("flags", []) for link in listed for one in link["vlans"]}


def port(rig: Rig, app: str) -> str:
    """Return the link of the switch that leads to an app: the one whose end the app has."""
    index = rig.host_of(app).sh("cat /sys/class/net/eth0/iflink").strip()
    links = rig.host.sh("ip -o link show master br0", netns="sw").splitlines()
    return next(line.split()[1].partition("@")[0] for line in links if line.split(":")[0] == index)


def mac(app: Host) -> str:
    return app.sh("cat /sys/class/net/eth0/address").strip()


def seen_by(rig: Rig, sender: str, script: str) -> set[str]:
    """Return which apps see a frame of another one, that runs a script."""
    with contextlib.ExitStack() as stack:
        captures = {
            app: stack.enter_context(Capture(rig.host_of(app), "eth0", f"ether src {mac(rig.host_of(sender))}"))
            for app in VLANS
            if app != sender
        }
        rig.host_of(sender).sh(script)
    return {app for app, capture in captures.items() if capture.packets}


@pytest.mark.skipif(TRIED.returncode == 0, reason="this kernel's bridges have VLANs")
def test_a_vlan_is_told_to_be_no_thing_of_this_kernel(rig: Rig) -> None:
    """An app that shall be in one is nowhere then; the others work."""
    rig.configure({"cam": {"vlan": 20}, "plc": {}})
    rig.wait_attached("plc")
    assert rig.host_of("plc").dhcp()["ip"].startswith("192.168.3.1")
    wait_until(lambda: "not on this kernel" in rig.status("cam")["reason"], what="the reason")
    assert not rig.status("cam")["attached"]
    rig.daemon.wait_ready("sw")


@needs_vlans
def test_apps_of_one_vlan_reach_each_other_and_its_network_by_tagged_frames(rig: Rig) -> None:
    cam = rig.host_of("cam")
    assert cam.fetch(f"http://{ADDRESSES['mic']}/") == f"mic to {ADDRESSES['cam']}\n"
    with Capture(rig.gateway, "g-eth3") as capture:
        assert cam.fetch(f"http://{ROUTER}/") == f"gateway to {ADDRESSES['cam']}\n"
    own = [line for line in capture.packets if mac(cam) in line]
    assert own
    assert all("vlan 20" in line for line in own), own


@needs_vlans
def test_an_app_without_a_vlan_is_in_the_untagged_network(rig: Rig) -> None:
    plc = rig.host_of("plc")
    with Capture(rig.gateway, "g-eth3", "ip") as capture:
        lease = plc.dhcp()
        assert plc.fetch("http://192.168.3.1/") == f"gateway to {lease['ip']}\n"
    give_address(rig, "plc")  # the client took it away
    assert lease["ip"].startswith("192.168.3.1")
    assert capture.packets
    assert not [line for line in capture.packets if "vlan" in line]


@needs_vlans
@pytest.mark.parametrize("sender", ["cam", "fan", "plc"])
def test_frames_stay_in_their_vlan(rig: Rig, sender: str) -> None:
    """Asked for all, and sent to each by its MAC address: nobody of another VLAN sees one."""
    neighbours = "\n".join(
        f"ip neigh replace {ADDRESSES[app]} lladdr {mac(rig.host_of(app))} dev eth0 nud permanent; "
        f"ping -c 1 -W 1 -I {ADDRESSES[sender]} {ADDRESSES[app]} || :; ip neigh del {ADDRESSES[app]} dev eth0"
        for app in VLANS
        if app != sender
    )
    asked = f"ping -c 1 -W 1 -I {ADDRESSES[sender]} 192.168.20.250 || :"
    same = {app for app, vlan in VLANS.items() if vlan == VLANS[sender] and app != sender}
    assert seen_by(rig, sender, f"{asked}\n{neighbours}") == same


@needs_vlans
@pytest.mark.parametrize("vlan", [1, 20])
def test_an_apps_own_tag_leads_it_nowhere(rig: Rig, vlan: int) -> None:
    """Not into another VLAN; nor out of it by none."""
    script = f"""
        ip link add link eth0 name own type vlan id {vlan}; ip link set own up; ip addr add 192.0.2.9/24 dev own
        ping -c 1 -W 1 192.0.2.1 || :
        ip link del own
    """
    with Capture(rig.gateway, "g-eth3", "arp") as outside, Capture(rig.host_of("fan"), "eth0") as own:
        assert seen_by(rig, "fan", script) == set()
    assert [line for line in own.packets if f"vlan {vlan}," in line]
    assert not [line for line in outside.packets if mac(rig.host_of("fan")) in line]


@needs_vlans
def test_rules_hold_in_a_vlan(rig: Rig) -> None:
    rig.gateway.serve_page("other", 81)
    cam = rig.host_of("cam")
    assert cam.fetch(f"http://{ROUTER}:81/").startswith("other")
    web = {"name": "web", "remote": [ROUTER], "protocol": "tcp", "ports": [80]}
    configure(rig, cam={"rules": [web]})
    rig.wait_rules("cam", "web")
    assert cam.fetch(f"http://{ROUTER}/") == f"gateway to {ADDRESSES['cam']}\n"
    for url in (f"http://{ROUTER}:81/", f"http://{ADDRESSES['mic']}/"):
        with pytest.raises(AssertionError, match="exit 28"):
            cam.fetch(url, timeout=2)
    configure(rig)
    wait_until(lambda: cam.fetch(f"http://{ROUTER}:81/", timeout=2), what="all passes")


@needs_vlans
def test_what_is_changed_by_hand_is_repaired(rig: Rig) -> None:
    ifname = port(rig, "cam")
    rig.host.sh(f"""
        bridge vlan del dev {ifname} vid 20; bridge vlan add dev {ifname} vid 30 pvid untagged
        bridge vlan del dev eth3 vid 20; bridge vlan add dev eth3 vid 30 untagged; bridge vlan add dev eth3 vid 40
    """, netns="sw")  # fmt: skip
    wait_until(partial(are_in, rig, VLANS), what="the ports' VLANs")
    wait_until(lambda: vlans_of(rig, "eth3") == UPLINK, what="the uplink's VLANs")
    assert rig.host_of("cam").fetch(f"http://{ROUTER}/")


@needs_vlans
def test_a_new_port_is_in_no_vlan_until_it_is_told_which(rig: Rig) -> None:
    """Not even for a moment in that of untagged frames; those that were there stay in theirs."""
    rig.host.sh("ip link add stray type veth peer name stray0; ip link set stray master br0", netns="sw")
    try:
        assert "stray" in rig.host.sh("ip -o link show master br0", netns="sw")
        assert vlans_of(rig, "stray") == {}
    finally:
        rig.host.sh("ip link del stray", netns="sw")
    assert vlans_of(rig, "eth3") == UPLINK
    rig.host.sh("ip link set br0 type bridge vlan_filtering 0 vlan_default_pvid 1", netns="sw")
    wait_until(partial(are_in, rig, VLANS), what="the ports' VLANs")
    wait_until(lambda: "default_pvid 0" in rig.host.sh("ip -d link show br0", netns="sw"), what="no default")
    wait_until(lambda: vlans_of(rig, "eth3") == UPLINK, what="the uplink's VLANs")


@needs_vlans
def test_nothing_is_written_again_for_another_apps_change(rig: Rig) -> None:
    log = rig.host.path(f"{rig.daemon.run_dir}/logs/sw.log")
    before = log.read_text().count("bridge vlan add")
    assert before
    configure(rig, plc={"rules": []})
    rig.wait_rules("plc")
    configure(rig)
    assert log.read_text().count("bridge vlan add") == before


@needs_vlans
def test_an_app_changes_its_vlan_and_all_leave_theirs(rig: Rig) -> None:
    configure(rig, cam={"vlan": 30})
    cam, fan, plc = (rig.host_of(app) for app in ("cam", "fan", "plc"))
    assert cam.fetch(f"http://{ADDRESSES['fan']}/") == f"fan to {ADDRESSES['cam']}\n"
    with pytest.raises(AssertionError):
        cam.run(["ping", "-c", "1", "-W", "1", ADDRESSES["mic"]])
    configure(rig, **{app: {"vlan": 0} for app in VLANS})
    assert fan.fetch(f"http://{ADDRESSES['plc']}/") == f"plc to {ADDRESSES['fan']}\n"
    assert plc.fetch(f"http://{ADDRESSES['cam']}/", timeout=30) == f"cam to {ADDRESSES['plc']}\n"
