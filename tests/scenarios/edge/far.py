"""Steps of the tunnels to the clouds, and of the switch."""

from __future__ import annotations

import contextlib
import time

from tests.hosts import Capture, wait_until
from tests.hosts.topology import OUTSIDE, OUTSIDE6
from tests.scenarios.edge.config import BURST, LINKS, RATE
from tests.scenarios.edge.node import PORT_MAP, EdgeNode, shown

CLOUD_PAGE = "http://192.168.0.1/"  # of each cloud; the gateway has that address too, outside of the tunnels
FLOOD = 3  # seconds that each client of a crowd goes on
CLIENTS = 30


def reach_the_clouds(node: EdgeNode) -> str:
    """app4 and app5 ask for the same address: each gets the page of its own cloud, through ESP in UDP only."""
    pages: list[str] = []

    def ask() -> None:
        pages.extend([node.fetch("app4", CLOUD_PAGE), node.fetch("app5", CLOUD_PAGE)])

    seen = node.on_the_wire(ask, "udp port 4500 or tcp port 80 or net 10.10.10.0/24")
    assert pages == ["cloud1 to 10.10.10.14", "cloud2 to 10.10.10.15"], pages
    assert not seen["eth0"], seen["eth0"]
    for ifname, peer in (("eth1", "192.168.111.1"), ("eth2", "192.168.222.1")):
        packets = seen[ifname]
        assert packets, ifname
        assert all(f"{peer}.4500" in line for line in packets), packets
    return (
        f"{shown(pages)}; {len(seen['eth1'])} and {len(seen['eth2'])} packets on the wires, all of them UDP port 4500"
    )


def be_cut_off(node: EdgeNode) -> str:
    """The tunnel is down: what app4 sends is dropped, and never on the wire in clear."""
    cloud = node.clouds[0]
    cloud.kill()
    wait_until(lambda: not node.tunnel("ni4")["up"], what="ni4 sees its tunnel down")
    asked = []
    # Whoever leaks would get the gateway's page, which has the same address.
    expression = "udp port 500 or udp port 4500 or tcp port 80 or net 10.10.10.0/24 or host 192.168.0.1"
    with node.cables[1].capture(expression) as capture:
        wait_until(lambda: "192.168.111.1" in capture.text(), what="ni4 tries again")
        asked = [node.reaches("app4", CLOUD_PAGE) for _ in range(3)]
    assert not any(asked)
    clear = [line for line in capture.packets if "192.168.111.1" not in line]
    assert not clear, clear
    cloud.start()
    wait_until(lambda: node.tunnel("ni4")["up"], what="ni4's tunnel is up again")
    page = wait_until(lambda: node.fetch("app4", CLOUD_PAGE), what="app4's page")
    assert page == "cloud1 to 10.10.10.14", page
    return f'three times no answer; of {len(capture.packets)} packets at the gateway all were IKE or ESP; then "{page}"'


def keep_the_rate(node: EdgeNode) -> str:
    """app6 reaches app2's port map, at five packets a second."""
    page = node.fetch("app6", PORT_MAP)
    assert page == f"app2 to {node.address('app6')}", page
    outwards = f"tcp port 8080 and src host {node.address('app6')}"
    argv = ["curl", "-s", "-o", "/dev/null", "--max-time", FLOOD, PORT_MAP]
    with contextlib.ExitStack() as stack:
        tried = stack.enter_context(node.capture_link(LINKS[-1], outwards))
        passed = stack.enter_context(node.cables[3].capture(outwards))
        began = time.monotonic()
        for process in [node.host.popen(argv, netns="app6") for _ in range(CLIENTS)]:
            process.wait()
        took = time.monotonic() - began
    # The answers count as well, so that less of what app6 sends may pass.
    assert 0 < len(passed.packets) <= BURST + RATE * took + 1, (len(passed.packets), took)
    assert len(tried.packets) > len(passed.packets), (len(tried.packets), len(passed.packets))
    drops = wait_until(lambda: node.rule("ni6/app6", "web-of-app2")["drops"], what="drops told")
    part = f"{len(passed.packets)} of {len(tried.packets)} packets"
    return f'"{page}"; then {CLIENTS} clients at once, for {took:.1f} s: {part} passed, {drops} drops counted'


def reach_nothing_else(node: EdgeNode) -> str:
    """app6 reaches nothing else: not the gateway beside it, nothing outside, not by IPv6."""
    far = [f"http://{OUTSIDE}/", f"http://[{OUTSIDE6}]/", "http://192.168.3.1/", "http://192.168.0.1/"]
    with Capture(node.gateway, "up3", "tcp port 80 or icmp") as capture:
        answered = [url for url in far if node.reaches("app6", url)]
        assert not answered, answered
        assert node.host.run(["ping", "-c", "1", "-W", "1", "192.168.3.1"], netns="app6", check=False).returncode
    assert not capture.packets, capture.packets
    drops = wait_until(lambda: node.rule("ni6/app6", "default")["drops"], what="drops told")
    return f"{len(far)} pages and an echo: no answer, no packet at the gateway; {drops} drops counted"
