"""What a rule matches, with real packets of both families: what it allows passes, what it drops is counted."""

from __future__ import annotations

import os
import signal

import pytest

from tests.functional.rules.rig import DB, DB6, OTHER, OTHER6, OUTSIDE, OUTSIDE6, WAIT, WEB, WEB6, RulesRig, ask, rules
from tests.hosts import Host, wait_until

REFUSED = "(?s)exit (7|28)"  # of curl: no connection, no answer in time
V4, V6 = (OUTSIDE, OTHER, DB), (OUTSIDE6, OTHER6, DB6)


def url(address: str, port: int = 80) -> str:
    return f"http://{f'[{address}]' if ':' in address else address}:{port}/"


def dropped(rig: RulesRig, app: Host, address: str, port: int = 80, rule: str = "web/default") -> None:
    """Have a connection tried that this rule drops."""
    before = rig.met(rule)
    with pytest.raises(AssertionError, match=REFUSED):
        app.fetch(url(address, port), timeout=float(WAIT))
    assert rig.met(rule) > before


def unanswered(rig: RulesRig, app: Host, address: str, rule: str = "web/default", port: int = 7) -> None:
    """Have a datagram sent that this rule drops."""
    before = rig.met(rule)
    assert not ask(app, address, port, WAIT)
    assert rig.met(rule) == before + 1


@pytest.mark.parametrize("addresses", [V4, V6])
def test_without_rules_everything_passes(shared: RulesRig, addresses: tuple[str, str, str]) -> None:
    shared.change(None)
    for address in addresses:
        shared.web.fetch(url(address))
        assert ask(shared.web, address)


@pytest.mark.parametrize("addresses", [V4, V6])
def test_with_no_rule_at_all_nothing_passes(shared: RulesRig, addresses: tuple[str, str, str]) -> None:
    shared.change(())
    for address in addresses:
        dropped(shared, shared.web, address)
        unanswered(shared, shared.web, address)


@pytest.mark.parametrize("addresses", [V4, V6])
def test_a_network(shared: RulesRig, addresses: tuple[str, str, str]) -> None:
    outside, other, _ = addresses
    shared.change(rules('{"remote": ["203.0.113.0/24", "203.0.113.1", "2001:db8:1::/48"]}'))
    shared.web.fetch(url(outside))
    dropped(shared, shared.web, other)


@pytest.mark.parametrize("addresses", [V4, V6])
def test_protocol_and_ports(shared: RulesRig, addresses: tuple[str, str, str]) -> None:
    outside = addresses[0]
    shared.change(rules('{"protocol": "tcp", "ports": ["80", "8000-8100", "8050-8200"]}'))
    shared.web.fetch(url(outside))
    dropped(shared, shared.web, outside, 81)
    unanswered(shared, shared.web, outside, port=80)
    shared.change(rules('{"protocol": "udp", "ports": ["7"]}', '{"protocol": "tcp", "ports": ["81"]}'))
    assert ask(shared.web, outside)
    shared.web.fetch(url(outside, 81))
    dropped(shared, shared.web, outside)


def test_echo(shared: RulesRig) -> None:
    shared.change(rules('{"protocol": "icmp", "remote": ["203.0.113.1"]}', '{"protocol": "58", "remote": ["::/0"]}'))
    shared.web.sh(f"ping -c 1 -W 30 {OUTSIDE}; ping -6 -c 1 -W 30 {OUTSIDE6}")
    dropped(shared, shared.web, OUTSIDE)
    before = shared.met("web/default")
    with pytest.raises(AssertionError):
        shared.web.sh(f"ping -c 1 -W 1 {OTHER}")
    assert shared.met("web/default") == before + 1


@pytest.mark.parametrize("addresses", [V4, V6])
def test_the_first_that_matches_decides(shared: RulesRig, addresses: tuple[str, str, str]) -> None:
    outside, other, _ = addresses
    drop = '{"name": "not-there", "remote": ["203.0.113.0/24", "2001:db8:1::/48"], "action": "drop"}'
    allow = '{"name": "web", "protocol": "tcp"}'
    shared.change(rules(drop, allow))
    dropped(shared, shared.web, outside, rule="web/not-there")
    shared.web.fetch(url(other))
    shared.change(rules(allow, drop))
    shared.web.fetch(url(outside))
    unanswered(shared, shared.web, outside, rule="web/not-there")


@pytest.mark.parametrize(("web", "db"), [(WEB, DB), (WEB6, DB6)])
def test_what_comes_in_between_apps_of_one_bridge(shared: RulesRig, web: str, db: str) -> None:
    shared.change(None, rules('{"direction": "in", "apps": ["web"], "protocol": "tcp", "ports": ["80"]}'))
    shared.web.fetch(url(db))
    dropped(shared, shared.web, db, 81, rule="db/default")
    dropped(shared, shared.db, web, rule="db/default")
    shared.change(rules('{"direction": "out", "apps": ["all"], "protocol": "tcp"}'), ())
    dropped(shared, shared.web, db, rule="db/default")
    shared.change(rules('{"apps": ["all"], "protocol": "tcp"}'), rules('{"direction": "both", "apps": ["web"]}'))
    shared.web.fetch(url(db))
    dropped(shared, shared.db, web, rule="web/default")
    unanswered(shared, shared.web, db)


@pytest.mark.parametrize(("web", "outside"), [(WEB, OUTSIDE), (WEB6, OUTSIDE6)])
def test_apps_are_not_what_is_outside(shared: RulesRig, web: str, outside: str) -> None:
    shared.change(rules('{"apps": ["all"]}'))
    dropped(shared, shared.web, outside)
    shared.change(rules('{"direction": "in", "apps": ["all"]}'))
    shared.db.fetch(url(web))


def test_an_app_without_rules_is_reached_by_others_without(shared: RulesRig) -> None:
    shared.change(None, ())
    shared.web.fetch(url(OUTSIDE))
    shared.web.fetch(url(OUTSIDE6))
    dropped(shared, shared.web, DB, rule="db/default")


def test_a_rule_of_an_uplink_that_is_not_used(shared: RulesRig) -> None:
    only = rules('{"uplink": "wan", "protocol": "tcp"}')
    shared.change(only, uplinks=())
    dropped(shared, shared.web, OUTSIDE)
    shared.change(only, uplinks=("wan",))
    shared.web.fetch(url(OUTSIDE))
    shared.change(None, uplinks=())


@pytest.mark.parametrize("address", ["100.127.0.1", "[fd6e:7376:6973::3]"])
def test_a_port_map(shared: RulesRig, address: str) -> None:
    mapped = f"http://{address}:8080/"
    shared.change(())
    assert shared.host.fetch(mapped).startswith("web")  # an app's `ports` are open to all
    assert shared.met("web/port-8080-tcp") > 0
    only = '{{"portmap": "8080:80/tcp", "name": "only", "remote": ["{}", "{}"]}}'
    shared.change(rules(only.format("100.127.0.0", "fd6e:7376:6973::2")))
    shared.host.fetch(mapped)
    shared.change(rules(only.format(OTHER, OTHER6)))
    before = shared.met("web/default")
    with pytest.raises(AssertionError, match=REFUSED):
        shared.host.fetch(mapped, timeout=float(WAIT))
    assert shared.met("web/default") > before
    source = OTHER6 if "[" in address else OTHER
    shared.host.run(["curl", "-sSf", "--interface", source, mapped])


def test_an_app_without_rules_that_let_it_still_has_dhcp_dns_and_neighbours(shared: RulesRig) -> None:
    shared.change((), ())
    shared.web.sh("ip neigh flush dev eth0")
    shared.web.dhcp()
    assert DB in shared.web.sh("busybox nslookup db.red.internal 10.1.0.1")
    shared.web.sh("ping -c 1 -W 30 10.1.0.1; ping -6 -c 1 -W 30 fd00:1::1")


@pytest.mark.parametrize(("web", "db"), [(WEB, DB), (WEB6, DB6)])
def test_what_no_rule_has_seen_does_not_reach_an_app_with_rules(shared: RulesRig, web: str, db: str) -> None:
    """As without br_netfilter, or while somebody has it switched off."""
    shared.change(None, rules('{"direction": "both", "apps": ["web"]}'))
    assert ask(shared.web, db)
    os.kill(shared.pid, signal.SIGSTOP)  # it would switch it on again
    try:
        shared.inside("sysctl -qw net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0")
        assert not ask(shared.web, db, timeout=WAIT)
        assert not ask(shared.db, web, timeout=WAIT)
        shared.inside("nft delete table bridge nsvisor")
        assert ask(shared.web, db), "this table is what stopped it"
    finally:
        os.kill(shared.pid, signal.SIGCONT)
    shared.wait_ready()
    wait_until(lambda: ask(shared.web, db, timeout=WAIT), what="its repair")
