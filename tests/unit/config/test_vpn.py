"""VPN instances in config files: what is read, and every mistake with its place and remedy."""

from __future__ import annotations

import pytest

from pubsub.config import Configuration, read_files
from pubsub.topics import InstanceType
from pubsub.values import Duration, Interval

GOOD = """
instances:
  plant:
    type: vpn
    subnet: 10.10.10.0/24
    dns: {servers: [192.168.0.53]}
    vpn:
      connections:
        cloud:
          remote: 203.0.113.1
          remote_subnets: [192.168.0.0/24, "2001:db8:5::/64"]
          secret_file: /etc/nsvisor/secrets/cloud
          local_id: plant.test
        other:
          remote: 2001:db8::1
          remote_subnets: [172.16.0.0/12]
          local_subnets: [10.10.0.0/16]
          certificate_file: /etc/nsvisor/secrets/plant.crt
          key_file: /etc/nsvisor/secrets/plant.key
          ca_file: /etc/nsvisor/secrets/ca.crt
          proposals: [aes256-sha256-ecp256]
          dpd: 500ms
          rekey: 2h
"""
WIREGUARD = """
instances:
  plant:
    type: vpn
    subnet: 10.10.10.0/24
    vpn:
      connections:
        other: {remote: 203.0.113.9, remote_subnets: [172.16.0.0/12], secret_file: /s, local_id: plant.test}
      wireguard:
        key_file: /etc/nsvisor/secrets/plant.wg
        peers:
          cloud:
            public_key: GCo6uORqxQ8HW8r9CNvNeqsOJ/6jJj9U1wEVtIpWVCY=
            remote: 203.0.113.1
            remote_subnets: [192.168.0.0/24]
            secret_file: /etc/nsvisor/secrets/cloud.psk
          second:
            public_key: AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=
            remote: 2001:db8::1
            port: 4433
            remote_subnets: ["2001:db8:5::/64"]
            keepalive: 10s
"""


def read(text: str) -> Configuration:
    return read_files({"test.yaml": text.encode()})


def test_a_vpn_instance_is_read_with_its_defaults() -> None:
    found = read(GOOD.replace("500ms", "5s"))
    assert found.problems == ()
    plant = found.instances["plant"].config
    assert plant.type is InstanceType.VPN
    assert plant.vpn
    cloud, other = plant.vpn.connections["cloud"], plant.vpn.connections["other"]
    assert [str(network) for network in cloud.remote_subnets] == ["192.168.0.0/24", "2001:db8:5::/64"]
    assert (cloud.dpd, cloud.rekey, cloud.rekey_ike) == (Interval(10.0), Duration(3600), Duration(4 * 3600))
    assert (str(other.remote), other.rekey, other.proposals) == ("2001:db8::1", 7200, ("aes256-sha256-ecp256",))


def test_instances_may_have_the_same_selectors() -> None:
    one = GOOD.replace("500ms", "5s")
    assert read(one + one.replace("instances:", "").replace("plant:", "second:")).problems == ()


MISTAKES = {
    "a name": ("remote: 203.0.113.1", "remote: vpn.test", "connections.cloud.remote", "in the clear"),
    "multicast": ("remote: 203.0.113.1", "remote: 224.0.0.1", "connections.cloud.remote", "no host outside"),
    "a peer inside": ("remote: 203.0.113.1", "remote: 10.10.10.9", "connections.cloud.remote", "the instance's own"),
    "nowhere": ("[172.16.0.0/12]", "[]", "connections.other.remote_subnets", "leads nowhere"),
    "own subnet": ("[172.16.0.0/12]", "[10.10.10.128/25]", "other.remote_subnets.0", "own subnet 10.10.10.0/24"),
    "two ways": ("[172.16.0.0/12]", "[192.168.0.0/16]", "other.remote_subnets.0", "one of connection cloud"),
    "twice": ("[172.16.0.0/12]", "[172.16.0.0/12, 172.16.1.0/24]", "other.remote_subnets.1", "another one"),
    "no selector": ("[10.10.0.0/16]", "[10.11.0.0/16]", "other.local_subnets.0", "10.10.10.0/24"),
    "no proof": ("secret_file: /etc/nsvisor/secrets/cloud", "", "connections.cloud", "nothing proves"),
    "no name": ("local_id: plant.test", "", "cloud.local_id", "behind NAT"),
    "half a proof": ("key_file: /etc/nsvisor/secrets/plant.key", "", "connections.other", "`key_file` is missing"),
    "both": ("local_id: plant.test", "local_id: a\n          key_file: /k", "cloud.secret_file", "exclude each other"),
    "relative": ("/etc/nsvisor/secrets/cloud", "secrets/cloud", "cloud.secret_file", "no absolute path"),
    "dots": ("/etc/nsvisor/secrets/cloud", "/etc/../shadow", "cloud.secret_file", "no absolute path"),
    "percent": ("local_id: plant.test", 'local_id: "%any"', "cloud.local_id", "can't be an identity"),
    "newline": ("local_id: plant.test", 'local_id: "a\\nb"', "cloud.local_id", "can't be an identity"),
    "proposal": ("[aes256-sha256-ecp256]", '["aes256 } x"]', "other.proposals.0", "can't be a proposal"),
    "dpd": ("dpd: 5s", "dpd: 100ms", "connections.other.dpd", "use 1s to"),
    "rekey": ("rekey: 2h", "rekey: 5s", "connections.other.rekey", "use 1m or more"),
    "connection's name": ("        cloud:", "        My_Cloud:", "connections.My_Cloud", "can't be a connection's"),
    "dns": ("servers: [192.168.0.53]", "servers: [198.51.100.53]", "dns.servers.0", "no tunnel leads"),
    "no uplink": ("type: vpn", "type: vpn\n    uplinks: []", "instances.plant.uplinks", "a tunnel needs an uplink"),
    "routed": ("type: vpn", "type: vpn\n    ipv6: routed\n    subnet6: 2001:db8::/64", "plant.ipv6", "by its tunnels"),
    "no IPv6": ("type: vpn", "type: vpn\n    ipv6: off", "connections.other.remote", "reached by IPv6"),
    "port map": ("type: vpn", 'type: vpn\n    apps: {web: {ports: ["80:80"]}}', "apps.web.ports", "by an uplink"),
    "route": ("type: vpn", "type: vpn\n    routes: [{to: 10.9.0.0/16, uplink: eth0}]", "routes.0", "around the"),
    "type": ("type: vpn", "type: local", "instances.plant.vpn", "add `type: vpn`"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "field", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_with_its_place(old: str, new: str, field: str, words: str) -> None:
    text = GOOD.replace("500ms", "5s")
    assert old in text
    found = read(text.replace(old, new, 1)).problems
    said = [f"{problem.field}: {problem.message}; {problem.remedy}" for problem in found]
    assert any(field in one.partition(": ")[0] and words in one for one in said), said


def test_a_vpn_without_connections_is_a_mistake() -> None:
    found = read("instances: {plant: {type: vpn}}").problems
    assert [problem.field for problem in found] == ["instances.plant.vpn"]


def test_a_wireguard_link_is_read_with_its_defaults() -> None:
    found = read(WIREGUARD)
    assert found.problems == ()
    vpn = found.instances["plant"].config.vpn
    assert vpn
    assert vpn.wireguard
    cloud, second = vpn.wireguard.peers["cloud"], vpn.wireguard.peers["second"]
    assert (cloud.port, cloud.keepalive, second.port, second.keepalive) == (51820, 25, 4433, 10)
    assert str(cloud.public_key) == "GCo6uORqxQ8HW8r9CNvNeqsOJ/6jJj9U1wEVtIpWVCY="


KEY = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
MISTAKES_OF_WIREGUARD = {
    "short key": (KEY, KEY[:-2], "peers.second.public_key", "`wg pubkey` prints"),
    "a key of other bytes": (KEY, "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQF=", "second.public_key", "not a key"),
    "no base64": (KEY, "'; nft flush ruleset; #'", "second.public_key", "not a key"),
    "the same key": (KEY, "GCo6uORqxQ8HW8r9CNvNeqsOJ/6jJj9U1wEVtIpWVCY=", "second.public_key", "that of peer cloud"),
    "no port": ("port: 4433", "port: 65536", "peers.second.port", "use 1 to 65535"),
    "no keepalive": ("keepalive: 10s", "keepalive: 0s", "peers.second.keepalive", "use 1s to 1h"),
    "two ways": ("[192.168.0.0/24]", "[172.16.1.0/24]", "cloud.remote_subnets.0", "one of connection other"),
    "own subnet": ("[192.168.0.0/24]", "[10.10.10.0/25]", "cloud.remote_subnets.0", "own subnet"),
    "nowhere": ("[192.168.0.0/24]", "[]", "peers.cloud.remote_subnets", "leads nowhere"),
    "a name": ("remote: 203.0.113.1\n", "remote: vpn.test\n", "peers.cloud.remote", "in the clear"),
    "a peer inside": ("remote: 203.0.113.1\n", "remote: 10.10.10.9\n", "peers.cloud.remote", "the instance's own"),
    "relative": ("/etc/nsvisor/secrets/plant.wg", "plant.wg", "wireguard.key_file", "no absolute path"),
    "dots": ("/etc/nsvisor/secrets/cloud.psk", "/etc/../shadow", "cloud.secret_file", "no absolute path"),
    "one name for two": ("          cloud:", "          other:", "peers.other", "by IPsec already"),
    "a peer's name": ("          cloud:", "          ../x:", "peers.../x", "can't be a connection's"),
    "no peer's IPv6": ("type: vpn", "type: vpn\n    ipv6: off", "peers.second.remote", "reached by IPv6"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "field", "words"), MISTAKES_OF_WIREGUARD.values(), ids=MISTAKES_OF_WIREGUARD)
def test_a_mistake_of_wireguard_is_told_with_its_place(old: str, new: str, field: str, words: str) -> None:
    assert old in WIREGUARD
    found = read(WIREGUARD.replace(old, new, 1)).problems
    said = [f"{problem.field}: {problem.message}; {problem.remedy}" for problem in found]
    assert any(field in one.partition(": ")[0] and words in one for one in said), said


def test_a_link_without_peers_is_a_mistake() -> None:
    found = read("instances: {plant: {type: vpn, vpn: {wireguard: {key_file: /k}}}}").problems
    assert [problem.field for problem in found] == ["instances.plant.vpn.wireguard.peers"]
