"""What goes wrong is a failed result with its words, and nothing else stops."""

from __future__ import annotations

import sys

import msgspec
import pytest

from pubsub.topics import NextHopMethod
from supervisor.probing import Target
from tests.functional.probing.rig import SHORT, Rig, config, endpoint, hear, next_hop, silence
from tests.hosts import wait_until

CROWD = 32

# Sends ARP requests and replies of a stranger on a link for as long as it lives.
STORM = """
import socket, struct, sys
stranger, everybody = bytes.fromhex("020000000099"), b"\\xff" * 6
def frame(operation):
    head = struct.pack("!HHHBBH", 0x806, 1, 0x800, 6, 4, operation)
    return everybody + stranger + head + stranger + bytes((192, 168, 1, 99)) + everybody + bytes(4)
frames = frame(1), frame(2)
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as packet:
    packet.bind((sys.argv[1], 0))
    for _ in range(5000):
        for one in frames:
            packet.send(one)
    print("ready", flush=True)
    while True:
        for one in frames:
            packet.send(one)
"""


def test_a_gateway_that_answers_no_arp_makes_its_uplink_unhealthy_and_no_other(rig: Rig) -> None:
    rig.follow(*(Target(rig.uplink(number), config(hop=next_hop(timeout=SHORT))) for number in (0, 1)))
    rig.wait_answered("eth0", 1)
    rig.gateway.sh("ip link set up0 arp off")
    reason = rig.wait_health("eth0", False)
    assert reason.startswith("gateway 192.168.0.1 is silent (")
    assert reason.endswith("probes lost): no ARP reply within 300ms")
    assert rig.look()["health"]["eth1"]["healthy"]
    rig.gateway.sh("ip link set up0 arp on")
    assert not rig.wait_health("eth0", True)
    assert rig.look()["changes"] >= 2
    log = rig.log()
    assert "WARNING uplink eth0: gateway 192.168.0.1 silent since " in log
    assert "INFO uplink eth0: gateway 192.168.0.1 answers again, 3 in a row" in log
    assert (log.count("uplink eth0: not healthy"), log.count("INFO uplink eth0: healthy")) == (1, 1)
    assert "eth1" not in log


@pytest.mark.parametrize("method", [NextHopMethod.ARP, NextHopMethod.ICMP])
def test_a_gateway_that_is_gone_is_silent(rig: Rig, method: NextHopMethod) -> None:
    rig.follow(Target(rig.uplink(1), config(hop=next_hop(method, SHORT))))
    rig.wait_answered("eth1", 1)
    rig.gateway.sh("ip addr flush dev up1")
    rig.wait_health("eth1", False)
    rig.gateway.sh("ip addr add 192.168.1.1/24 dev up1")
    rig.wait_health("eth1", True)


@pytest.mark.parametrize(
    ("method", "words"), [(NextHopMethod.ARP, "no neighbour advertisement within 300ms"), (NextHopMethod.ICMP, "")]
)
def test_an_ipv6_gateway_that_is_gone_is_silent(rig: Rig, method: NextHopMethod, words: str) -> None:
    rig.add_ipv6()
    rig.follow(Target(rig.uplink(1, gateway6="2001:db8:11::1"), config(hop=next_hop(method, SHORT))))
    rig.wait_answered("eth1", 1)
    rig.gateway.sh("ip addr flush dev up1")
    reason = rig.wait_health("eth1", False)
    assert "gateway 2001:db8:11::1 is silent" in reason
    assert words in reason


def test_a_lan_full_of_arp_hides_no_answer(rig: Rig) -> None:
    """More than any socket holds comes between two tries: requests and replies of a stranger."""
    rig.follow(Target(rig.uplink(1), config(hop=next_hop())))
    rig.wait_answered("eth1", 1)
    rig.gateway.start([sys.executable, "-SE", "-c", STORM, "up1"])
    rig.wait_answered("eth1", 20)


def test_one_gateway_of_two_is_enough(rig: Rig) -> None:
    rig.add_ipv6()
    rig.follow(Target(rig.uplink(1, gateway6="2001:db8:11::1"), config(hop=next_hop(timeout=SHORT))))
    rig.wait_answered("eth1", 1)
    rig.gateway.sh("ip addr del 192.168.1.1/24 dev up1")
    seen = rig.wait(lambda seen: not seen["statuses"]["eth1"][0]["up"])
    assert seen["health"]["eth1"] == {"healthy": True, "endpoints_up": 0, "reason": ""}
    assert seen["statuses"]["eth1"][1]["up"]


@pytest.mark.parametrize("to", ["icmp://198.51.100.1", "tcp://198.51.100.1:80", "http://198.51.100.1/"])
def test_an_endpoint_that_falls_silent_is_down_and_comes_back(rig: Rig, to: str) -> None:
    rig.follow(Target(rig.uplink(1), config(endpoint(to, SHORT))))
    rig.wait_answered("eth1", 1)
    silence(rig.outside, "ip saddr 192.168.1.2")
    reason = rig.wait_health("eth1", False)
    assert reason.startswith(f"no endpoint answers: {to}: no ")
    assert reason.endswith(" within 300ms")
    assert rig.look()["health"]["eth1"]["endpoints_up"] == 0
    hear(rig.outside, "ip saddr 192.168.1.2")
    rig.wait_health("eth1", True)
    assert rig.look()["health"]["eth1"]["endpoints_up"] == 1


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("tcp://198.51.100.1:443", "connection refused"),
        ("http://198.51.100.1:443/", "connection refused"),
        ("http://198.51.100.1:8080/x", "HTTP status 503"),
        ("icmp://203.0.113.1", "network is unreachable"),  # told by the gateway, by ICMP
        ("tcp://203.0.113.1:80", "network is unreachable"),
    ],
)
def test_an_endpoint_that_does_not_serve_is_down_and_says_why(rig: Rig, to: str, words: str) -> None:
    rig.serve(503)
    rig.gateway.sh("sysctl -qw net.ipv4.icmp_ratemask=0")  # else it tells but once a second
    rig.follow(Target(rig.uplink(1), config(endpoint(to))))
    assert rig.wait_health("eth1", False) == f"no endpoint answers: {to}: {words}"


def test_a_server_that_denies_or_redirects_proves_the_way(rig: Rig) -> None:
    rig.serve(404)
    rig.serve(301, port=8081)
    to = [endpoint(f"http://198.51.100.1:{port}/") for port in (8080, 8081)]
    rig.follow(Target(rig.uplink(1), config(*to)))
    assert rig.wait_answered("eth1", 3)["health"]["eth1"]["endpoints_up"] == 2


def test_a_link_that_goes_down_or_away_under_the_probes_is_a_failure_in_the_kernels_words(rig: Rig) -> None:
    """The prober isn't told: the facts may come later than the probe."""
    uplink = rig.uplink(1)
    to = [endpoint(text) for text in ("icmp://198.51.100.1", "tcp://198.51.100.1:80", "http://198.51.100.1/")]
    rig.follow(
        Target(uplink, config(*to, hop=next_hop())), Target(rig.uplink(0), config(hop=next_hop(NextHopMethod.ICMP)))
    )
    rig.wait_answered("eth1", 1)
    for command, words in (("ip link set eth1 down", "network is down"), ("ip link del eth1", "no such device")):
        rig.host.sh(command)
        rig.wait(lambda seen, words=words: seen["statuses"]["eth1"][0]["error"] == words)  # type: ignore[misc]
        rig.wait(lambda seen: all(not status["up"] for status in seen["statuses"]["eth1"]))
    assert rig.look()["health"]["eth1"]["healthy"] is False
    rig.wait_answered("eth0", 3)
    assert "defect" not in rig.log()


def test_a_prober_without_the_rights_says_so(rig: Rig) -> None:
    rig.kill()
    rig.start(bounding="-net_raw,-net_admin")
    rig.follow(Target(rig.uplink(1), config(endpoint("icmp://198.51.100.1"), hop=next_hop())))
    # The next hop and the endpoint, each as soon as enough of its probes have failed.
    rig.wait(lambda seen: seen["health"]["eth1"]["reason"].count("operation not permitted") == 2)
    assert rig.look()["health"]["eth1"]["healthy"] is False


def test_all_are_asked_at_the_same_time(rig: Rig) -> None:
    """The server answers nobody until all wait: one after the other, the first would never get its answer."""
    rig.serve(200, crowd=CROWD)
    to = [endpoint(f"http://198.51.100.1:8080/{number}") for number in range(CROWD)]
    rig.follow(Target(rig.uplink(1), config(*to)))
    seen = rig.wait_answered("eth1", 1)
    assert [status["history"][0] >= 0 for status in seen["statuses"]["eth1"]] == [True] * CROWD
    assert seen["health"]["eth1"]["endpoints_up"] == CROWD


def test_no_socket_is_left_open(rig: Rig) -> None:
    """Answers, refusals, silence, errors, and probes that are ended while they wait."""
    before = rig.look()["files"]
    rig.add_ipv6()
    silence(rig.outside, "tcp dport 81")
    words = ("icmp://198.51.100.1", "tcp://198.51.100.1:80", "tcp://198.51.100.1:81", "tcp://198.51.100.1:82")
    to = [endpoint(text, SHORT) for text in (*words, "http://198.51.100.1/", "icmp://203.0.113.9")]
    both = [Target(rig.uplink(n, gateway6=f"2001:db8:1{n}::1"), config(*to, hop=next_hop())) for n in (0, 1)]
    rig.follow(*both)
    for ifname in ("eth0", "eth1"):
        rig.wait(lambda seen, i=ifname: all(len(s["history"]) >= 3 for s in seen["statuses"][i]))  # type: ignore[misc]
    rig.wait(lambda seen: seen["files"] >= before + 2)  # those for ARP stay open
    rig.follow(Target(rig.uplink(1), config(endpoint("tcp://198.51.100.1:81"))))  # waits for half a minute
    rig.wait(lambda seen: seen["files"] == before + 1)
    rig.follow()
    rig.wait(lambda seen: seen["files"] == before)


def test_a_defect_of_one_probe_is_logged_and_ends_no_other(rig: Rig) -> None:
    """A MAC address that is none can't come from the kernel: it stands for whatever is wrong in our own code."""
    broken = msgspec.structs.replace(rig.uplink(0), mac="no:ma:ca:dd:re:ss")
    to = endpoint("tcp://198.51.100.1:80")
    rig.follow(Target(broken, config(to, hop=next_hop())), Target(rig.uplink(1), config(hop=next_hop())))
    wait_until(lambda: rig.log().count("the probe of gateway 192.168.0.1 has a defect") >= 2)
    rig.wait_answered("eth1", 3)
    seen = rig.wait(lambda seen: len(seen["statuses"]["eth0"][1]["history"]) >= 3)
    assert seen["statuses"]["eth0"][1]["up"]
    assert seen["health"]["eth0"]["healthy"]
