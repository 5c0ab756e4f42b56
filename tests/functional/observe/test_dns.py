"""The DNS log, and the time that addresses of names stay in the rules' sets."""

from __future__ import annotations

import os
import signal
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address

import msgspec
import pytest

from nsmanager.firewall import host_sets
from pubsub.topics import LogConfig, Rule
from tests.functional.observe.rig import FREE, GUARDED, HOST, ROUTER, ROUTER6, Rig
from tests.hosts import wait_until

UPSTREAM = """\
no-resolv
no-hosts
user=root
listen-address={host}
bind-interfaces
host-record=long.test,192.0.2.1,2001:db8::1,600
host-record=a.short.test,192.0.2.2,3
host-record=b.short.test,192.0.2.3,600
host-record=both.short.test,192.0.2.3,3
host-record=other.test,192.0.2.9,600
cname=alias.test,long.test,600
local=/test/
local-ttl=600
"""
RULED = (*(GUARDED.rules or ()), Rule(name="short", host="*.short.test"))


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    """An instance whose resolver is the host's own dnsmasq; `guarded` has a rule with a host name."""
    guarded = msgspec.structs.replace(GUARDED, rules=RULED)
    with Rig(apps=(FREE, guarded), servers=(IPv4Address(HOST),)) as made:
        made.host.put_file("/run/upstream.conf", UPSTREAM.format(host=HOST) + "pid-file=/run/upstream.pid\n")
        made.host.run(["dnsmasq", "--conf-file=/run/upstream.conf"])
        yield made


def ask(rig: Rig, name: str, kind: str = "a", *more: str, server: str = ROUTER) -> str:
    """Ask the instance's DNS as `free`; return what busybox or dig says."""
    return rig.free.run(["busybox", "nslookup", f"-type={kind}", *more, name, server], check=False).stdout


def test_a_query_with_its_answer(rig: Rig) -> None:
    assert "192.0.2.1" in ask(rig, "Long.TEST")
    [query] = rig.queries.wait(name="long.test", type="A")
    assert (query.app, str(query.source), query.protocol, query.code) == ("free", str(FREE.address), "udp", "NOERROR")
    assert query.answers == ("192.0.2.1",)
    assert 0 < query.ttl <= 600 and query.latency > 0 and query.at > 1_700_000_000


def test_a_name_that_does_not_exist(rig: Rig) -> None:
    ask(rig, "nowhere.test")
    [query] = rig.queries.wait(name="nowhere.test")
    assert (query.code, query.answers, query.ttl) == ("NXDOMAIN", (), 0)


def test_an_alias_and_ipv6(rig: Rig) -> None:
    assert "2001:db8::1" in ask(rig, "alias.test", "aaaa", server=ROUTER6)
    [query] = rig.queries.wait(name="alias.test", type="AAAA")
    assert query.answers == ("long.test", "2001:db8::1")
    assert (query.app, str(query.source)) == ("free", str(FREE.address6))


def by_tcp(rig: Rig, app: str, *messages: bytes) -> None:
    """Send bytes to the instance's DNS by TCP and read until it has nothing to say any more."""
    script = (
        "import socket, sys; s = socket.create_connection((sys.argv[1], 53), 60)\n"
        "for part in sys.argv[2:]: s.sendall(bytes.fromhex(part))\n"
        "s.shutdown(socket.SHUT_WR)\nwhile s.recv(4096): pass"
    )
    host = getattr(rig, app)
    host.run(["python3", "-c", script, ROUTER, *(message.hex() for message in messages)], check=False)


def question(name: str, kind: int = 1, number: int = 7) -> bytes:
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)


def test_by_tcp_in_pieces(rig: Rig) -> None:
    first, second = question("long.test", number=1), question("other.test", number=2)
    both = struct.pack("!H", len(first)) + first + struct.pack("!H", len(second)) + second
    by_tcp(rig, "guarded", both[:1], both[1:20], both[20:])
    for name, address in (("long.test", "192.0.2.1"), ("other.test", "192.0.2.9")):
        [query] = rig.queries.wait(name=name, protocol="tcp")
        assert (query.app, query.answers) == ("guarded", (address,))


def test_who_asked_is_told_by_the_port(rig: Rig) -> None:
    rig.guarded.run(["busybox", "nslookup", "-type=a", "printer.red.internal", ROUTER])
    [query] = rig.queries.wait(name="printer.red.internal")
    assert (query.app, query.answers) == ("guarded", ("10.1.0.9",))


def elements(rig: Rig) -> dict[str, int]:
    """Return what the set of `short.test` holds, with the seconds that it was to stay."""
    assert rig.config is not None
    name, _ = host_sets(rig.config)["short.test"]
    text = rig.inside(f"nft -s list set inet nsvisor {name}")
    body = text.partition("elements = {")[2].partition("}")[0]
    found = {}
    for element in body.split(","):
        words = element.split()
        if words:
            found[words[0]] = seconds(words[words.index("timeout") + 1]) if "timeout" in words else 0
    return found


def seconds(text: str) -> int:
    total, number = 0, ""
    for letter in text.replace("ms", ""):
        if letter.isdigit():
            number += letter
        else:
            total += int(number) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[letter]
            number = ""
    return total


def test_an_address_stays_as_long_as_its_answer_and_leaves_then(rig: Rig) -> None:
    ask(rig, "b.short.test")
    wait_until(lambda: 500 < elements(rig).get("192.0.2.3", 0) <= 600, what="the answer's time")
    ask(rig, "a.short.test")
    rig.queries.wait(name="a.short.test")
    wait_until(lambda: "192.0.2.2" not in elements(rig), what="the address has left")
    assert "192.0.2.3" in elements(rig)


def test_the_longest_of_two_names_counts(rig: Rig) -> None:
    ask(rig, "b.short.test")
    wait_until(lambda: elements(rig).get("192.0.2.3", 0) > 500)
    ask(rig, "both.short.test")
    rig.queries.wait(name="both.short.test")
    rig.free.run(["busybox", "nslookup", "-type=a", "last.test", ROUTER], check=False)
    rig.queries.wait(name="last.test")  # what came before it was taken
    assert elements(rig)["192.0.2.3"] > 500


def test_names_of_others_fill_no_set(rig: Rig) -> None:
    ask(rig, "other.test")
    rig.queries.wait(name="other.test", protocol="udp")
    assert "192.0.2.9" not in rig.inside("nft list ruleset")


def test_a_manager_that_comes_back_has_the_cache_forgotten(rig: Rig) -> None:
    ask(rig, "b.short.test")
    wait_until(lambda: "192.0.2.3" in elements(rig))
    rig.kill()
    assert rig.config is not None
    name, _ = host_sets(rig.config)["short.test"]
    rig.inside(f"nft flush set inet nsvisor {name}")
    ask(rig, "b.short.test")
    assert "192.0.2.3" not in elements(rig)  # from the cache: nobody saw it
    rig.start()

    def filled() -> bool:
        ask(rig, "b.short.test")
        return "192.0.2.3" in elements(rig)

    wait_until(filled, what="the set is filled again")


def counted(rig: Rig) -> dict[str, int]:
    """Return what dnsmasq had counted when the manager last asked it; nothing: not yet."""
    found = rig.metrics()
    return next((one.counters for one in found.services if one.service == "dnsmasq"), {}) if found else {}


def test_what_dnsmasq_counts_is_told(rig: Rig) -> None:
    before = wait_until(lambda: counted(rig), what="its counters")
    for number in range(3):
        ask(rig, f"{number}.counted.test")
    rig.kill()
    rig.start()  # a manager asks at its beginning, and then seldom

    def more() -> bool:
        now = counted(rig)
        return all(now.get(name, 0) >= before[name] + 3 for name in ("forwarded", f"asked {HOST}#53"))

    wait_until(more, what="the queries among its counters")


def test_dnsmasq_without_an_answer(rig: Rig) -> None:
    os.kill(rig.dnsmasq(), signal.SIGSTOP)
    try:
        script = f"import socket; s = socket.socket(2, 2); s.sendto(bytes.fromhex('{question('silent.test').hex()}'), "
        rig.free.run(["python3", "-c", script + f"('{ROUTER}', 53))"])
        [query] = rig.queries.wait(name="silent.test")
        assert (query.code, query.answers) == ("", ())
    finally:
        os.kill(rig.dnsmasq(), signal.SIGCONT)


def test_hostile_packets_end_nothing(rig: Rig) -> None:
    garbage = [b"", b"\0", question("x.test")[:-3], b"\xc0\x0c" * 40, bytes(range(256)), question("y" * 63 + ".test")]
    loop = struct.pack("!HHHHHH", 1, 0x8180, 1, 9, 0, 0) + b"\xc0\x0c\0\1\0\1"
    script = (
        "import socket, sys; s = socket.socket(2, 2)\n"
        f"for part in sys.argv[1:]: s.sendto(bytes.fromhex(part), ('{ROUTER}', 53))"
    )
    rig.free.run(["python3", "-c", script, *(part.hex() for part in (*garbage, loop) if part)])
    by_tcp(rig, "free", b"\xff\xff" + b"z" * 3000)
    by_tcp(rig, "free", b"\0\0" * 500)
    rig.free.run(["busybox", "nslookup", "-type=a", "after.test", ROUTER], check=False)
    rig.queries.wait(name="after.test")
    assert rig.alive(rig.pid)
    assert "Traceback" not in rig.log()


def test_with_the_log_off_the_sets_are_kept_all_the_same(rig: Rig) -> None:
    rig.publish(log=LogConfig(flows=False, dns=False))
    rig.wait_ready()

    def longer() -> bool:
        ask(rig, "b.short.test")
        return elements(rig).get("192.0.2.3", 0) > 100

    known = len(rig.queries.records)
    wait_until(longer)
    assert len(rig.queries.records) == known
