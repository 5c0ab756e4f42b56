"""What lives on when rules change, and what doesn't: connections, counters, sets, limits."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from pubsub.topics import NamespaceApp
from tests.functional.rules.rig import (
    DB,
    DB6,
    MAP,
    OTHER,
    OUTSIDE,
    OUTSIDE6,
    PROBE,
    WAIT,
    RulesRig,
    ask,
    rules,
)
from tests.hosts import Stream, wait_until
from tests.hosts.host import TRAFFIC, Host

TCP = '{"name": "tcp", "protocol": "tcp"}'
UDP = '{"name": "udp", "protocol": "udp"}'
NAMED = '{"name": "named", "host": "*.cdn.test"}'


class Held:
    """A TCP connection that is asked now and then whether it lives."""

    def __init__(self, app: Host, address: str) -> None:
        words = [sys.executable, "-SE", PROBE, "hold", address, 9]
        self.process = app.popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout
        assert self.process.stdout.readline() == "ready\n"

    def ask(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("ask\n")
        self.process.stdin.flush()

    def answers(self) -> bool:
        self.ask()
        assert self.process.stdout
        return self.process.stdout.readline() == "still there?\n"


def streaming(app: Host, address: str) -> Stream:
    """Return a numbered stream that has begun to be answered."""
    return Stream(app.start([sys.executable, "-SE", TRAFFIC, "stream", address, 7]))


def listening(rig: RulesRig) -> subprocess.Popen[str]:
    """Return who prints where each datagram to port 77 of the host is from."""
    server = rig.host.popen([sys.executable, "-SE", PROBE, "listen", 77], stdout=subprocess.PIPE)
    assert server.stdout
    assert server.stdout.readline() == "ready\n"
    return server


@pytest.mark.parametrize("address", [OUTSIDE, OUTSIDE6, DB, DB6])
def test_a_removed_rule_cuts_its_connections_and_another_rules_live_on(shared: RulesRig, address: str) -> None:
    first = '{"name": "first", "remote": ["192.0.2.0/24"], "action": "drop"}'
    shared.change(rules(first, TCP, UDP))
    held, stream = Held(shared.web, address), streaming(shared.web, address)
    assert held.answers()
    shared.change(rules(first, UDP))  # the rule that stays has another number now
    before = shared.met("web/default")
    held.ask()
    wait_until(lambda: shared.met("web/default") > before)
    shared.change(rules(UDP))
    counted = stream.stop()
    assert counted["lost"] == 0, counted
    assert counted["sent"] > 100
    shared.change(rules(UDP, TCP))
    assert held.process.stdout
    assert held.process.stdout.readline() == "still there?\n"  # what was held back comes by itself


def test_connections_from_before_there_were_rules_are_judged(shared: RulesRig) -> None:
    shared.change(None)
    there, gone = streaming(shared.web, OUTSIDE), Held(shared.db, OTHER)
    beside = Held(shared.web, DB)
    assert gone.answers()
    shared.change(rules(UDP), rules(UDP))
    before = shared.met("db/default")
    gone.ask()
    wait_until(lambda: shared.met("db/default") > before)
    before = shared.met("web/default")
    beside.ask()
    wait_until(lambda: shared.met("web/default") > before)
    counted = there.stop()
    assert counted["lost"] == 0, counted


def test_a_connection_to_a_port_map_is_cut_with_it(shared: RulesRig) -> None:
    only = '{"portmap": "8080:9/tcp", "name": "only"}'
    shared.publish(apps=tuple(_mapped(app) for app in shared.apps(rules(only), None)))
    shared.wait_ready()
    held = subprocess.Popen(
        shared.host.inside([sys.executable, "-SE", PROBE, "hold", MAP, 8080]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert held.stdout
    assert held.stdin
    assert held.stdout.readline() == "ready\n"
    before = shared.met("web/only")
    held.stdin.write("ask\n")
    held.stdin.flush()
    assert held.stdout.readline() == "still there?\n"
    assert shared.met("web/only") > before
    shared.change(())
    before = shared.met("web/default")
    held.stdin.write("ask\n")
    held.stdin.flush()
    wait_until(lambda: shared.met("web/default") > before)
    held.kill()
    held.communicate()


def _mapped(app: NamespaceApp) -> NamespaceApp:
    """Return an app with the port maps that its rules open, as a supervisor does."""
    found = tuple(rule.portmap for rule in app.rules or () if rule.portmap)
    return msgspec.structs.replace(app, ports=found) if found else app


def test_counters_live_on_through_a_change_and_a_restart_of_the_manager(shared: RulesRig) -> None:
    shared.change(rules(UDP))
    before = shared.met("web/udp")
    assert ask(shared.web, OUTSIDE)
    counted = shared.met("web/udp")
    assert counted == before + 2  # the question and the answer
    shared.change(rules(TCP, UDP))
    assert shared.met("web/udp") == counted
    shared.kill()
    shared.start()
    shared.change(rules(UDP, TCP))
    assert shared.met("web/udp") == counted
    shared.change(rules(TCP))
    assert "met/web/udp" not in shared.counters()


def test_a_limit_lets_pass_what_it_says_and_no_more(shared: RulesRig) -> None:
    shared.change(rules('{"name": "few", "protocol": "udp", "limit": "1/h", "burst": 15}'))
    server = listening(shared)
    shared.web.run([sys.executable, "-SE", PROBE, "send", OUTSIDE, 77, 100])
    wait_until(lambda: shared.met("web/few") == 100)
    assert server.stdout
    assert shared.counters()["over/web/few"] == 85
    shared.change(None)
    shared.web.run([sys.executable, "-SE", PROBE, "send", OUTSIDE, 77, 1])  # comes after all others
    assert [server.stdout.readline() for _ in range(16)] == ["100.127.0.1\n"] * 16
    server.kill()


def test_a_limit_of_bytes(shared: RulesRig) -> None:
    shared.change(rules('{"name": "little", "protocol": "udp", "limit": "1024bytes/h", "burst": 2048}'))
    server = listening(shared)
    shared.web.run([sys.executable, "-SE", PROBE, "send", OUTSIDE, 77, 100])
    wait_until(lambda: shared.met("web/little") == 100)
    assert shared.counters()["over/web/little"] == 100 - 2048 // 128  # of 100 bytes and both headers each
    server.kill()


def test_a_limit_is_of_both_directions(shared: RulesRig) -> None:
    shared.change(rules('{"name": "few", "protocol": "udp", "limit": "1/h", "burst": 3}'))
    assert ask(shared.web, OUTSIDE)
    assert not ask(shared.web, OUTSIDE, timeout=WAIT)  # the question passed, its answer was one too many
    assert shared.counters()["over/web/few"] == 1


def test_addresses_of_names_live_on_through_a_change(shared: RulesRig) -> None:
    shared.change(rules(NAMED))
    (name,) = [word for word in shared.inside("nft list sets table inet nsvisor").split() if word[:3] == "h4_"]
    shared.inside(f"nft add element inet nsvisor {name} '{{ {OUTSIDE} timeout 1h }}'")
    assert ask(shared.web, OUTSIDE)
    assert not ask(shared.web, OTHER, timeout=WAIT)
    shared.change(rules(TCP, NAMED))
    shared.kill()
    shared.start()
    shared.change(rules(NAMED, TCP))
    assert ask(shared.web, OUTSIDE)
    shared.inside(f"nft delete element inet nsvisor {name} '{{ {OUTSIDE} }}'")
    assert not ask(shared.web, OUTSIDE, timeout=WAIT)


def test_what_is_flushed_under_load_lets_nothing_else_pass_and_is_back(shared: RulesRig) -> None:
    """While the tables are gone nothing passes but what is switched; the counters begin anew."""
    shared.change(rules(UDP), rules(UDP))
    stream = streaming(shared.web, OUTSIDE)
    for command in ("nft flush ruleset", "nft flush chain inet nsvisor forward", "nft delete table bridge nsvisor"):
        planned = ruleset(shared)
        shared.inside(command)
        wait_until(lambda planned=planned: ruleset(shared) == planned, what=command)  # type: ignore[misc]
        for app in (shared.web, shared.db):
            with pytest.raises(AssertionError):
                app.fetch(f"http://{OUTSIDE}/", timeout=float(WAIT))
    assert ask(shared.web, OUTSIDE)
    assert stream.stop()["received"] > 0


def ruleset(rig: RulesRig) -> list[str]:
    """Return all rules, without the digests that tell how the kernel happens to list them."""
    return [line for line in rig.state().splitlines() if "comment" not in line]
