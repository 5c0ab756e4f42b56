"""What is known of an instance, folded into its status: the cases, the worst first."""

from __future__ import annotations

from ipaddress import IPv4Address

import msgspec
import pytest

from pubsub.topics import Lease, NamespaceStatus, ProbeStatus, ServiceStatus, State
from supervisor.facts import Facts, Health
from supervisor.plan import InstancePlan
from supervisor.status import View, fold, fold_apps, fold_uplinks
from tests.unit.supervisor.samples import SMALL, WEB, facts, planned, uplink

NOW = 1_700_000_000.0
CONDITIONS = [
    "ConfigValid",
    "NamespaceStands",
    "ManagerRuns",
    "NamespaceConfigured",
    "HostConfigured",
    "UplinkUsable",
    "ResolverKnown",
    "HostForwards",
]


def instance(host: Facts | None = None) -> InstancePlan:
    return planned({"red": WEB}, host or facts(uplink(), stand=("red",))).instances["red"]


def inside(**changes: object) -> NamespaceStatus:
    good = NamespaceStatus(ready=True, services=(ServiceStatus(name="dnsmasq", pid=11, restarts=0),))
    return msgspec.structs.replace(good, **changes)


GOOD = View(name="red", plan=instance(), answered=True, netns=True, pid=10, namespace=inside())
DOWN = instance(facts(uplink(up=False), stand=("red",)))


def view(**changes: object) -> View:
    return msgspec.structs.replace(GOOD, **changes)


@pytest.mark.parametrize(
    ("seen", "state", "reason"),
    [
        (view(), State.READY, ""),
        (view(plan=None, complaints=("a.yaml:1: bad",)), State.FAILED, "a.yaml:1: bad"),
        (view(plan=None, trouble="no slot"), State.FAILED, "no slot"),
        (view(plan=None), State.STARTING, "being planned"),
        (view(crash_loop=True, last_error="killed"), State.FAILED, "crash loop: killed"),
        (view(netns=False, pid=0, trouble="exists and is not ours"), State.FAILED, "exists and is not ours"),
        (view(netns=False, pid=0), State.STARTING, "being made"),
        (view(pid=0), State.STARTING, "being started"),
        (view(pid=0, trouble="manager (pid 9) killed"), State.STARTING, "manager (pid 9) killed"),
        (view(host_errors=("link v-red exists",)), State.DEGRADED, "link v-red exists"),
        (view(complaints=("a.yaml:1: bad",)), State.DEGRADED, "a.yaml:1: bad; the last good config stays in force"),
        (view(namespace=inside(ready=False, errors=("dnsmasq: no",))), State.DEGRADED, "dnsmasq: no"),
        (view(obstacles=("policy drop in chain ip filter FORWARD",)), State.DEGRADED, "policy drop in chain"),
        (view(plan=DOWN), State.WAITING, "uplink eth0 is down or has no carrier"),
        (view(namespace=inside(ready=False, waiting=("link up0",))), State.WAITING, "link up0"),
        (view(namespace=None), State.STARTING, "its manager has not answered yet"),
        (view(answered=False), State.STARTING, "its manager has not answered yet"),
        (view(answered=False, namespace=inside(errors=("old",))), State.STARTING, "its manager has not answered yet"),
        (view(namespace=inside(ready=False)), State.STARTING, "being configured"),
        # The worse of two counts.
        (view(crash_loop=True, last_error="x", host_errors=("y",)), State.FAILED, "crash loop: x"),
        (view(plan=DOWN, host_errors=("y",)), State.DEGRADED, "y"),
    ],
)
def test_the_state_and_its_reason(seen: View, state: State, reason: str) -> None:
    status = fold(seen, None, NOW)
    assert status.state == state
    assert status.reason.startswith(reason) if reason else not status.reason


def test_the_conditions_come_in_the_order_in_which_they_come_true() -> None:
    assert [condition.name for condition in fold(view(), None, NOW).conditions] == CONDITIONS
    assert all(condition.ok for condition in fold(view(), None, NOW).conditions)


def test_a_condition_without_reason_holds() -> None:
    for seen in (view(), view(pid=0), view(plan=DOWN), view(complaints=("bad",))):
        assert all(condition.ok == (not condition.reason) for condition in fold(seen, None, NOW).conditions)


def test_the_time_of_a_state_is_kept_while_it_lasts() -> None:
    first = fold(view(pid=0), None, NOW)
    assert first.since == NOW
    assert fold(view(pid=0, trouble="still"), first, NOW + 5).since == NOW
    assert fold(view(), first, NOW + 5).since == NOW + 5


def test_the_last_error_stays_after_it_is_mended() -> None:
    broken = fold(view(host_errors=("link v-red exists",)), None, NOW)
    assert fold(view(), broken, NOW + 1).last_error == "link v-red exists"


def test_what_is_known_is_told() -> None:
    status = fold(view(), None, NOW)
    assert (status.pid, status.netns, status.uplink, str(status.subnet)) == (10, "red", "eth0", "10.1.0.0/24")
    assert [(process.name, process.pid) for process in status.processes] == [("manager", 10), ("dnsmasq", 11)]
    assert [portmap.outer for portmap in status.portmaps] == ["192.0.0.2:8080", "192.0.0.2:53"]


def test_apps_have_their_address_from_the_config_or_a_lease() -> None:
    plan = planned({"red": WEB}, facts(uplink(), stand=("red",), ports=("red/web", "red/run-1"))).instances["red"]
    guest = next(app for app in plan.config.apps if app.name == "run-1")
    lease = Lease(address=IPv4Address("10.1.0.99"), mac=str(guest.mac), hostname="run-1", expires=0)
    seen = inside(ports=("p-web",), leases=(lease,))
    found = fold_apps("red", plan, seen, {"web": ("run", 12)}, {"idle": "no such tap"})
    assert set(found) == {"red/web", "red/idle", "red/run-1"}
    assert (found["red/web"].attached, found["red/web"].pid, found["red/web"].kind) == (True, 12, "run")
    assert str(found["red/web"].address) == "10.1.0.80"
    assert str(found["red/run-1"].address) == "10.1.0.99"
    assert (found["red/idle"].attached, found["red/idle"].reason) == (False, "no such tap")


def test_an_uplink_tells_who_is_bound_to_it() -> None:
    plan = planned({"red": SMALL, "blue": SMALL}, facts(uplink(), uplink(1), uplink(2, addressed=False)))
    found = fold_uplinks(plan, lambda _: (), lambda _: [], {}, NOW)
    assert set(found) == {"eth0", "eth1"}
    assert set(found["eth0"].instances) == {"red", "blue"}
    assert not found["eth1"].instances
    assert (found["eth1"].mark, found["eth1"].table) == (0x103, 196003)  # they may need it any moment
    assert found["eth0"].healthy


def test_an_uplink_tells_why_and_since_when_it_is_not_healthy() -> None:
    sick = Health(healthy=False, reason="gateway 192.0.0.1 is silent")
    before = fold_uplinks(planned({"red": SMALL}, facts(uplink())), lambda _: (), lambda _: [], {}, NOW)
    plan = planned({"red": SMALL}, facts(uplink(), health={"eth0": sick}))
    probe = ProbeStatus(name="next hop 192.0.0.1", up=False, latency=0.5)
    found = fold_uplinks(plan, lambda _: (probe,), lambda _: [], before, NOW + 5)["eth0"]
    assert (found.healthy, found.reason, found.since) == (False, "gateway 192.0.0.1 is silent", NOW + 5)
    assert (found.latency, found.probes) == (0.5, (probe,))
    again = fold_uplinks(plan, lambda _: (probe,), lambda _: [], {"eth0": found}, NOW + 9)["eth0"]
    assert again.since == NOW + 5


def test_an_instance_tells_since_when_and_why_it_has_its_uplink() -> None:
    first = fold(view(), None, NOW)
    assert (first.uplink, first.uplink_since, first.uplink_reason) == ("eth0", NOW, "the only one")
    assert fold(view(pid=0), first, NOW + 5).uplink_since == NOW
    moved = instance(facts(uplink(up=False), uplink(1), stand=("red",)))
    second = fold(view(plan=moved), first, NOW + 9)
    assert (second.uplink, second.uplink_since) == ("eth1", NOW + 9)
    assert "eth0 is down" in second.uplink_reason
