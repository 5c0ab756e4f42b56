"""Items that not every kernel has, alone with it: VLANs of a bridge, and WireGuard."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.functional.switch.test_vlans import needs_vlans
from tests.hosts import Host
from tests.hosts.wireguard import kernel_has_wireguard, new_key, new_secret, public_key

Order = Callable[[str], tuple[list[str], list[str]]]
FOLDER = "/run/secrets"
needs_wireguard = pytest.mark.skipif(not kernel_has_wireguard(), reason="this kernel has no WireGuard; scripts/test-vm")
TRUNK = {1: ["PVID", "Egress Untagged"], 20: []}


@pytest.fixture
def keys() -> list[str]:
    """Public keys of two peers."""
    return [public_key(new_key()) for _ in range(2)] if kernel_has_wireguard() else []


@pytest.fixture
def order(host: Host, keys: list[str]) -> Iterator[Order]:
    """Return what has a plan put into force by name, and returns what was done, and what failed."""
    raw = [base64.b64decode(key).hex() for key in keys or ["AA==", "AQ=="]]
    argv = [sys.executable, "-m", "tests.functional.nsmanager.on_order", FOLDER, *raw]
    process = host.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(plan: str) -> tuple[list[str], list[str]]:
        assert process.stdin
        assert process.stdout
        process.stdin.write(f"{plan}\n")
        process.stdin.flush()
        done, failed = json.loads(process.stdout.readline())
        return done, failed

    yield ask
    process.kill()
    process.wait()


def vlans(host: Host, ifname: str) -> dict[int, list[str]]:
    listed = json.loads(host.sh(f"bridge -json vlan show dev {ifname}"))
    return {one["vlan"]: one.get("flags", []) for link in listed for one in link["vlans"]}


def bridge(host: Host) -> tuple[int, int]:
    """Return whether VLANs are filtered, and the default one."""
    [link] = json.loads(host.sh("ip -d -json link show br0"))
    data = link["linkinfo"]["info_data"]
    return data["vlan_filtering"], data["vlan_default_pvid"]


@needs_vlans
def test_a_port_is_in_no_vlan_until_it_is_told_which(host: Host, order: Order) -> None:
    for name in ("p1", "p2"):
        host.sh(f"ip link add {name} type veth peer name {name}x")
    assert order("switch")[1] == []
    assert bridge(host) == (0, 1)
    for _ in range(2):  # there and back and there again
        assert order("vlans")[1] == []
        assert bridge(host) == (1, 0)
        assert (vlans(host, "p1"), vlans(host, "p2")) == ({20: ["PVID", "Egress Untagged"]}, TRUNK)
        assert order("vlans") == ([], [])
        host.sh("ip link add stray type veth peer name strayx; ip link set stray master br0")
        assert vlans(host, "stray") == {}
        host.sh("ip link del stray; ip link set br0 type bridge vlan_default_pvid 1")
        done, failed = order("vlans")
        assert failed == []
        assert "vlan_default_pvid 0" in done[0]
        assert (bridge(host), vlans(host, "p2")) == ((1, 0), TRUNK)
        assert order("switch")[1] == []
        assert bridge(host) == (0, 1)
        assert order("switch") == ([], [])


@needs_wireguard
def test_a_wireguard_link_is_made_and_only_what_differs_is_made_again(
    host: Host, order: Order, keys: list[str]
) -> None:
    private, one = new_key(), keys[0]
    host.put_file(f"{FOLDER}/key", f"{private}\n", mode=0o600)
    host.put_file(f"{FOLDER}/psk", f"{new_secret()}\n", mode=0o600)
    done, failed = order("wireguard")
    assert failed == []
    assert done[0] == "ip link add wg0 mtu 1440 group 196 up type wireguard"
    assert private not in "".join(done)
    assert order("wireguard") == ([], [])
    before = shown(host)
    assert any(line.endswith("= [2001:db8::1]:4433") for line in before)
    assert "2001:db8:5::/64" in "".join(before)
    assert sum(line.count("/24") for line in before) == 1001
    changes = {
        f"wg set wg0 peer {one} remove": f"wg set wg0 peer {one}",
        f"wg set wg0 peer {one} endpoint 192.0.2.9:1": f"wg set wg0 peer {one}",
        f"wg set wg0 peer {one} allowed-ips 10.9.9.0/24": f"wg set wg0 peer {one}",
        f"wg set wg0 peer {one} allowed-ips 198.51.100.0/24,172.16.0.0/16": f"wg set wg0 peer {one}",
        f"wg set wg0 peer {one} persistent-keepalive 0": f"wg set wg0 peer {one}",
        f"wg set wg0 peer {one} preshared-key /dev/null": f"wg set wg0 peer {one}",
        f"wg set wg0 peer {public_key(new_key())} allowed-ips 10.0.3.0/24": "remove",
        "wg genkey | wg set wg0 private-key /dev/stdin": "wg set wg0 private-key",
        "wg set wg0 fwmark 5": "wg set wg0 fwmark 0",
        "wg set wg0 listen-port 4": "wg set wg0 listen-port 51820",
        "ip link set wg0 down": "ip link set wg0",
        "ip link del wg0": "ip link add wg0",
    }
    for change, repair in changes.items():
        host.sh(change)
        done, failed = order("wireguard")
        assert failed == []
        assert any(repair in line for line in done), (change, done)
        assert shown(host) == before, change
        assert order("wireguard") == ([], [])
    print(f"{len(changes)} changes by hand, all repaired")
    host.put_file(f"{FOLDER}/psk", "no key\n", mode=0o600)
    done, failed = order("wireguard")
    assert done == []
    assert "peer one's secret_file holds no key of WireGuard" in failed[0]
    assert shown(host) == before
    assert order("nothing")[1] == []
    assert "wg0" not in host.sh("ip link")


def shown(host: Host) -> list[str]:
    """Return what wg(8) shows of the link, its networks in order, and whether it is up."""
    lines = host.sh("wg showconf wg0").splitlines()
    lines = [
        ",".join(sorted(line.replace(" ", "").split("=", 1)[-1].split(","))) if "/" in line else line for line in lines
    ]
    return sorted([*lines, str("UP" in host.sh("ip -o link show wg0"))])
