"""The tests' own hosts do what tests rely on."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hosts import Capture, Host, Stream, Topology, connect, wait_until
from tests.hosts.host import ROOT, TRAFFIC


def links() -> set[str]:
    return {link.name for link in Path("/sys/class/net").iterdir()}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_host_sees_its_own_links_files_and_namespaces_only(host: Host) -> None:
    host.sh("ip link add br0 type bridge; ip netns add red")
    host.put_file("/etc/nsvisor/a.yaml", "instances: {}\n")
    host.put_file("/etc/resolv.conf", "nameserver 192.0.2.1\n")
    assert host.sh("ls /sys/class/net").split() == ["br0", "lo"]
    assert host.sh("ls /run/netns; ls /etc/nsvisor").split() == ["red", "a.yaml"]
    assert host.run(["stat", "-c", "%a", "/etc/nsvisor", "/var/lib/nsvisor", "/run"]).stdout.split() == ["755"] * 3
    assert host.run(["true"], netns="red").returncode == 0
    assert "br0" not in links()
    assert not Path("/run/netns/red").exists()
    assert not Path("/etc/nsvisor/a.yaml").exists()
    assert "192.0.2.1" not in Path("/etc/resolv.conf").read_text()


def test_a_closed_host_leaves_no_process_not_even_a_daemon() -> None:
    before = links()
    with Host() as host:
        cgroup = host.cgroup.path
        host.sh("ip link add br0 type bridge; setsid unshare -n sleep 1000 > /dev/null 2>&1 &")
        pids = wait_until(host.pids)
        assert all(alive(pid) for pid in [*pids, host.pid])
    assert not any(alive(pid) for pid in [*pids, host.pid])
    assert not cgroup.exists()
    assert links() == before


def test_a_killed_test_leaves_no_process_either() -> None:
    script = """
from tests.hosts import Host
host = Host()
host.sh("setsid sleep 1000 > /dev/null 2>&1 &")
print(host.cgroup.path, host.pid, *host.pids(), flush=True)
input()
"""
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert child.stdout
    cgroup, *pids = child.stdout.readline().split()
    assert len(pids) == 2
    assert all(alive(int(pid)) for pid in pids)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    wait_until(lambda: not Path(cgroup).exists() and not any(alive(int(pid)) for pid in pids))


def test_a_failing_command_tells_its_words(host: Host) -> None:
    with pytest.raises(AssertionError, match=r"ip link show nix: exit 1: Device \"nix\" does not exist"):
        host.run(["ip", "link", "show", "nix"])


def test_the_host_reaches_the_web_server_outside_by_name(topology: Topology) -> None:
    assert topology.host.fetch("http://www.example.test/") == "outside to 192.168.0.2\n"
    assert "query[A] www.example.test from 192.168.0.2" in topology.dns_log()
    topology.host.serve_page("host", 8080)
    assert topology.gateway.fetch("http://192.168.0.2:8080/") == "host to 192.168.0.1\n"


def test_a_second_uplink_stands_beside_the_first() -> None:
    with Topology(uplinks=2) as topology:
        page = topology.host.run(["curl", "-sSf", "--interface", "192.168.1.2", "http://198.51.100.1/"]).stdout
        assert page == "outside to 192.168.1.2\n"
        assert "default via 192.168.1.1 dev eth1 metric 100" in topology.host.sh("ip route")


def test_a_capture_sees_what_passes_and_its_silence_is_proven(topology: Topology) -> None:
    with Capture(topology.gateway, "up0", "icmp") as capture, Capture(topology.gateway, "up0", "tcp") as silent:
        topology.host.run(["ping", "-c", "2", "-i", "0.01", "198.51.100.1"])
    assert len(capture.packets) == 4
    assert "192.168.0.2 > 198.51.100.1: ICMP echo request" in capture.packets[0]
    assert silent.packets == []


def test_a_capture_on_a_link_that_is_down_is_an_error(host: Host) -> None:
    host.sh("ip link add br0 type bridge")
    with pytest.raises(AssertionError):
        Capture(host, "br0")


def test_a_stream_counts_what_was_lost(topology: Topology) -> None:
    argv = [sys.executable, "-SE", TRAFFIC, "stream", "198.51.100.1", "7"]
    stream = Stream(topology.host.start(argv))
    wait_until(lambda: topology.outside.sh("ip -s -o link show eth0"))
    counted = stream.stop()
    assert counted["lost"] == 0
    assert counted["sent"] == counted["received"] > 0

    stream = Stream(topology.host.start(argv))
    topology.outside.sh("ip link set eth0 down")
    sent = datagrams_sent(topology)
    wait_until(lambda: datagrams_sent(topology) > sent + 3)
    assert stream.stop()["lost"] > 0


def datagrams_sent(topology: Topology) -> int:
    return int(topology.host.read_file("/sys/class/net/eth0/statistics/tx_packets"))


def test_a_real_client_gets_a_lease(host: Host) -> None:
    with Host("box") as box:
        connect(host, "p0", box, "eth0")
        host.sh("ip addr add 10.1.0.1/24 dev p0")
        options = ["--conf-file=/dev/null", "--interface=p0", "--dhcp-range=10.1.0.100,10.1.0.110", "--no-ping"]
        options += ["--port=0", "--user=root", "--pid-file=/run/d.pid", "--dhcp-leasefile=/run/leases"]
        host.run(["dnsmasq", *options])
        lease = box.dhcp("eth0", hostname="box")
        assert lease["router"] == "10.1.0.1"
        assert f"inet {lease['ip']}/24" in box.sh("ip addr show eth0")
        assert " box " in host.read_file("/run/leases")
