"""nsvisor as a service of a machine that really boots: systemd is pid 1, installed by scripts/install."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hosts import Machine, Topology, wait_until
from tests.hosts.host import ROOT

# In seconds; once in a while a root file system is made.
pytestmark = [pytest.mark.timeout(900), pytest.mark.usefixtures("boots_machines")]
CONFIG = """
instances:
  red:
    subnet: 10.1.0.0/24
  blue:
    subnet: 10.1.0.0/24
    uplinks: []
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What scripts/install puts into a root file system, enabled."""
    root = tmp_path_factory.mktemp("image") / "root"
    root.mkdir(0o755)
    subprocess.run([ROOT / "scripts/install", "--root", root], check=True, stdin=subprocess.DEVNULL)
    subprocess.run(["systemctl", "--quiet", f"--root={root}", "enable", "nsvisor"], check=True)
    return root


@pytest.fixture
def machine(topology: Topology, image: Path) -> Iterator[Machine]:
    """A machine with nsvisor installed and enabled, and two instances configured; not booted."""
    with Machine(topology.host) as made:
        subprocess.run(["cp", "-a", f"{image}/.", made.root], check=True)
        made.put_file("/etc/nsvisor/test.yaml", CONFIG)
        yield made


def instances(machine: Machine) -> dict[str, dict[str, Any]]:
    return {status["name"]: status for status in json.loads(machine.run("nsvisor", "get", "instances", "-o", "json"))}


def wait_ready(machine: Machine) -> dict[str, dict[str, Any]]:
    """Return the status of both instances when both are ready."""

    def ready() -> dict[str, dict[str, Any]]:
        found = instances(machine)
        assert {name: status["state"] for name, status in found.items()} == {"red": "ready", "blue": "ready"}, found
        return found

    return wait_until(ready, what="both instances")


def unit(machine: Machine, value: str) -> str:
    return machine.run("systemctl", "show", "--value", f"--property={value}", "nsvisor").strip()


def fetch_from_red(machine: Machine) -> str:
    return machine.run("ip", "netns", "exec", "red", "curl", "-sSf", "--max-time", "30", "http://198.51.100.1/")


def start_time(machine: Machine, pid: int) -> str:
    return machine.run("ps", "-o", "lstart=", "-p", pid).strip()


def test_the_service_lives_through_stop_restart_and_reboot(machine: Machine) -> None:
    machine.boot()
    assert unit(machine, "ActiveState") == "active"
    before = wait_ready(machine)

    # READY=1 was said by the daemon itself, and no option of the unit made it a mount namespace.
    daemon = unit(machine, "MainPID")
    assert machine.run("readlink", f"/proc/{daemon}/ns/mnt") == machine.run("readlink", "/proc/1/ns/mnt")
    page = fetch_from_red(machine)
    assert page == "outside to 192.168.0.2\n"

    machine.run("systemctl", "stop", "nsvisor")
    born = {name: start_time(machine, status["pid"]) for name, status in before.items()}
    assert all(born.values())
    assert set(machine.run("ls", "/run/netns").split()) == {"red", "blue"}
    assert fetch_from_red(machine) == page

    machine.run("systemctl", "start", "nsvisor")
    after = wait_ready(machine)
    assert {name: status["pid"] for name, status in after.items()} == {n: s["pid"] for n, s in before.items()}
    machine.run("systemctl", "restart", "nsvisor")
    again = wait_ready(machine)
    assert {name: status["pid"] for name, status in again.items()} == {n: s["pid"] for n, s in before.items()}
    assert {name: start_time(machine, status["pid"]) for name, status in again.items()} == born

    machine.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "nsvisor")
    wait_until(lambda: unit(machine, "MainPID") not in {"0", daemon} and unit(machine, "ActiveState") == "active")
    assert {name: s["pid"] for name, s in wait_ready(machine).items()} == {n: s["pid"] for n, s in before.items()}

    # systemd-networkd, restarted, leaves our links, routes and rules alone.
    ours = machine.run("sh", "-c", "ip rule; ip route show table all; ip -br link show type veth")
    machine.run("systemctl", "restart", "systemd-networkd")
    machine.run("/usr/lib/systemd/systemd-networkd-wait-online", "--interface=host0", "--timeout=60")
    assert machine.run("sh", "-c", "ip rule; ip route show table all; ip -br link show type veth") == ours

    # Taken down, it stays down until somebody starts it.
    machine.run("nsvisor", "down")
    wait_until(lambda: unit(machine, "ActiveState") == "inactive", what="the service's end")
    assert machine.run("ls", "/run/netns").split() == []
    machine.run("systemctl", "start", "nsvisor")
    wait_ready(machine)

    machine.power_off()
    machine.boot()
    wait_ready(machine)
    assert fetch_from_red(machine) == page


def made_folder(machine: Machine, path: str) -> Path:
    folder = Path(f"{machine.root}{path}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_uninstalled_it_leaves_only_configuration_and_state(machine: Machine) -> None:
    machine.boot()
    wait_ready(machine)
    source = "/usr/src/nsvisor"
    for name in ("scripts", "systemd"):
        subprocess.run(["cp", "-r", ROOT / name, made_folder(machine, source)], check=True)
    machine.run("bash", f"{source}/scripts/install", "--uninstall")
    assert machine.run("ls", "/run/netns").split() == []
    assert "v-" not in machine.run("ip", "-br", "link")
    found = machine.run(
        "find", "/usr", "/etc", "/var/lib", "-path", source, "-prune", "-o", "-name", "*nsvisor*", "-print"
    )
    assert set(found.split()) == {"/etc/nsvisor", "/var/lib/nsvisor"}
    assert machine.run("sh", "-c", "ps axo args | grep -c '[n]smanager' || true").strip() == "0"


PLANT = {
    "eth3.netdev": "[NetDev]\nName=eth3\nKind=veth\nMACAddress=02:00:5e:00:53:03\n[Peer]\nName=wire3\n",
    "wire3.network": "[Match]\nName=wire3\n[Network]\nLinkLocalAddressing=no\nConfigureWithoutCarrier=yes\n",
    "eth3.network": """\
[Match]
Name=eth3
[Link]
MTUBytes=1400
[Network]
Address=192.0.2.3/24
LinkLocalAddressing=no
[Route]
Destination=203.0.113.0/24
Gateway=192.0.2.1
Metric=77
""",
}
SWITCH = "instances: {red: {}, blue: {}, sw: {type: switch, uplinks: [eth3]}}\n"
SEEN = "ip -o link show eth3 | sed 's/^[0-9]*: //'; ip -o addr show eth3 | sed 's/^[0-9]*: //'; ip route show dev eth3"


def test_a_lent_link_is_on_the_host_as_it_was_also_after_a_reboot(machine: Machine) -> None:
    for name, text in PLANT.items():
        machine.put_file(f"/etc/systemd/network/{name}", text)
    machine.boot()
    wait_until(lambda: "metric 77" in machine.run("sh", "-c", SEEN, check=False), what="eth3 is configured")
    before = machine.run("sh", "-c", SEEN)
    for _ in range(2):
        machine.put_file("/etc/nsvisor/test.yaml", SWITCH)
        wait_until(lambda: lent(machine), what="eth3 is lent")
        machine.power_off()
        machine.boot()
        wait_until(lambda: lent(machine), what="eth3 is lent after a reboot")
        machine.put_file("/etc/nsvisor/test.yaml", CONFIG)
        wait_until(lambda: machine.run("sh", "-c", SEEN, check=False) == before, what="eth3 is as it was")


def lent(machine: Machine) -> bool:
    there = machine.run("ip", "-n", "sw", "-br", "link", "show", "dev", "eth3", check=False)
    return "eth3" in there and not machine.run("ip", "-br", "link", "show", "dev", "eth3", check=False)
