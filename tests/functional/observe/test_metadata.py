"""The metadata server: each app is told what it is, whoever else has its address, and nobody else's."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nsmanager.metadata.duty import APP_LIMIT
from tests.functional.uplinks.rig import Rig
from tests.hosts import Topology, wait_until

URL, URL6 = "http://169.254.169.254", "http://[fd00:ec2::254]"
USER_DATA = "#cloud-config\nruncmd: [echo, hello]\n"
SUBNET, SUBNET6 = "10.1.0.0/24", "fd00:1::/64"
CONFIG: dict[str, Any] = {
    "uplinks": {"eth0": {"next_hop": {"method": "none"}}},
    "instances": {
        "red": {
            "subnet": SUBNET, "subnet6": SUBNET6,
            "apps": {
                "web": {"address": "10.1.0.80", "user_data": USER_DATA, "ports": ["8081:80/tcp"]},
                "rogue": {"address": "10.1.0.66"},
            },
        },
        "blue": {"subnet": SUBNET, "subnet6": SUBNET6, "apps": {"web": {"address": "10.1.0.80"}}},
    },
}  # fmt: skip
HOLD = """
import socket, sys
held = [socket.create_connection(("169.254.169.254", 80)) for _ in range(int(sys.argv[1]))]
for one in held: one.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\nX: ")
print("ready", flush=True)
sys.stdin.read()
"""
THROW = """
import socket, sys
for part in sys.stdin.read().split():
    conn = socket.create_connection(("169.254.169.254", 80), 60)
    try:
        conn.sendall(bytes.fromhex(part.strip("-")))
        conn.shutdown(socket.SHUT_WR)
        while conn.recv(65536): pass
    except OSError: pass
"""


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    """Two instances with one subnet and apps of one address, and an app that isn't honest."""
    with Rig(Topology(ipv6=True), CONFIG, ["red/web", "red/rogue", "blue/web"]) as made:
        yield made


def get(rig: Rig, app: str, path: str, *more: str, url: str = URL) -> str:
    """Return what an app is told. Raises AssertionError with curl's words."""
    return rig.run(app, "curl", "-sSf", "--max-time", "60", *more, url + path)


def told(rig: Rig, app: str, url: str = URL) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(get(rig, app, "/nsvisor/v1/app.json", url=url))
    return found


def test_two_apps_of_one_address_are_told_their_own(rig: Rig) -> None:
    for instance in ("red", "blue"):
        found = told(rig, f"{instance}/web")
        assert (found["instance"], found["app"], found["addresses"]) == (instance, "web", ["10.1.0.80"])
        assert (found["uplink"], found["external"]) == ("eth0", ["192.168.0.2"])
        assert f"link/ether {found['mac']} " in rig.run(f"{instance}/web", "ip", "link", "show", "eth0")
    assert told(rig, "red/web")["ports"] == ["8081:80/tcp"]
    assert told(rig, "red/rogue")["app"] == "rogue"


def test_by_ipv6_too(rig: Rig) -> None:
    wait_until(lambda: "fd00:1::" in rig.run("blue/web", "ip", "-6", "addr", "show", "dev", "eth0"), what="SLAAC")
    found = told(rig, "blue/web", URL6)
    assert (found["instance"], found["app"]) == ("blue", "web")
    assert found["addresses6"][0] in rig.run("blue/web", "ip", "-6", "addr", "show", "dev", "eth0")


def test_who_takes_anothers_address_is_not_told_its_secrets(rig: Rig) -> None:
    rig.run("red/rogue", "ip", "addr", "add", "10.1.0.80/32", "dev", "eth0")
    argv = ["curl", "-s", "--max-time", "2", "--interface", "10.1.0.80", f"{URL}/user-data"]
    assert "hello" in get(rig, "red/web", "/user-data")
    assert "hello" not in rig.run("red/rogue", *argv, check=False)
    rig.run("red/rogue", "ip", "addr", "del", "10.1.0.80/32", "dev", "eth0")
    assert told(rig, "red/rogue")["app"] == "rogue"


def test_as_cloud_init_reads_ec2(rig: Rig) -> None:
    ttl = "X-aws-ec2-metadata-token-ttl-seconds: 21600"
    token = get(rig, "red/web", "/latest/api/token", "-X", "PUT", "-H", ttl)
    header = ("-H", f"X-aws-ec2-metadata-token: {token}")
    assert get(rig, "red/web", "/2009-04-04/meta-data/instance-id", *header)

    def crawl(path: str) -> Iterator[tuple[str, str]]:
        for name in get(rig, "red/web", path, *header).split("\n"):
            if name.endswith("/"):
                yield from crawl(path + name)
            else:
                yield path + name, get(rig, "red/web", path + name, *header)

    found = dict(crawl("/2021-03-23/meta-data/"))
    base = "/2021-03-23/meta-data"
    mac = told(rig, "red/web")["mac"]
    assert found[f"{base}/local-ipv4"] == "10.1.0.80"
    assert found[f"{base}/public-ipv4"] == "192.168.0.2"
    assert found[f"{base}/local-hostname"].startswith("web.")
    assert found[f"{base}/network/interfaces/macs/{mac}/subnet-ipv4-cidr-block"] == SUBNET
    assert all(found.values())
    assert get(rig, "red/web", "/2021-03-23/user-data", *header) == USER_DATA
    assert json.loads(get(rig, "red/web", "/2021-03-23/dynamic/instance-identity/document", *header))["privateIp"]
    with pytest.raises(AssertionError, match="404"):
        get(rig, "blue/web", "/latest/user-data")


def test_as_cloud_init_reads_nocloud(rig: Rig) -> None:
    seed = {name: get(rig, "red/web", f"/{name}") for name in ("meta-data", "user-data", "vendor-data")}
    network = yaml.safe_load(get(rig, "red/web", "/network-config"))
    assert yaml.safe_load(seed["meta-data"])["local-hostname"] == "web"
    assert (seed["user-data"], seed["vendor-data"]) == (USER_DATA, "")
    [link] = network["ethernets"].values()
    assert (network["version"], link["dhcp4"], link["match"]["macaddress"]) == (2, True, told(rig, "red/web")["mac"])
    ids = {yaml.safe_load(get(rig, app, "/meta-data"))["instance-id"] for app in rig.apps}
    assert len(ids) == len(rig.apps)
    assert get(rig, "blue/web", "/user-data") == ""


def test_as_eve_tells(rig: Rig) -> None:
    found = json.loads(get(rig, "red/web", "/eve/v1/network.json"))
    assert found["caller-ip"].startswith("10.1.0.80:")
    assert (found["external-ipv4"], found["hostname"]) == ("192.168.0.2", "web")


def test_who_is_no_app_of_the_config_is_told_so(rig: Rig) -> None:
    done = rig.daemon.cli("exec", "red", "--", "curl", "-s", "-w", "%{http_code}", URL + "/user-data")
    assert "hello" not in done.stdout
    assert done.stdout.endswith("404")


def test_an_app_that_holds_connections_harms_nobody(rig: Rig) -> None:
    argv = rig.inside("red/rogue", sys.executable, "-SE", "-c", HOLD, APP_LIMIT)
    holder = rig.host.popen(argv, stdin=-1, stdout=-1)
    try:
        assert holder.stdout
        assert holder.stdout.readline() == "ready\n"
        with pytest.raises(AssertionError, match=r"exit (52|56)"):
            get(rig, "red/rogue", "/")
        assert told(rig, "red/web")["app"] == "web"
    finally:
        holder.kill()
        holder.wait()
    wait_until(lambda: told(rig, "red/rogue")["app"] == "rogue", what="it may ask again")


def test_it_is_back_with_its_address_its_bridge_and_its_manager(rig: Rig) -> None:
    pid = rig.status("red").pid
    for harm in ("ip addr del 169.254.169.254/32 dev br0", "ip link del br0"):
        rig.host.sh(harm, netns="red")
        wait_until(lambda: told(rig, "red/web")["app"] == "web", what=f"after {harm}")
    assert rig.status("red").pid == pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: told(rig, "red/web")["app"] == "web", what="the next manager")


@given(st.lists(st.binary(min_size=1, max_size=3000), min_size=1, max_size=20))
@settings(max_examples=25)
def test_hostile_bytes_end_nothing(rig: Rig, parts: list[bytes]) -> None:
    pid = rig.status("red").pid
    parts += [b"GET / HTTP/1.1\r\nHost: x\r\nX: " + part for part in parts]
    parts += [b"GET /\xff%zz%00" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\nHost: x\r\n"]
    parts += [b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + parts[0]]
    text = "\n".join(f"-{part.hex()}" for part in parts)
    with contextlib.suppress(AssertionError):
        rig.host.run(rig.inside("red/rogue", sys.executable, "-SE", "-c", THROW), text=text)
    assert told(rig, "red/web")["app"] == "web"
    assert rig.status("red").pid == pid
    assert "Traceback" not in rig.host.read_file(rig.daemon.run_dir / "logs/red.log")
