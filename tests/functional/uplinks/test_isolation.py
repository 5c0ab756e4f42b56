"""No app reaches an address inside another instance: not plainly, not forged, not source-routed, not by groups."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import pytest

from tests.functional.uplinks.rig import PYTHON, TALK, Rig
from tests.hosts import Capture
from tests.hosts.topology import OUTSIDE, OUTSIDE6

# By its TOS (traffic class), which NAT leaves alone: rig of talk.py.
FORGED = "(ip and ip[1] == 0xb8) or (ip6 and ip6[0:2] & 0x0ff0 == 0x0b80)"
BROADCAST_MAC = "ff:ff:ff:ff:ff:ff"
GROUPS = (
    "255.255.255.255",
    "10.1.0.255",
    "192.168.0.255",
    "192.168.1.255",
    "100.127.255.255",
    "224.0.0.1",
    "239.1.2.3",
)
GROUPS6 = ("ff02::1", "ff02::2", "ff05::2", "ff0e::1:2", "ff01::1")
STRANGE = ("0.0.0.0", "127.0.0.1", "255.255.255.255", "224.0.0.1", "192.168.0.1", "192.168.1.1", OUTSIDE)
STRANGE6 = ("::", "::1", "ff02::1", "fe80::1", "2001:db8::1", "2001:db8:1::1", OUTSIDE6)


@dataclass(frozen=True)
class Place:
    """Where an instance and its app are."""

    name: str
    inner: tuple[str, ...]  # all addresses inside: the app's, the bridge's, its end of the link; IPv6 too
    host_ends: tuple[str, ...]  # the host's ends of the link
    bridge_mac: str
    host_mac: str


def place(rig: Rig, name: str) -> Place:
    def addresses(command: str) -> tuple[str, ...]:
        return tuple(line.split()[3].partition("/")[0] for line in command.splitlines())

    bridge = addresses(rig.host.sh("ip -o addr show br0; ip -o addr show up0", netns=name))
    app = addresses(rig.run(f"{name}/web", "ip", "-o", "addr", "show", "eth0"))
    return Place(
        name, app + bridge, addresses(rig.host.sh(f"ip -o addr show v-{name}")),
        rig.host.sh("cat /sys/class/net/br0/address", netns=name).strip(),
        rig.host.sh(f"cat /sys/class/net/v-{name}/address").strip(),
    )  # fmt: skip


def captures(rig: Rig, name: str) -> list[Capture]:
    """Return captures of forged packets at both ends of an instance's link and on its bridge."""
    inside = [Capture(rig.host, ifname, FORGED, netns=name) for ifname in ("br0", "up0")]
    return [Capture(rig.host, f"v-{name}", FORGED), *inside]


def forge(rig: Rig, where: str, ifname: str, *lists: tuple[str, ...]) -> int:
    """Send forged frames by a link of an app (`red/web`) or of an instance (`red`); return how many."""
    argv = [*PYTHON, TALK, "forge", ifname, *(",".join(dict.fromkeys(words)) for words in lists)]
    if "/" in where:
        return int(rig.run(where, *argv))
    return int(rig.host.run(argv, netns=where).stdout)


@pytest.mark.parametrize("victim", ["pink", "blue"])  # on the same uplink, on another
def test_what_a_port_map_lets_in_is_seen_so_silence_proves_something(world: Rig, victim: str) -> None:
    uplink = world.cables[0 if victim == "pink" else 1]
    with contextlib.ExitStack() as stack:
        open_ = [stack.enter_context(capture) for capture in captures(world, victim)]
        port = {"pink": 4242, "blue": 4243}[victim]
        for address in (uplink.address, uplink.address6):
            world.run("red/web", *PYTHON, TALK, "mark", address, port)
    for capture in open_:
        assert any("ethertype IPv4" in packet for packet in capture.packets), (victim, capture.ifname)
        assert any("ethertype IPv6" in packet for packet in capture.packets), (victim, capture.ifname)


@pytest.mark.parametrize("way", ["app", "taken over"])
def test_forged_packets_reach_no_other_instance(world: Rig, way: str) -> None:
    """Sent by an app, and by red's own namespace straight to the host: as if its firewall weren't there."""
    red, pink, blue = (place(world, name) for name in ("red", "pink", "blue"))
    others = pink.inner + blue.inner + pink.host_ends + blue.host_ends
    targets = (*others, *GROUPS, *GROUPS6)
    sources = (*red.inner, *red.host_ends, *others, *STRANGE, *STRANGE6, world.cables[0].address)
    where, ifname, mac = ("red/web", "eth0", red.bridge_mac) if way == "app" else ("red", "up0", red.host_mac)
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(capture) for name in ("pink", "blue") for capture in captures(world, name)]
        own = stack.enter_context(Capture(world.host, "up0" if way != "app" else "br0", FORGED, netns="red"))
        sent = forge(world, where, ifname, (mac, BROADCAST_MAC, pink.host_mac, blue.host_mac), sources, targets)
    assert sent > 1000
    assert len(own.packets) > 1000  # they were on the way
    for capture in silent:
        assert capture.packets == [], (capture.netns, capture.ifname, capture.packets[:5])


def test_forged_sources_do_not_leave_the_host_either(world: Rig) -> None:
    red, blue = place(world, "red"), place(world, "blue")
    sources = (*blue.inner, *blue.host_ends, *STRANGE, *STRANGE6, "192.168.1.2", "2001:db8:1::2")
    mac, targets = (red.host_mac,), (OUTSIDE, OUTSIDE6)
    seen = world.seen(FORGED, lambda: forge(world, "red", "up0", mac, sources, targets))
    assert seen == {"eth0": [], "eth1": [], "eth2": []}
    own = tuple(end for end in red.inner if end.startswith(("100.127.", "fd6e:7376:6973:0:", "fd6e:7376:6973::")))
    seen = world.seen(FORGED, lambda: forge(world, "red", "up0", mac, own, targets))
    assert any("ethertype IPv4" in packet for packet in seen["eth0"])  # with its own they do
    assert any("ethertype IPv6" in packet for packet in seen["eth0"])


@pytest.mark.parametrize("from_", ["red", "pink", "blue", "over"])
def test_no_app_reaches_an_address_inside_another_instance(world: Rig, from_: str) -> None:
    """Honest connections to whatever listens there; each instance from each."""
    own = place(world, from_).inner
    others = [name for name in ("red", "pink", "blue", "over") if name != from_]
    ends = {f"{name} {end}": end for name in others for end in place(world, name).inner}
    ends = {what: end for what, end in ends.items() if end not in own and not end.startswith("fe80")}
    doors = {what: f"http://[{end}]/" if ":" in end else f"http://{end}/" for what, end in ends.items()}
    assert len(doors) > 10
    assert world.reached(doors, app=f"{from_}/web") == {}


def test_an_address_that_is_also_in_the_uplinks_lan_is_the_lans(world: Rig) -> None:
    """The scenario's step 10: over's app has an address of eth1's LAN, in which a real host may have it."""
    gateway = world.topology.gateway
    door = {"web": "http://192.168.1.84/"}
    capture = Capture(world.host, "br0", "tcp port 80", netns="over")
    with capture:
        assert world.reached(door, app="blue/web") == {}
        gateway.sh("ip addr add 192.168.1.84/24 dev up1")
        neighbour = gateway.serve_page("lan")
        assert world.reached(door, app="blue/web", must=door)["web"].startswith("lan to 192.168.1.2")
    assert capture.packets == []
    neighbour.kill()
    gateway.sh("ip addr del 192.168.1.84/24 dev up1")
