"""Tunnels as values: what a namespace with them holds, what charon is told, and what its answers mean."""

from __future__ import annotations

import json
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import msgspec

from nsmanager.firewall import sealed
from nsmanager.items.nftables import NftTable
from nsmanager.items.service import Service
from nsmanager.place import Place
from nsmanager.plan import plan
from nsmanager.vpn import reading
from nsmanager.vpn.messages import connection
from nsmanager.vpn.routing import tunnel_mtu
from nsmanager.vpn.words import meaning
from pubsub.topics import InstanceType, NamespaceTunnel, TunnelStatus
from pubsub.values import Duration, Interval, IpAddress, Network
from tests.unit.nsmanager.test_plan import PLACE, SMALL, SMALL6

TUNNEL = NamespaceTunnel(
    name="cloud",
    remote=IpAddress.parse("203.0.113.1"),
    remote_subnets=(Network.parse("192.168.0.0/24"),),
    local_subnets=(Network.parse("192.0.2.0/24"),),
    certificates=False,
    local_id="plant.test",
    remote_id="cloud.test",
    proposals=("aes256-sha256-ecp256",),
    esp_proposals=("aes256gcm16",),
    dpd=Interval(10.0),
    rekey=Duration(3600),
    rekey_ike=Duration(14400),
    secrets="1-2-3",
)
VPN = msgspec.structs.replace(
    SMALL, type=InstanceType.VPN, tunnels=(TUNNEL,), tunnel_mtu=1396, servers=(IPv4Address("192.168.0.53"),)
)
EVERYTHING = msgspec.structs.replace(
    TUNNEL,
    name="all",
    remote=IpAddress.parse("2001:db8::1"),
    remote_subnets=(Network.parse("0.0.0.0/0"), Network.parse("::/0")),
)
VPN6 = msgspec.structs.replace(SMALL6, type=InstanceType.VPN, tunnels=(EVERYTHING,), tunnel_mtu=1376)
KERNEL = msgspec.structs.replace(VPN, servers=())
ASSOCIATION = {
    "state": b"ESTABLISHED", "uniqueid": b"1", "established": b"60",
    "local-host": b"100.127.0.1", "local-port": b"4500",
    "remote-host": b"203.0.113.1", "remote-port": b"4500",
    "child-sas": {
        "cloud-1": {
            "name": b"cloud", "state": b"INSTALLED", "spi-in": b"c1", "bytes-in": b"100", "packets-in": b"1",
            "bytes-out": b"200", "packets-out": b"2", "encr-alg": b"AES_GCM_16", "encr-keysize": b"256",
            "local-ts": [b"192.0.2.0/24"], "remote-ts": [b"192.168.0.0/24"],
        }
    },
}  # fmt: skip


def test_plans_of_tunnels(golden: Callable[[str, str], None]) -> None:
    for name, config in (("vpn", VPN), ("vpn-ipv6", VPN6)):
        items = [str(item) for item in plan(config, PLACE) if not isinstance(item, NftTable)]
        golden(name, "\n".join([*items, sealed.chains(config)]))


def test_with_the_kernels_esp_we_make_the_link(golden: Callable[[str, str], None]) -> None:
    place = Place("red", Path("/run/nsvisor"), Path("/var/lib/nsvisor"), kernel_esp=True)
    items = [*map(str, plan(KERNEL, place))]
    golden("vpn-kernel", "\n".join(item for item in items if "ipsec0" in item or "charon" in item))
    conf = next(text for item in plan(KERNEL, place) for _, text in getattr(item, "files", ()) if "charon" in text)
    assert "kernel-libipsec kernel-netlink" not in conf


def test_what_charon_is_told_of_a_tunnel(golden: Callable[[str, str], None]) -> None:
    golden("vpn-message", json.dumps(connection(TUNNEL, kernel_esp=False), indent=2))
    told = connection(TUNNEL, kernel_esp=True)["cloud"]["children"]["cloud"]
    assert (told["if_id_in"], told["if_id_out"]) == ("1", "1")


def test_certificates_stand_in_the_message_of_their_tunnel() -> None:
    tunnel = msgspec.structs.replace(TUNNEL, certificates=True, local_id="")
    told = connection(tunnel, kernel_esp=False, certificate=b"CERT", authority=b"CA")["cloud"]
    assert told["local"] == {"auth": "pubkey", "certs": [b"CERT"]}
    assert told["remote"] == {"auth": "pubkey", "id": "cloud.test", "cacerts": [b"CA"]}


def test_what_fits_through_a_tunnel() -> None:
    four, six = IpAddress.parse("203.0.113.1").ip, IpAddress.parse("2001:db8::1").ip
    assert tunnel_mtu(1500, [four]) == 1396
    assert tunnel_mtu(1500, [four, six]) == 1376


def look(
    *associations: object, before: TunnelStatus | None = None, error: str = "", now: float = 1000.0
) -> TunnelStatus:
    found: list[reading.Association] = [one for one in associations if isinstance(one, dict)]
    return reading.status(TUNNEL, found, before, reading.Totals(), now=now, kernel_esp=False, error=error)


def test_a_tunnel_is_up_when_esp_is_installed() -> None:
    status = look(ASSOCIATION)
    assert status.up
    assert (status.local, status.remote) == ("100.127.0.1:4500", "203.0.113.1:4500")
    assert (status.since, status.cipher, status.esp) == (940.0, "AES_GCM_16-256", "user space")
    assert status.networks == ("192.0.2.0/24 === 192.168.0.0/24",)
    assert not look({**ASSOCIATION, "child-sas": {}}).up
    assert not look({**ASSOCIATION, "state": b"CONNECTING"}).up


def test_since_stays_the_same_though_ages_are_rounded() -> None:
    before = look(ASSOCIATION)
    assert look(ASSOCIATION, before=before, now=1000.9).since == before.since
    assert look({**ASSOCIATION, "established": b"1"}, before=before).since == 999.0


def test_why_a_tunnel_is_down() -> None:
    assert look().reason == "being set up with 203.0.113.1"
    down = look(error="the peer doesn't answer")
    assert (down.reason, down.last_error) == ("the peer doesn't answer", "the peer doesn't answer")
    assert look(ASSOCIATION, before=down).last_error == "the peer doesn't answer"


def test_traffic_is_counted_over_new_keys() -> None:
    totals = reading.Totals()
    first = ASSOCIATION["child-sas"]["cloud-1"]  # type: ignore[index]
    assert isinstance(first, dict)
    assert totals.count([first]).sent_bytes == 200
    second = {**first, "spi-in": b"c2", "bytes-out": b"7"}
    assert totals.count([first, second]).sent_bytes == 207
    assert totals.count([second]).sent_bytes == 207
    assert totals.count([]).received_packets == 2


def test_lines_of_charons_log_in_words() -> None:
    assert "another secret" in meaning("received AUTHENTICATION_FAILED notify error")
    assert "doesn't answer" in meaning("giving up after 3 retransmits")
    assert "local_subnets" in meaning("received TS_UNACCEPTABLE notify, no CHILD_SA built")
    assert meaning("sending DPD request") == ""


def test_what_is_not_installed_is_named_by_its_package() -> None:
    needs = (("/nowhere/charon", "charon-systemd"), ("/", "base-files"))
    assert Service("charon", ("charon",), "/run/charon.pid", needs=needs)._missing() == "charon-systemd"
