"""A manager is forked from a process that has imported the bus: that may leave nothing behind."""

from __future__ import annotations

import subprocess
import sys

from tests.hosts.host import ROOT

SCRIPT = """
import os, sys, threading
before = os.listdir("/proc/self/fd")
import pubsub
assert os.listdir("/proc/self/fd") == before
assert threading.active_count() == len(os.listdir("/proc/self/task")) == 1
import zmq
assert zmq.Context._instance is None
heavy = {"yaml", "rich", "click", "psutil", "msgpack", "zmq.asyncio", "hypothesis"} & set(sys.modules)
assert not heavy, heavy
"""


def test_importing_the_bus_makes_no_context_no_thread_no_descriptor_and_loads_little() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, check=True)
