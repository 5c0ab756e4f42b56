"""Steps of the apps behind local instances: addresses, names, rules, each other, metadata, hairpins."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.hosts import wait_until
from tests.hosts.host import DHCP_SCRIPT
from tests.hosts.topology import OUTSIDE, OUTSIDE6
from tests.scenarios.edge.config import APPS, CONFIG, INSTANCES, LINKS, SERVED_UPLINK, Link
from tests.scenarios.edge.node import GITHUB, OTHER, PORT_MAP, TALK, EdgeNode, nothing, shown

METADATA = "http://169.254.169.254/nsvisor/v1/app.json"


def come_up(node: EdgeNode) -> str:
    """Six instances on four uplinks are ready, though their subnets overlap four times."""
    node.daemon.start()
    node.daemon.cli("apply", "-f", "-", text=CONFIG, check=True)
    node.daemon.wait_ready(*INSTANCES)
    found = {one["name"]: (one["type"], one["subnet"]) for one in node.daemon.get()}
    assert found == {
        "ni1": ("local", "10.10.1.0/24"), "ni2": ("local", "192.168.1.0/24"), "ni3": ("local", "10.10.1.0/24"),
        "ni4": ("vpn", "10.10.10.0/24"), "ni5": ("vpn", "10.10.10.0/24"), "ni6": ("switch", None),
    }, found  # fmt: skip
    assert "eth3" not in node.host.sh("ip -br link show type veth")
    return "ni1 = ni3, ni2 = eth1's network, ni4 = ni5, both clouds' LANs = eth0's network; eth3 is in ni6"


def get_addresses(node: EdgeNode) -> str:
    """Every app asks for an address by DHCP on each of its links."""
    wait_until(lambda: all(app["attached"] for app in node.daemon.get("apps")), what="all apps attached")
    for link in LINKS:
        _configure(node, link)
    node.app_processes = [node.host.start([*TALK, "page", 80, app], netns=app) for app in APPS]
    found = []
    for link in LINKS:
        name, address = f"{link.instance}/{link.app}", node.address(link.app, link.ifname)
        wait_until(lambda: node.address6(link.app, link.ifname), what=f"{link.app}: IPv6")  # noqa: B023
        assert address == link.address or (not link.address and address.startswith(SERVED_UPLINK)), (link, address)
        if not link.address:
            wait_until(lambda: address in node.app_status(name)["addresses"], what=f"{name}: learned")  # noqa: B023
        found.append(f"{link.app} {address} in {link.instance}")
    return ", ".join(found)


def _configure(node: EdgeNode, link: Link) -> None:
    """Let an app ask for its address by a real DHCP client; its second link is no way out."""
    first = link.ifname == "eth0"
    defaults = "" if first else f"sysctl -qw net.ipv6.conf.{link.ifname}.accept_ra_defrtr=0; "
    node.host.sh(
        f"{defaults}ip link set {link.ifname} up; {'' if first else f'ip -6 route flush default dev {link.ifname}'}",
        netns=link.app,
    )
    client = ["busybox", "udhcpc", "-i", link.ifname, "-n", "-q", "-t", "60", "-T", "1", "-s", DHCP_SCRIPT]
    client += ["-x", f"hostname:{link.app}"]
    node.host.run(client, netns=link.app, env={} if first else {"LINK_ONLY": "1"})


def reach_by_name(node: EdgeNode) -> str:
    """app1 reaches www.github.test, whose name its rules allow."""
    pages = [node.fetch("app1", f"http://{GITHUB}/", family) for family in ("-4", "-6")]
    assert pages[0] == "outside to 192.168.0.2", pages
    assert pages[1].startswith("outside to 2001:db8::"), pages
    return shown(pages)


def be_dropped_by_name(node: EdgeNode) -> str:
    """app1 doesn't reach www.other.test, and the flow log tells the drop with its rule."""
    url = f"http://{OTHER}/"
    assert not node.reaches("app1", url, "-4")
    with node.following("flows", "ni1", "-f", "-o", "json") as lines:
        # Until the command listens, its records are those of others.
        dropped = wait_until(lambda: _dropped(node, url, lines), what="the drop in the flow log")
    assert (dropped["app"], dropped["rule"]) == ("app1", "default"), dropped
    assert int(dropped["destination_port"]) == 80, dropped
    return f"no answer; flow log: {dropped['verdict']} by {dropped['app']}'s rule {dropped['rule']}"


def _dropped(node: EdgeNode, url: str, lines: Callable[[], list[str]]) -> dict[str, Any] | None:
    """Try again, and return the first record of a drop."""
    assert not node.reaches("app1", url, "-4")
    records = [json.loads(line) for line in lines()]
    return next((one for one in records if one["verdict"] == "dropped" and one["destination"].endswith(".12")), None)


def reach_a_neighbour_by_name(node: EdgeNode) -> str:
    """app1 reaches app2 by its name, through ni2."""
    names = [node.fetch_by("192.168.1.1", "app1", f"http://{name}/", "-4") for name in ("app2.ni2.internal", "app2")]
    six = node.fetch("app1", f"http://[{node.address6('app2')}]/")
    pages = [*names, six]
    assert pages == ["app2 to 192.168.1.11"] * 2 + [f"app2 to {node.address6('app1', 'eth1')}"], pages
    return shown(pages)


def hairpin_on_one_uplink(node: EdgeNode) -> str:
    """app1 reaches app2's port map through ni1, on the same uplink, and nothing of it is on the wire."""
    pages: list[str] = []
    seen = node.on_the_wire(lambda: pages.append(node.fetch("app1", PORT_MAP)))
    assert pages[0].startswith("app2 to"), pages
    assert nothing(seen), seen
    return f'"{pages[0]}", no packet at the gateway'


def know_themselves(node: EdgeNode) -> str:
    """Apps ask the metadata server: each is told its own name, instance and address, whoever has the same one."""
    told = []
    for link in LINKS[:4]:
        route = f"169.254.169.254 via {link.address.rpartition('.')[0]}.1 dev {link.ifname}"
        node.host.sh(f"ip route add {route}", netns=link.app)
        found = json.loads(node.fetch(link.app, METADATA))
        node.host.sh(f"ip route del {route}", netns=link.app)
        assert (found["instance"], found["app"]) == (link.instance, link.app), (link, found)
        assert found["addresses"] == [link.address], (link, found)
        assert found["external"] == ["192.168.1.2" if link.instance == "ni3" else "192.168.0.2"], (link, found)
        told.append(f"{link.address}: {found['app']} in {found['instance']}")
    return "; ".join(told)


def be_answered_and_stay_inside(node: EdgeNode) -> str:
    """app2 reaches app1's port 80, and nothing outside."""
    page = node.fetch("app2", "http://192.168.1.11/")
    assert page == "app1 to 192.168.1.12", page
    seen = node.on_the_wire(lambda: [node.reaches("app2", url) for url in _far()])
    assert nothing(seen), seen
    assert not any(node.reaches("app2", url) for url in _far())
    return f'"{page}"; outside: no answer, no packet on any uplink'


def _far() -> tuple[str, str]:
    return f"http://{OUTSIDE}/", f"http://[{OUTSIDE6}]/"


def reach_outside(node: EdgeNode) -> str:
    """app3 reaches the world outside over IPv4, which its rule allows, and not over IPv6."""
    page = node.fetch("app3", f"http://{OUTSIDE}/")
    assert page == "outside to 192.168.1.2", page
    assert not node.reaches("app3", f"http://[{OUTSIDE6}]/")
    return f'"{page}"; over IPv6 no answer'


def hairpin_over_two_uplinks(node: EdgeNode) -> str:
    """app3 reaches app2's port map out by eth1 and in by eth0; its source collides with ni2's subnet."""
    pages: list[str] = []
    seen = node.on_the_wire(lambda: pages.append(node.fetch("app3", PORT_MAP)))
    assert pages[0].startswith("app2 to"), pages
    assert not seen.pop("eth2")
    for ifname, packets in seen.items():
        assert any("192.168.1.2." in line and "> 192.168.0.2.8080" in line for line in packets), (ifname, packets)
    return f"\"{pages[0]}\"; {len(seen['eth1'])} packets at eth1's gateway, {len(seen['eth0'])} at eth0's"


def have_own_neighbours(node: EdgeNode) -> str:
    """app3 asks for app2's address directly: app2 is never reached, a host of eth1's real LAN is."""
    with node.capture_link(LINKS[2], "tcp port 80") as silent:
        assert not node.reaches("app3", "http://192.168.1.12/")
        node.gateway.sh("ip addr add 192.168.1.12/24 dev up1")
        page = node.fetch("app3", "http://192.168.1.12/")
        node.gateway.sh("ip addr del 192.168.1.12/24 dev up1")
    assert page == "gateway to 192.168.1.2", page
    assert not silent.packets, silent.packets
    return f'first no answer, then "{page}"; nothing at app2'
