"""Who may pass: port maps inwards, all outwards, nothing else."""

from __future__ import annotations

import pytest

from tests.functional.nsmanager.rig import Rig
from tests.hosts import Host

REFUSED = "(?s)exit (7|28)"  # of curl: no connection, no answer in time


@pytest.fixture
def app(rig: Rig) -> Host:
    """The app of the config with its address, serving a page."""
    rig.publish(apps=(rig.app(ifname="p-web"),))
    app = rig.attach("web", "02:00:00:00:00:80")
    rig.start()
    rig.wait_ready()
    app.dhcp()
    app.serve_page("web")
    return app


def test_a_port_map_leads_to_the_app(rig: Rig, app: Host) -> None:
    assert rig.host.fetch("http://100.127.0.1:8080/").startswith("web to 100.127.0.0")
    assert app.fetch("http://10.1.0.80/").startswith("web")


def test_what_is_not_mapped_is_not_reachable(rig: Rig, app: Host) -> None:
    rig.host.sh("ip route add 10.1.0.0/24 via 100.127.0.1")
    app.serve_page("other", port=81)
    for url in ("http://10.1.0.80/", "http://100.127.0.1:81/", "http://10.1.0.1:53/", "http://100.127.0.1:53/"):
        with pytest.raises(AssertionError, match=REFUSED):
            rig.host.fetch(url, timeout=0.5)


def test_apps_go_out_by_the_links_address(rig: Rig, app: Host) -> None:
    rig.host.serve_page("host")
    assert app.fetch("http://100.127.0.0/").startswith("host to 100.127.0.1")


def test_apps_reach_dns_and_echo_of_the_instance_and_nothing_else(rig: Rig, app: Host) -> None:
    app.sh("ping -c 1 -W 30 10.1.0.1")
    rig.host.serve_page("manager", port=8000, netns="red")
    with pytest.raises(AssertionError, match=REFUSED):
        app.fetch("http://10.1.0.1:8000/", timeout=0.5)


def test_an_app_with_a_forged_address_reaches_nothing(rig: Rig, app: Host) -> None:
    rig.host.serve_page("host")
    rig.host.sh("ip route add 203.0.113.0/24 via 100.127.0.1")
    rig.inside("ip route add 203.0.113.0/24 dev br0")  # else rp_filter drops it before our rules do
    app.sh("ip addr add 203.0.113.7/32 dev eth0")
    fetch = ["curl", "-sSf", "--interface"]
    app.run([*fetch, "10.1.0.80", "http://100.127.0.0/"])
    with pytest.raises(AssertionError, match=REFUSED):
        app.run([*fetch, "203.0.113.7", "--max-time", "0.5", "http://100.127.0.0/"])


def test_an_air_gapped_instance_has_no_way_out(rig: Rig, app: Host) -> None:
    rig.host.serve_page("host")
    app.fetch("http://100.127.0.0/")
    rig.publish(link=None)
    rig.wait_ready()
    assert not rig.inside("ip route show default")
    with pytest.raises(AssertionError, match=REFUSED):
        app.fetch("http://100.127.0.0/", timeout=0.5)
    app.sh("ping -c 1 -W 30 10.1.0.1")
