"""Steps of the whole host: reached from outside and from itself, tenants apart, failover, kills, and the end."""

from __future__ import annotations

import contextlib
import time

from tests.hosts import Stream, wait_until
from tests.hosts.topology import OUTSIDE
from tests.invariants.rig import alive, command_line, kill, parent
from tests.scenarios.edge.config import APPS, INSTANCES, LINKS, Link, members
from tests.scenarios.edge.node import PORT_MAP, SHORT, TALK, UNREACHED, EdgeNode, differences, shown

RATE = "1000"  # numbered packets a second
GITHUB_ADDRESS, GITHUB_ADDRESS6 = (
    "198.51.100.11",
    "2001:db8:ffff::11",
)  # app1 may reach them, after it asked for the name


def be_reached_from_outside(node: EdgeNode) -> str:
    """The gateway gets app2's page, by the port map."""
    page = node.gateway.fetch(PORT_MAP).strip()
    assert page.startswith("app2 to"), page
    six = node.gateway.fetch("http://[2001:db8::2]:8080/").strip()
    assert six.startswith("app2 to"), six
    return shown([page, six])


def be_reached_from_the_host(node: EdgeNode) -> str:
    """The host gets app2's page by the port map, and app1's by `nsvisor exec`."""
    mapped = node.host.fetch(PORT_MAP).strip()
    inside = node.daemon.cli("exec", "ni1", "--", "curl", "-sSf", "http://10.10.1.11/", check=True).stdout.strip()
    assert mapped.startswith("app2 to"), mapped
    assert inside.startswith("app1 to"), inside
    return shown([mapped, inside])


def stay_apart(node: EdgeNode) -> str:
    """No app reaches an app of another instance by its address."""
    ends = {link: node.address(link.app, link.ifname) for link in LINKS}
    six = {link: f"[{node.address6(link.app, link.ifname)}]" for link in LINKS}
    with contextlib.ExitStack() as stack:
        captures = [
            stack.enter_context(node.capture_link(link, f"tcp port 80 and dst host {end}"))
            for link, end in ends.items()
        ]
        assert node.fetch("app1", "http://192.168.1.12/").startswith("app2 to")  # who shares an instance does
        # An address that the app has itself, in another instance, would be itself.
        tries = [
            (app, address)
            for link in LINKS
            for app in APPS
            if app not in members(link.instance) and ends[link] not in own(ends, app)
            for address in (ends[link], six[link])
        ]
        argv = ["curl", "-g", "-s", "-o", "/dev/null", "--max-time", SHORT]
        asked = {(app, end): node.host.popen([*argv, f"http://{end}/"], netns=app) for app, end in tries}
        reached = {where for where, curl in asked.items() if curl.wait() not in UNREACHED}
        assert not reached, reached
    arrived = [line for one in captures for line in one.packets]
    assert arrived  # app1's, at app2
    assert all("192.168.1.11." in line for line in arrived), arrived
    return f"{len(tries)} tries: no answer, and no packet arrived at any app"


def own(ends: dict[Link, str], app: str) -> set[str]:
    """Return the addresses of an app."""
    return {end for link, end in ends.items() if link.app == app}


def fail_over(node: EdgeNode) -> str:
    """eth0 goes down: ni1 moves to eth1 with its new connections; ni3 sees nothing of it."""
    flow = Stream(node.host.start([*TALK, "stream", OUTSIDE, "7", RATE], netns="app3"))
    node.cables[0].unplug()
    wait_until(lambda: node.daemon.instance("ni1")["uplink"] == "eth1", what="ni1 on eth1")
    with node.cables[1].capture("tcp port 80") as capture:
        page = wait_until(lambda: node.fetch("app1", f"http://{GITHUB_ADDRESS}/"), what="app1's page")
    assert page == "outside to 192.168.1.2", page
    assert capture.packets
    node.cables[0].plug()
    wait_until(lambda: node.daemon.instance("ni1")["uplink"] == "eth0", what="ni1 on eth0 again")
    counted = flow.stop()
    assert counted["lost"] == 0, counted
    return f'"{page}", and back; of app3\'s {counted["sent"]} packets none was lost'


def survive_every_kill(node: EdgeNode) -> str:
    """Supervisor, hub, spawner and each manager are killed in turn: no packet is lost, nothing is made anew."""
    objects = _objects(node)
    udp = {"app1": GITHUB_ADDRESS, "app1, IPv6": GITHUB_ADDRESS6, "app3": OUTSIDE}
    tcp = {"app1": ("192.168.1.12", 80), "app4": ("192.168.0.1", 80), "app5": ("192.168.0.1", 80)}
    streams = {
        who: Stream(node.host.start([*TALK, "stream", end, "7", RATE], netns=who[:4])) for who, end in udp.items()
    }
    loads = {who: Stream(node.host.start([*TALK, "download", *end], netns=who)) for who, end in tcp.items()} | {
        "gateway": Stream(node.gateway.start([*TALK, "download", "192.168.0.2", 8080]))
    }
    began = time.monotonic()
    node.daemon.kill()
    node.daemon.start()
    node.daemon.wait_ready(*INSTANCES)
    _kill_and_wait(node, "hub")
    _kill_and_wait(node, "spawner")
    for name in INSTANCES:
        old = node.daemon.instance(name)["pid"]
        kill(old)
        wait_until(lambda: node.daemon.instance(name)["pid"] not in {0, old}, what=f"{name}'s manager")  # noqa: B023
        node.daemon.wait_ready(name)
    took = time.monotonic() - began
    counted = {who: one.stop() for who, one in streams.items()}
    loaded = {who: one.stop() for who, one in loads.items()}
    assert all(one["lost"] == 0 and one["received"] for one in counted.values()), counted
    assert all(one["lost"] == 0 and one["received"] and not one["broken"] for one in loaded.values()), loaded
    differences(objects, _objects(node))
    packets = sum(one["received"] for one in counted.values())
    megabytes = sum(one["received"] for one in loaded.values()) / 1e6
    return (
        f"{3 + len(INSTANCES)} kills in {took:.0f} s: {packets} of {packets} packets came back, "
        f"{len(loads)} downloads went on ({megabytes:.0f} MB); namespaces and links are the same"
    )


def _objects(node: EdgeNode) -> set[str]:
    """Return what must not be made anew: namespaces by inode, links by index."""
    found = node.host.sh("stat -Lc '%i %n' /run/netns/*; ip -o link | cut -d: -f1,2").splitlines()
    for netns in (*INSTANCES, *APPS):
        found += [f"{netns}: {line}" for line in node.host.sh("ip -o link | cut -d: -f1,2", netns=netns).splitlines()]
    return set(found)


def _kill_and_wait(node: EdgeNode, what: str) -> None:
    """Kill hub or spawner, and see another one at work."""
    old = _pid(node, what)
    kill(old)
    wait_until(lambda: _pid(node, what) != old and alive(_pid(node, what)), what=f"another {what}")
    node.daemon.wait_ready(*INSTANCES)


def _pid(node: EdgeNode, what: str) -> int:
    if what == "hub":
        return int(node.host.read_file(node.daemon.run_dir / "bus/hub.lock").strip() or 0)
    words = b"supervisor.spawner"
    found = [pid for pid in node.host.pids() if words in command_line(pid).split(b"\0")]
    return next((pid for pid in found if parent(pid) == node.daemon.pid), 0)


def leave_nothing(node: EdgeNode) -> str:
    """Everything deleted: the host as it was before."""
    for process in node.app_processes:
        process.kill()
        process.wait()
    node.daemon.cli("delete", "instance", *INSTANCES, check=True)
    node.daemon.cli("delete", "uplink", "eth0", "eth1", "eth2", check=True)
    node.daemon.down()
    for app in APPS:
        wait_until(lambda: "eth" not in node.host.sh("ip -br link", netns=app), what=f"{app} without links")  # noqa: B023
    wait_until(lambda: not differences(node.before, node.state()), what="the host as it was")
    wait_until(lambda: not node.host.pids(), what="the end of all processes")
    return "links, addresses, rules, routes, nft, sysctls, namespaces and files as before; no process left"
