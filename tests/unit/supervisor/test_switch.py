"""Plans of switches: which links they take from the host, and what is said of their apps."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv4Network

from nsmanager.learning import learned
from pubsub.topics import (
    AppConfig,
    Attachment,
    InstanceType,
    NamespaceApp,
    NetworkInstanceConfig,
    SwitchConfig,
    UplinkConfig,
)
from pubsub.values import MacAddress
from supervisor.facts import Facts, Uplink
from supervisor.plan import Lot, Wanted, plan

SW = NetworkInstanceConfig(
    type=InstanceType.SWITCH, uplinks=("plant",), apps={"cam": AppConfig(vlan=20), "plc": AppConfig()}
)
RED = NetworkInstanceConfig(uplinks=("eth3", "eth0"))
UPLINKS = {"eth3": UplinkConfig(labels=("plant",)), "eth4": UplinkConfig(labels=("plant",))}


def facts(**changes: object) -> Facts:
    links = {
        name: Uplink(name, index, up=True, addresses=(IPv4Interface(f"192.0.2.{index}/24"),))
        for index, name in enumerate(("eth0", "eth3", "eth4"), 2)
    }
    return Facts(links, namespaces=frozenset({"sw", "red"}), **changes)  # type: ignore[arg-type]  # fields by name


def test_a_switch_takes_its_uplinks_from_all_others() -> None:
    made = plan(
        Wanted({"sw": SW, "red": RED}, UPLINKS),
        facts(),
        {"sw": Lot(1, None), "red": Lot(2, IPv4Network("10.1.0.0/24"))},
    )
    sw, red = made.instances["sw"], made.instances["red"]
    assert sw.lends == ("eth3", "eth4")
    assert sw.config.outer == ()  # not inside yet
    assert sw.config.stp
    assert sw.config.bridge is None
    assert red.selection.uplink is not None
    assert red.selection.uplink.ifname == "eth0"
    assert "eth3" not in made.candidates


def test_ports_that_lead_out_are_those_that_are_inside() -> None:
    made = plan(Wanted({"sw": SW}, UPLINKS), facts(lent={"sw": ("eth4",)}), {"sw": Lot(1, None)})
    assert made.instances["sw"].config.outer == ("eth4",)


def test_an_app_never_loses_its_tag() -> None:
    ports = {"sw": {"cam": "p-cam", "plc": "p-plc"}}
    made = plan(Wanted({"sw": SW}, UPLINKS), facts(ports=ports, vlans=False), {"sw": Lot(1, None)})
    assert {app.name: app.ifname for app in made.instances["sw"].config.apps} == {"cam": "", "plc": "p-plc"}


def test_a_shared_uplink_stays_and_its_frames_are_passed_on() -> None:
    config = NetworkInstanceConfig(
        type=InstanceType.SWITCH,
        uplinks=("eth0",),
        switch=SwitchConfig(shared=True),
        apps={"vm": AppConfig(mac=MacAddress.parse("02:00:00:00:00:07"), attach=Attachment(tap="vm0"))},
    )
    made = plan(Wanted({"sw": config}), facts(), {"sw": Lot(1, None)})
    assert made.instances["sw"].lends == ()
    assert made.instances["sw"].config.outer == ("up0",)
    assert "eth0" in made.candidates
    text = "\n".join(map(str, made.items))
    assert "ip link add v-sw " in text
    assert 'ether daddr { 02:00:00:00:00:07 } fwd to "v-sw"' in text
    assert 'ether saddr { 02:00:00:00:00:07 } fwd to "eth0"' in text


def test_learned_addresses_are_read_from_the_listing_of_sets() -> None:
    listing = """table bridge nsvisor {
	set taken4 {
		type ipv4_addr
		elements = { 192.0.2.9 timeout 1h }
	}
	set seen4-cam {
		type ipv4_addr
		size 16
		timeout 1h
		elements = { 192.0.2.7, 192.0.2.6 }
	}
	set seen6-cam {
		typeof @nh,64,128
		elements = { 0x20010db8000000000000000000000007 }
	}
	set seen4-plc {
		type ipv4_addr
	}
}
"""
    apps = tuple(
        NamespaceApp(name=name, mac=MacAddress.parse("02:00:00:00:00:07"), address=None, ifname=f"p-{name}")
        for name in ("cam", "plc")
    )
    found = [(one.ifname, str(one.address)) for one in learned(listing, apps)]
    assert found == [("p-cam", "192.0.2.6"), ("p-cam", "192.0.2.7"), ("p-cam", "2001:db8::7")]
