"""An app that was taken over, in a whole daemon: it reaches nobody's sockets, and harms nobody on its bridge."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.attack.conftest import Tally
from tests.functional.uplinks.rig import PYTHON, Rig
from tests.hosts import DEADLINE, Capture, Topology, wait_until
from tests.hosts.topology import OUTSIDE

PORT = 8088  # of services of the host, of an instance and of other apps
WEB, ROGUE, DB = "10.1.0.80", "10.1.0.66", "10.1.0.81"
CONFIG: dict[str, Any] = {
    "uplinks": {"eth0": {"next_hop": {"method": "none"}}},
    "instances": {
        "red": {
            "subnet": "10.1.0.0/24", "subnet6": "fd00:1::/64", "dns": {"servers": [OUTSIDE]},
            "apps": {
                "web": {"address": WEB, "user_data": "the secret of web"},
                "rogue": {"address": ROGUE, "user_data": "rogue's own"},
                "db": {"address": DB, "rules": [{"direction": "in", "apps": ["web"], "protocol": "tcp"}]},
                "bound": {"address": "10.1.0.67", "rules": [{"host": "rebind.test"}]},
                "left": {"attach": {"netns": "loop", "ifname": "left", "configure": False}},
                "right": {"attach": {"netns": "loop", "ifname": "right", "configure": False}},
            },
        },
        "blue": {"subnet": "10.1.0.0/24", "apps": {"web": {"address": WEB}}},
    },
}  # fmt: skip
# What a hostile name server says of its names, and what becomes of it: none is what an app could reach by it.
NAMES = {
    "loopback": "127.0.0.1", "thishost": "0.0.0.0", "linklocal": "169.254.169.254", "loopback6": "::1",
    "mapped": "::ffff:127.0.0.1", "linklocal6": "fe80::1", "metadata6": "fd00:ec2::254",
}  # fmt: skip
HOST = "192.168.0.2"
CONNECT_ABSTRACT = """
import socket
with socket.socket(socket.AF_UNIX) as client:
    try:
        client.connect("\\0nsvisor-attack")
        print("worked")
    except OSError as exc:
        print(exc)
"""
LISTEN_ABSTRACT = """
import socket, time
with socket.socket(socket.AF_UNIX) as server:
    server.bind("\\0nsvisor-attack")
    server.listen()
    print("ready", flush=True)
    time.sleep(1000)
"""


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    topology = Topology(ipv6=True)
    topology.host.sh("ip netns add loop")
    names = [f"--address=/{name}.test/{address}" for name, address in NAMES.items()]
    names += [f"--address=/rebind.test/{DB}", f"--address=/host.test/{HOST}", "--address=/good.test/203.0.113.9"]
    topology.outside.popen(["dnsmasq", "-k", "--no-resolv", "--no-hosts", "--pid-file=", *names])
    with Rig(topology, CONFIG, ["red/web", "red/rogue", "red/db", "red/bound", "blue/web"]) as made:
        yield made


def resolve(rig: Rig, app: str, name: str) -> str:
    """Return what the instance's DNS answers."""
    return rig.run(app, "busybox", "nslookup", name, "10.1.0.1", check=False)


def address(rig: Rig, ifname: str, netns: str = "") -> str:
    found: str = rig.host.sh(f"ip -4 -o addr show {ifname}", netns=netns).split()[3].partition("/")[0]
    return found


def test_it_reaches_nobodys_sockets(rig: Rig, tally: Tally) -> None:
    """Each door is seen to open to somebody first."""
    rig.host.serve_page("host", PORT)
    for netns in ("red", "blue"):
        rig.host.serve_page(f"instance {netns}", PORT, netns=netns)
    rig.serve("red/db", "page", PORT, "db")
    rig.serve("blue/web", "page", PORT, "blue's web")
    ends = {end: address(rig, *end) for end in (("v-red",), ("v-blue",), ("up0", "red"), ("up0", "blue"))}
    doors = {
        "the instance by its bridge": "http://10.1.0.1",
        "the instance by its link": f"http://{ends['up0', 'red']}",
        "the instance by the metadata's address": "http://169.254.169.254",
        "the instance by IPv6": "http://[fd00:1::1]",
        "the host by the link": f"http://{ends['v-red',]}",
        "the host by its uplink": f"http://{HOST}",
        "the host by another's link": f"http://{ends['v-blue',]}",
        "another instance by its link": f"http://{ends['up0', 'blue']}",
        "an app that lets in web only": f"http://{DB}",
    }
    urls = {what: f"{url}:{PORT}/" for what, url in doors.items()}
    tally(len(urls) + 1)
    assert rig.topology.gateway.fetch(f"http://{HOST}:{PORT}/").startswith("host")
    assert "db" in rig.fetch("red/web", f"http://{DB}:{PORT}/")
    assert "instance" in rig.host.fetch("http://127.0.0.1:8088/", netns="red")
    outside = {"outside": f"http://{OUTSIDE}/"}
    assert rig.reached(outside, "red/rogue", must=outside)
    assert rig.reached(urls, "red/rogue") == {}
    listener = rig.host.start([*PYTHON, "-c", LISTEN_ABSTRACT])
    assert rig.host.run([*PYTHON, "-c", CONNECT_ABSTRACT]).stdout == "worked\n"
    assert "refused" in rig.run("red/rogue", *PYTHON, "-c", CONNECT_ABSTRACT)
    listener.kill()


def test_it_is_no_dhcp_server(rig: Rig, tally: Tally) -> None:
    """A real one answers; the victim hears the instance's."""
    tally()
    words = ["-k", "-p0", "--no-ping", "--dhcp-authoritative", "--pid-file=", "--dhcp-leasefile=/run/rogue.leases"]
    words += [
        "--dhcp-range=10.1.0.210,10.1.0.220,10m",
        "--dhcp-option=3,10.1.0.66",
        "--interface=eth0",
        "--log-facility=/run/rogue.log",
    ]
    rogue = rig.host.popen(rig.inside("red/rogue", "dnsmasq", *words))
    log = rig.host.path("/run/rogue.log")
    wait_until(lambda: log.exists() and "IP range" in log.read_text(), what="the rogue server")
    before = spoofed(rig, "rogue")
    ask = ["busybox", "udhcpc", "-i", "eth0", "-f", "-q", "-n", "-t", "20", "-T", "1", "-s", "/bin/true"]
    said = rig.host.run(rig.inside("red/web", *ask), check=False)
    rogue.kill()
    assert "10.1.0.80" in said.stderr, said.stderr
    assert "DHCPOFFER" in log.read_text(), "it has answered"
    assert spoofed(rig, "rogue") > before


def spoofed(rig: Rig, app: str) -> int:
    listed = rig.host.sh(f"nft list counter bridge nsvisor spoofed/{app}", netns="red")
    return int(listed.split("packets")[1].split()[0])


def test_it_is_no_router(rig: Rig, tally: Tally) -> None:
    """A real radvd; the victim's kernel learns the instance's router only."""
    tally()
    rig.host.put_file(
        "/run/rogue-radvd.conf",
        "interface eth0 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; prefix 2001:db8:66::/64 { }; };",
    )
    wait_until(lambda: rig.run("red/web", "ip", "-6", "route", "show", "default"), what="the instance's router")
    before = spoofed(rig, "rogue")
    rig.run("red/rogue", "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
    words = ["radvd", "-n", "-m", "stderr", "-C", "/run/rogue-radvd.conf", "-p", "/run/rogue-radvd.pid"]
    with Capture(rig.host, "p-web", "icmp6 and ip6[40] == 134", netns="red") as seen:
        rogue = rig.host.popen(rig.inside("red/rogue", *words), stderr=subprocess.DEVNULL)
        wait_until(lambda: spoofed(rig, "rogue") > before, what="its advertisement")
        rig.run("red/web", "busybox", "ping", "-6", "-c", "1", "-W", "30", "fd00:1::1")
        rogue.kill()
    assert "2001:db8:66" not in rig.run("red/web", "ip", "-6", "addr", "show", "dev", "eth0")
    assert "2001:db8:66" not in seen.text()


def test_a_hostile_name_leads_nowhere(rig: Rig, tally: Tally) -> None:
    tally(len(NAMES) + 2)
    wait_until(lambda: "203.0.113.9" in resolve(rig, "red/rogue", "good.test"), what="the hostile server answers")
    for name, meant in NAMES.items():
        said = resolve(rig, "red/rogue", f"{name}.test")
        assert "NXDOMAIN" in said, (name, said)
        assert meant not in said.partition("\n\n")[2], (name, said)
    assert HOST in resolve(rig, "red/rogue", "host.test")  # the kernel stops that, whatever a name says
    assert rig.reached({"host": f"http://{HOST}:{PORT}/"}, "red/rogue") == {}
    # A name that a rule allows, and that leads to another app: a rule about names is about what lies outside.
    assert DB in resolve(rig, "red/bound", "rebind.test")
    assert rig.reached({"db": f"http://{DB}:{PORT}/"}, "red/bound") == {}


def test_a_page_of_a_hostile_name_gets_no_metadata(rig: Rig, tally: Tally) -> None:
    tally(2)
    url = "http://169.254.169.254/user-data"
    assert rig.run("red/rogue", "curl", "-sS", "--max-time", f"{DEADLINE:g}", url) == "rogue's own"
    said = rig.run("red/rogue", "curl", "-sS", "--max-time", f"{DEADLINE:g}", "-H", "Host: evil.test", url)
    assert "own" not in said
    rig.run("red/rogue", "ip", "addr", "add", f"{WEB}/32", "dev", "eth0")
    taken = rig.run("red/rogue", "curl", "-sS", "--max-time", "2", "--interface", WEB, url, check=False)
    rig.run("red/rogue", "ip", "addr", "del", f"{WEB}/32", "dev", "eth0")
    assert "secret" not in taken


def test_a_bridge_of_its_two_ports_is_no_loop(rig: Rig, tally: Tally) -> None:
    tally()
    attached = "ip -o link show p-left; ip -o link show p-right"
    wait_until(
        lambda: rig.host.run(["sh", "-ec", attached], netns="red", check=False).returncode == 0, what="both ports"
    )
    rig.host.sh(
        "ip link add loop type bridge stp_state 0; ip link set loop up;"
        "for end in left right; do ip link set $end master loop up; done",
        netns="loop",
    )
    with Capture(rig.host, "left", "arp", netns="loop") as seen:
        rig.run("red/web", "busybox", "arping", "-c", "3", "-I", "eth0", "10.1.0.199", check=False)
    asked = [packet for packet in seen.packets if "10.1.0.199" in packet]
    assert 3 <= len(asked) <= 6, asked  # each once by each port at most; a loop would make thousands
    wait_until(lambda: spoofed(rig, "left") + spoofed(rig, "right") >= 3, what="what came back is counted")
    assert rig.fetch("red/web", f"http://{OUTSIDE}/").startswith("outside")
