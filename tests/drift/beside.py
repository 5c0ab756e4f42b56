"""A machine that boots, with nsvisor and others that care for its network: real ones, from Debian."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.hosts import Machine, Topology, wait_until
from tests.hosts.host import ROOT
from tests.hosts.machine import UPLINK
from tests.hosts.topology import OUTSIDE, OUTSIDE6

BESIDE = ("docker.io", "firewalld", "iptables", "network-manager")
CONFIG = """
instances:
  red: {subnet: 10.1.0.0/24, apps: {web: {address: 10.1.0.80, ports: ["8080:80/tcp"]}}}
  blue: {subnet: 10.1.0.0/24}
"""
UPLINK6 = """\
Address=2001:db8:0::2/64
Gateway=2001:db8:0::1
IPv6AcceptRA=no
"""
# As docker 27 and later write it by themselves, older ones on demand and newer ones otherwise, for one network.
DOCKER6 = """
ip6tables -N DOCKER; ip6tables -N DOCKER-USER
ip6tables -A FORWARD -j DOCKER-USER
ip6tables -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
ip6tables -A FORWARD -o docker0 -j DOCKER
ip6tables -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
ip6tables -A FORWARD -i docker0 -o docker0 -j ACCEPT
ip6tables -A DOCKER-USER -j RETURN
ip6tables -t nat -N DOCKER
ip6tables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
ip6tables -t nat -A DOCKER -i docker0 -j RETURN
ip6tables -P FORWARD DROP
"""
DOCKER_CONFIG = """{"storage-driver": "vfs", "ip6tables": false}"""
PUBLISHED = 8081  # port of the host that leads to docker's container
# A container of what the machine has, which serves a page.
CONTAINER = f"""
systemctl start docker
cd /tmp
mkdir -p www
echo from docker > www/index.html
tar -ch $(ldd /usr/bin/busybox | grep -o '/[^ ]*') /usr/bin/busybox www 2> /dev/null | docker import - busybox
docker run --detach --restart always --name web --publish {PUBLISHED}:80 busybox /usr/bin/busybox httpd -f -h /www
"""


@contextlib.contextmanager
def machine_beside_others(image: Path) -> Iterator[tuple[Topology, Machine]]:
    """Boot a machine with systemd-networkd and NetworkManager; two instances are ready, and reach what is outside.

    firewalld and docker are not started.
    """
    image.mkdir(0o755)
    subprocess.run([ROOT / "scripts/install", "--root", image], check=True, stdin=subprocess.DEVNULL)
    with Topology(ipv6=True) as topology, Machine(topology.host, BESIDE) as made:
        subprocess.run(["cp", "-a", f"{image}/.", made.root], check=True)
        topology.host.sh("chroot /run/machine/root systemctl --quiet enable nsvisor")
        topology.host.sh("chroot /run/machine/root systemctl --quiet disable firewalld docker.socket docker")
        made.put_file("/etc/systemd/network/10-uplink.network", UPLINK + UPLINK6)
        made.put_file("/etc/nsvisor/test.yaml", CONFIG)
        made.put_file("/etc/docker/daemon.json", DOCKER_CONFIG)
        made.boot()
        wait_until(lambda: ready(made), what="both instances")
        wait_until(lambda: reaches(made) and reaches(made, "blue"), what="a way out by IPv6 too, which comes later")
        yield topology, made


def instance(machine: Machine, name: str = "red") -> dict[str, Any]:
    """Return the status of an instance. Raises AssertionError when there is none."""
    found = json.loads(machine.run("nsvisor", "get", "instances", "-o", "json"))
    assert name in {status["name"] for status in found}, found
    return next(status for status in found if status["name"] == name)


def ready(machine: Machine, *names: str) -> bool:
    """Return True. Raises AssertionError while one of the instances isn't ready."""
    for name in names or ("red", "blue"):
        status = instance(machine, name)
        assert status["state"] == "ready", status["reason"]
    return True


def reaches(machine: Machine, name: str = "red") -> bool:
    """Tell whether an instance gets the page outside, by both versions of IP."""
    return gets(machine, OUTSIDE, 20, name) and gets(machine, f"[{OUTSIDE6}]", 20, name)


def gets(machine: Machine, address: str, seconds: int, name: str = "red") -> bool:
    """Tell whether an instance gets the page at an address in so many seconds."""
    argv = ["ip", "netns", "exec", name, "curl", "-sf", "--max-time", str(seconds), f"http://{address}/"]
    return "outside to" in machine.run(*argv, check=False)
