"""What a manager counts: interfaces, rules with their drops, what was spoofed, connections; told when it changes."""

from __future__ import annotations

import sys

from pubsub.topics import NetworkInstanceMetrics, RuleCounters
from tests.functional.rules.rig import OUTSIDE, OUTSIDE6, PROBE, WAIT, RulesRig, ask, rules
from tests.functional.rules.test_spoofing import FORGED, send
from tests.hosts import wait_until


def counted(rig: RulesRig, rule: str, app: str = "web") -> RuleCounters | None:
    found = rig.metrics() or NetworkInstanceMetrics()
    return next((one for one in found.rules if (one.app, one.rule) == (app, rule)), None)


def test_rules_are_counted_with_packets_bytes_and_drops(shared: RulesRig) -> None:
    few = '{"name": "few", "protocol": "udp", "ports": ["7"], "limit": "1/h", "burst": 2}'
    shared.change(rules(few, '{"name": "no", "remote": ["203.0.113.1"], "action": "drop"}'))
    assert ask(shared.web, OUTSIDE)
    shared.web.run([sys.executable, "-SE", PROBE, "send", OUTSIDE, 7, 3])
    assert not ask(shared.web, OUTSIDE, 8, WAIT)
    assert not ask(shared.web, OUTSIDE6, 8, WAIT)
    wait_until(
        lambda: counted(shared, "few") == RuleCounters(app="web", rule="few", packets=5, bytes=66 + 384, drops=3)
    )
    wait_until(lambda: counted(shared, "no") == RuleCounters(app="web", rule="no", packets=1, bytes=33, drops=1))
    wait_until(lambda: (counted(shared, "default") or RuleCounters(app="", rule="")).drops == 1)


def test_what_is_spoofed_is_counted(shared: RulesRig) -> None:
    shared.change(None)
    send(shared.web, FORGED["a router"])
    found = wait_until(lambda: counted(shared, "spoofed"))
    assert found.drops == shared.spoofed("web")


def test_interfaces_and_connections_are_counted(shared: RulesRig) -> None:
    shared.change(None)
    assert ask(shared.web, OUTSIDE)
    packets = int(shared.inside("cat /sys/class/net/up0/statistics/tx_packets"))

    def up0() -> bool:
        found = shared.metrics() or NetworkInstanceMetrics()
        return any(one.ifname == "up0" and one.tx_packets >= packets for one in found.interfaces) and bool(
            found.connections
        )

    wait_until(up0)
