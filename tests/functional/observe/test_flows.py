"""The flow log: one record of each connection and of what was dropped, true to the byte."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from tests.functional.nsmanager.rig import NAME
from tests.functional.observe.rig import FREE, GUARDED, HOST, HOST6, PYTHON, ROUTER, Rig
from tests.hosts import Host, wait_until
from tests.hosts.waiting import DEADLINE

TALK = Path(__file__).with_name("talk.py")
PORT = 9000
CONNECTIONS, DATAGRAM_FLOWS = 10_000, 3000
MANY_TIMEOUT = 5 * DEADLINE  # seconds for so many
FLOWS_AT_ONCE = 9000  # of which each is about a kilobyte in a socket's buffer
COUNTERS = """
add table inet count
delete table inet count
table inet count {
	counter sent { }
	counter received { }
	chain out { type filter hook output priority filter; meta l4proto { tcp, udp } th dport %d counter name sent; }
	chain in { type filter hook input priority filter; meta l4proto { tcp, udp } th sport %d counter name received; }
}
"""


@pytest.fixture(scope="module", autouse=True)
def servers(rig: Rig) -> None:
    """A page on the host and on both apps, an answering machine on the host, IPv4 and IPv6."""
    rig.host.serve_page("host")
    rig.host.serve_echo()
    rig.free.serve_page("free")
    rig.guarded.serve_page("guarded")
    for address, port in ((HOST, PORT), (HOST6, PORT + 1)):
        rig.host.start([*PYTHON, TALK, "answer", address, port])


def counted(host: Host, name: str, table: str = "inet count", netns: str = "") -> tuple[int, int]:
    """Return packets and bytes of an nft counter."""
    words = host.sh(f'nft list counter {table} "{name}"', netns=netns).split()
    return int(words[words.index("packets") + 1]), int(words[words.index("bytes") + 1])


def test_a_connection_outwards(rig: Rig) -> None:
    rig.free.fetch(f"http://{HOST}/?out")
    [flow] = rig.flows.wait(app="free", destination=HOST, destination_port=80)
    assert (flow.verdict, flow.direction, flow.protocol, flow.rule) == ("allowed", "out", "tcp", "")
    assert str(flow.source) == str(FREE.address) and flow.source_port
    assert flow.sent_packets >= 5 and flow.received_packets >= 4
    assert flow.sent_bytes > flow.sent_packets * 40 and flow.received_bytes > flow.received_packets * 40
    assert 1_700_000_000 < flow.start < flow.end < flow.start + 60
    assert not flow.peer_app


def test_a_rule_that_let_it_pass_is_named(rig: Rig) -> None:
    rig.guarded.fetch(f"http://{HOST}/")
    [flow] = rig.flows.wait(app="guarded", destination=HOST, destination_port=80)
    assert (flow.rule, flow.verdict, flow.direction) == ("pages", "allowed", "out")


def test_a_port_map_is_a_connection_inwards(rig: Rig) -> None:
    assert "free" in rig.host.fetch("http://100.127.0.1:8080/")
    [flow] = rig.flows.wait(app="free", direction="in")
    assert (str(flow.source), str(flow.destination), flow.destination_port) == (HOST, "100.127.0.1", 8080)
    assert flow.verdict == "allowed" and not flow.peer_app


def test_a_connection_between_apps_names_both(rig: Rig) -> None:
    assert "guarded" in rig.free.fetch(f"http://{GUARDED.address}/")
    [flow] = rig.flows.wait(app="free", peer_app="guarded")
    assert (str(flow.source), str(flow.destination)) == (str(FREE.address), str(GUARDED.address))
    assert (flow.direction, flow.verdict) == ("out", "allowed")


def test_ipv6_too(rig: Rig) -> None:
    rig.free.fetch(f"http://[{HOST6}]/")
    [flow] = rig.flows.wait(app="free", destination=HOST6)
    assert (str(flow.source), flow.protocol, flow.destination_port) == (str(FREE.address6), "tcp", 80)
    assert flow.sent_bytes > flow.sent_packets * 60


@pytest.mark.parametrize(("address", "protocol"), [(HOST, "icmp"), (HOST6, "icmpv6")])
def test_echoes_end_when_they_expire(rig: Rig, address: str, protocol: str) -> None:
    rig.free.sh(f"ping -c 3 -i 0.1 -W 30 {address}")
    [flow] = rig.flows.wait(app="free", protocol=protocol)
    header = 20 if protocol == "icmp" else 40
    assert (flow.sent_packets, flow.received_packets) == (3, 3)
    assert (flow.sent_bytes, flow.received_bytes) == (3 * (header + 64), 3 * (header + 64))
    assert (flow.source_port, flow.destination_port) == (0, 0)


def test_a_datagram_without_an_answer(rig: Rig) -> None:
    rig.free.run([*PYTHON, TALK, "send", HOST, 4444, 3])
    [flow] = rig.flows.wait(app="free", protocol="udp", destination_port=4444)
    assert (flow.source_port, flow.sent_packets, flow.sent_bytes, flow.received_packets) == (4000, 3, 3 * 128, 0)


def test_drops_are_told_by_rule_and_add_up_to_its_counter(rig: Rig) -> None:
    before = {rule: sum_of(rig, rule) for rule in ("never", "default")}
    for port in (81, 81, 82):
        done = rig.guarded.run(["curl", "-s", "--max-time", "1.5", f"http://{HOST}:{port}/"], check=False)
        assert done.returncode == 28
    rig.guarded.run([*PYTHON, TALK, "send", HOST, 4445, 50])
    rig.flows.wait(app="guarded", verdict="dropped", rule="default", protocol="udp", destination_port=4445)
    for rule in ("never", "default"):

        def told(rule: str = rule) -> bool:
            packets, size = counted(rig.host, f"met/guarded/{rule}", "inet nsvisor", netns=NAME)
            assert packets > 0
            return sum_of(rig, rule) == (packets, size)

        wait_until(told, what=f"all drops of {rule}: {before}")
    first = rig.flows.find(app="guarded", verdict="dropped", rule="never")[0]
    assert (first.direction, first.protocol, str(first.source), str(first.destination), first.destination_port) == (
        "out", "tcp", str(GUARDED.address), HOST, 81,
    )  # fmt: skip
    datagrams = rig.flows.find(verdict="dropped", protocol="udp", destination_port=4445)
    assert sum(one.sent_packets for one in datagrams) == 50
    assert len(datagrams) < 25  # put together


def sum_of(rig: Rig, rule: str) -> tuple[int, int]:
    found = rig.flows.find(app="guarded", verdict="dropped", rule=rule)
    return sum(one.sent_packets for one in found), sum(one.sent_bytes for one in found)


def test_a_drop_between_apps_is_its_targets(rig: Rig) -> None:
    done = rig.free.run(["curl", "-s", "--max-time", "1", f"http://{GUARDED.address}:82/"], check=False)
    assert done.returncode == 28
    flow = rig.flows.wait(app="guarded", verdict="dropped", direction="in", destination_port=82)[0]
    assert (flow.rule, flow.peer_app, str(flow.source)) == ("default", "free", str(FREE.address))


def test_what_an_app_asks_of_its_instance_is_no_flow(rig: Rig) -> None:
    rig.free.fetch("http://169.254.169.254/")
    rig.free.sh(f"busybox nslookup -type=a free.red.internal {ROUTER}")
    rig.queries.wait(app="free", name="free.red.internal")
    rig.free.run([*PYTHON, TALK, "send", HOST, 4446, 1])
    rig.flows.wait(destination_port=4446)  # began later, and is told
    assert not rig.flows.find(destination="169.254.169.254")
    assert not rig.flows.find(destination=ROUTER)


@pytest.mark.parametrize(("address", "port"), [(HOST, PORT), (HOST6, PORT + 1)], ids=["IPv4", "IPv6"])
def test_the_sums_are_the_bytes_on_the_wire(rig: Rig, address: str, port: int) -> None:
    rig.free.run(["nft", "-f", "-"], text=COUNTERS % (port, port))
    many = CONNECTIONS if address == HOST else CONNECTIONS // 10
    done = rig.free.run([*PYTHON, TALK, "connections", address, port, many], timeout=MANY_TIMEOUT)
    assert done.stdout == "done\n"
    done = rig.free.run([*PYTHON, TALK, "datagrams", address, port, DATAGRAM_FLOWS], timeout=MANY_TIMEOUT)
    assert done.stdout == "done\n"
    rig.flows.wait(many, destination_port=port, protocol="tcp")
    rig.flows.wait(DATAGRAM_FLOWS, destination_port=port, protocol="udp")
    found = rig.flows.find(destination_port=port)
    assert rig.flows.lost == 0
    assert Counter(one.protocol for one in found) == {"tcp": many, "udp": DATAGRAM_FLOWS}
    sent = sum(one.sent_packets for one in found), sum(one.sent_bytes for one in found)
    received = sum(one.received_packets for one in found), sum(one.received_bytes for one in found)
    assert sent == counted(rig.free, "sent")
    assert received == counted(rig.free, "received")


def test_each_connection_from_one_port_is_another(rig: Rig) -> None:
    done = rig.free.run([*PYTHON, TALK, "again", HOST, PORT, 50])
    assert done.stdout == "done\n"
    found = rig.flows.wait(50, source_port=19_999)
    assert len(found) == len({one.start for one in found}) == 50


def test_more_ends_at_once_than_a_socket_holds_are_all_told(rig: Rig) -> None:
    rig.publish(limits=msgspec.structs.replace(rig.config.limits, flows=0))
    rig.wait_ready()
    port = PORT + 2
    rig.host.start([*PYTHON, TALK, "answer", HOST, port])
    os.kill(rig.pid, signal.SIGSTOP)
    done = rig.free.run([*PYTHON, TALK, "datagrams", HOST, port, FLOWS_AT_ONCE], timeout=MANY_TIMEOUT)
    assert done.stdout == "done\n"
    time.sleep(1.5)  # until all have expired: who lists them has them deleted at once
    rig.inside("conntrack -L -p udp 2>/dev/null")
    os.kill(rig.pid, signal.SIGCONT)
    found = rig.flows.wait(FLOWS_AT_ONCE, destination_port=port)
    assert len({one.source_port for one in found}) == len(found) == FLOWS_AT_ONCE


def wait_watched(rig: Rig) -> None:
    """Return once a manager logs flows."""
    known = len(rig.flows.find(destination_port=80))

    def told() -> bool:
        rig.free.fetch(f"http://{HOST}/")
        return len(rig.flows.find(destination_port=80)) > known

    wait_until(told, what="a record")


def test_over_a_restart_none_is_told_twice(rig: Rig) -> None:
    holder = rig.free.popen(
        [*PYTHON, TALK, "hold", HOST, PORT, 300], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )  # fmt: skip
    assert holder.stdin and holder.stdout
    held = [int(word) for word in holder.stdout.readline().split()]

    def end(count: int) -> list[int]:
        assert holder.stdin and holder.stdout
        holder.stdin.write(f"{count}\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == "ended\n"
        return [held.pop(0) for _ in range(count)]

    def told(ports: list[int]) -> Counter[int]:
        found = rig.flows.find(app="free", destination_port=PORT, protocol="tcp")
        return Counter(one.source_port for one in found if one.source_port in ports and one.end > began)

    began = max((one.end for one in rig.flows.records), default=0.0)
    before = end(100)
    wait_until(lambda: len(told(before)) == 100, what="those before")
    rig.kill()
    between = end(100)
    rig.start()
    wait_watched(rig)
    after = end(100)
    wait_until(lambda: len(told(after)) == 100, what="those after")
    rig.free.run([*PYTHON, TALK, "send", HOST, 4447, 1])
    rig.flows.wait(destination_port=4447)  # that expires a second later: whatever was to be told twice has been
    counts = told(before + between + after)
    assert set(counts.values()) == {1}
    assert counts.keys() >= set(before + after)
