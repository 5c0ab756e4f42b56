"""What the spawner does once leaves nothing behind that must not be forked."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.functional.nsmanager.rig import Rig
from tests.hosts import DEADLINE, wait_until

PROBE = """
import json, os, signal, sys
from nsmanager import manager, warm
def facts():
    links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    files = sorted(os.readlink(link) for link in links if os.path.exists(link))
    return files, len(os.listdir("/proc/self/task")), str(signal.getsignal(signal.SIGTERM))
before = facts()
warm.warm()
print(json.dumps([before, facts()]))
"""


def test_no_descriptor_thread_or_handler_stays() -> None:
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", PROBE], cwd=root, capture_output=True, text=True, check=True)
    before, after = json.loads(done.stdout)
    assert before == after
    assert after[1] == 1


def test_a_manager_imports_nothing_after_its_birth(rig: Rig) -> None:
    """With the code out of its sight, as at a user whose home nobody else may read."""
    path = rig.host.path("/run/strace")
    rig.start()
    tracer = rig.host.popen(
        ["strace", "-f", "-q", "-e", "trace=open,openat", "-o", "/run/strace", "-p", rig.pid], stderr=subprocess.DEVNULL
    )
    status = Path(f"/proc/{rig.pid}/status")
    wait_until(lambda: f"TracerPid:\t{tracer.pid}\n" in status.read_text())
    rig.wait_ready()
    rig.publish(hosts={})
    rig.wait_ready()
    rig.inside("nft delete table inet nsvisor; ip link del br0")
    wait_until(lambda: "nsvisor" in rig.inside("nft list tables") and "br0" in rig.inside("ip link show"))
    os.kill(rig.pid, signal.SIGTERM)
    wait_until(lambda: not rig.alive(rig.pid))
    tracer.send_signal(signal.SIGINT)  # dnsmasq, which it may follow too, goes on
    tracer.wait(DEADLINE)
    opened = path.read_text()
    assert "/proc/sys/net/ipv4/ip_forward" in opened
    assert [line for line in opened.splitlines() if ".py" in line or "site-packages" in line] == []
