"""A static route of an instance whose router is one of its apps."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from pubsub.topics import AppRoute, NamespaceApp
from pubsub.values import MacAddress
from tests.functional.nsmanager.rig import Rig
from tests.hosts import Capture, Host

REFUSED = "(?s)exit (7|28)"  # of curl: no connection, no answer in time
BEHIND = "198.51.100.7"  # an address behind the app that is the router
OTHER = "203.0.113.7"  # one that no route of the instance leads to
ROUTER = NamespaceApp(
    name="router",
    mac=MacAddress.parse("02:00:00:00:00:81"),
    address=IPv4Address("10.1.0.81"),
    ifname="p-router",
)


@pytest.fixture
def app(rig: Rig) -> Host:
    """An app beside the one that is the router; both have their addresses, and a page is served behind the latter."""
    route = AppRoute(to=IPv4Network("198.51.100.0/24"), via=IPv4Address("10.1.0.81"))
    rig.publish(apps=(rig.app(ifname="p-web"), ROUTER), app_routes=(route,))
    app, router = rig.attach("web", "02:00:00:00:00:80"), rig.attach("router", "02:00:00:00:00:81")
    rig.start()
    rig.wait_ready()
    app.dhcp()
    router.dhcp()
    router.sh(f"ip addr add {BEHIND}/32 dev lo; ip addr add {OTHER}/32 dev lo")
    router.serve_page("behind")
    return app


def test_apps_reach_what_is_behind_another(app: Host) -> None:
    with Capture(app, "eth0", "icmp[icmptype] == icmp-redirect") as redirects:
        assert app.fetch(f"http://{BEHIND}/") == "behind to 10.1.0.80\n"
        app.sh(f"ping -c 2 -i 0.2 -W 30 {BEHIND}")
    assert not redirects.packets


def test_only_that_is_sent_back_to_the_bridge(rig: Rig, app: Host) -> None:
    rig.inside(f"ip route add {OTHER}/32 via 10.1.0.81")
    with pytest.raises(AssertionError, match=REFUSED):
        app.fetch(f"http://{OTHER}/", timeout=0.5)
    other = AppRoute(to=IPv4Network(f"{OTHER}/32"), via=IPv4Address("10.1.0.81"))
    rig.publish(app_routes=(*rig.config.app_routes, other))
    rig.wait_ready()
    app.fetch(f"http://{OTHER}/")  # it is there


def test_a_route_that_is_withdrawn_is_gone(rig: Rig, app: Host) -> None:
    rig.publish(app_routes=())
    rig.wait_ready()
    assert "198.51.100.0/24" not in rig.inside("ip route; nft list ruleset")
    with pytest.raises(AssertionError, match=REFUSED):
        app.fetch(f"http://{BEHIND}/", timeout=0.5)
