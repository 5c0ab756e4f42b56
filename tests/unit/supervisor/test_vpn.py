"""VPN instances as values: every choice made, and what their tunnels make of their state."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import msgspec

from nsmanager.vpn.routing import reached
from pubsub.topics import (
    DnsConfig,
    InstanceType,
    IpsecConnection,
    NamespaceConfig,
    NamespaceStatus,
    NetworkInstanceConfig,
    State,
    TunnelStatus,
    VpnConfig,
    WireguardConfig,
    WireguardPeer,
)
from pubsub.values import Network, PeerAddress, WireguardKey
from supervisor.secrets import wanted_files
from supervisor.status import View, fold
from tests.unit.supervisor.samples import facts, planned, uplink

CONNECTION = IpsecConnection(
    remote=PeerAddress.parse("203.0.113.1"),
    remote_subnets=(Network.parse("192.168.0.0/24"),),
    secret_file="/secret",
    local_id="plant.test",
)
CONFIG = NetworkInstanceConfig(
    type=InstanceType.VPN,
    subnet=IPv4Network("10.10.10.0/24"),
    dns=DnsConfig(servers=(IPv4Address("192.168.0.53"),)),
    vpn=VpnConfig(connections={"cloud": CONNECTION, "b": msgspec.structs.replace(CONNECTION, remote_id="b.test")}),
)
HOST = msgspec.structs.replace(facts(uplink(0)), secrets={"/secret": "1-2-3"})


def told(config: NetworkInstanceConfig = CONFIG) -> NamespaceConfig:
    return planned({"red": config}, HOST).instances["red"].config


def test_every_choice_of_a_tunnel_is_made() -> None:
    found = told()
    b, cloud = found.tunnels
    assert (cloud.name, str(cloud.remote), cloud.remote_id, cloud.secrets) == (
        "cloud", "203.0.113.1", "203.0.113.1", "1-2-3"
    )  # fmt: skip
    assert b.remote_id == "b.test"
    assert [str(network) for network in cloud.local_subnets] == ["10.10.10.0/24"]
    assert cloud.proposals
    assert cloud.esp_proposals
    assert not cloud.certificates
    assert (found.mtu, found.tunnel_mtu, found.apps_mtu) == (1500, 1396, 1396)
    assert found.servers == (IPv4Address("192.168.0.53"),)
    assert {ifname: {*map(str, networks)} for ifname, networks in reached(found).items()} == {
        "ipsec0": {"192.168.0.0/24"}
    }


def test_without_servers_dns_asks_nobody() -> None:
    assert told(msgspec.structs.replace(CONFIG, dns=DnsConfig())).servers == ()


def test_ipv6_goes_through_where_the_peer_has_it() -> None:
    six = msgspec.structs.replace(CONNECTION, remote_subnets=(Network.parse("2001:db8:5::/64"),))
    found = told(msgspec.structs.replace(CONFIG, vpn=VpnConfig(connections={"cloud": six})))
    assert found.bridge6
    assert [str(network) for network in found.tunnels[0].local_subnets] == [str(found.bridge6.network)]


def test_a_tunnel_too_narrow_for_ipv6_has_none() -> None:
    found = planned({"red": CONFIG}, msgspec.structs.replace(HOST, uplinks=facts(uplink(0, mtu=1300)).uplinks))
    assert found.instances["red"].config.bridge6 is None


def test_a_missing_secret_is_no_version() -> None:
    found = planned({"red": CONFIG}, facts(uplink(0))).instances["red"].config
    assert [tunnel.secrets for tunnel in found.tunnels] == ["", ""]


def state(*tunnels: TunnelStatus, secrets: tuple[str, ...] = ()) -> tuple[State, str]:
    plan = planned({"red": CONFIG}, HOST).instances["red"]
    inside = NamespaceStatus(ready=True, config=plan.resolved.digest, tunnels=tunnels)
    view = View("red", plan, answered=True, netns=True, pid=1, namespace=inside, secrets=secrets)
    found = fold(view, None, 0.0)
    return found.state, found.reason


def test_the_state_follows_from_the_tunnels() -> None:
    up, down = TunnelStatus(name="b", up=True), TunnelStatus(name="cloud", up=False, reason="the peer doesn't answer")
    assert state(up, msgspec.structs.replace(up, name="cloud")) == (State.READY, "")
    assert state(up, down) == (State.DEGRADED, "tunnel cloud: the peer doesn't answer")
    assert state(msgspec.structs.replace(down, name="b"), down)[0] is State.WAITING
    assert state() == (State.WAITING, "tunnel b: being set up; tunnel cloud: being set up")
    assert state(up, down, secrets=("secret file /secret: there is none",))[0] is State.DEGRADED


PEER = WireguardPeer(
    public_key=WireguardKey(bytes(32)),
    remote=PeerAddress.parse("203.0.113.1"),
    remote_subnets=(Network.parse("192.168.0.0/24"),),
    secret_file="/secret",
)
WIREGUARD = msgspec.structs.replace(
    CONFIG, vpn=VpnConfig(wireguard=WireguardConfig(key_file="/key", peers={"cloud": PEER}))
)


def test_every_choice_of_wireguard_is_made() -> None:
    host = msgspec.structs.replace(HOST, secrets={"/secret": "1-2-3", "/key": "4-5-6"})
    found = planned({"red": WIREGUARD}, host).instances["red"].config
    assert found.wireguard
    assert (found.sealed, found.tunnels, found.tunnel_mtu) == (True, (), 1440)
    assert (found.wireguard.secrets, [one.name for one in found.peers]) == ("4-5-6 1-2-3", ["cloud"])
    assert found.peers[0].shared_secret
    assert dict(wanted_files(WIREGUARD)) == {"vpn-wg0.wg-key": "/key", "vpn-cloud.wg-psk": "/secret"}


def test_one_missing_secret_leaves_the_link_as_it_was() -> None:
    wireguard = planned({"red": WIREGUARD}, HOST).instances["red"].config.wireguard
    assert wireguard
    assert wireguard.secrets == ""
