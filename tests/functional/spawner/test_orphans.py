"""Who is killed in the middle of a birth leaves nobody behind."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import pytest

from tests.hosts import wait_until
from tests.hosts.host import ROOT
from tests.invariants.rig import alive

# Each prints the pid of the child and leaves it holding what it made.
OF_A_ROOT = """
import os, sys
from supervisor.spawner import _namespace_of_child

def prepare():
    print(os.getpid(), flush=True)
    sys.stdin.readline()

_namespace_of_child(prepare)
"""
OF_A_NAMESPACE = """
import signal
from supervisor import birth

def pin(name, path):
    print(path.split("/")[2], flush=True)
    signal.pause()

birth.pin = pin
birth.make_namespace("orphan", 1 << 30, 1 << 16)
"""


@pytest.mark.parametrize("maker", [OF_A_ROOT, OF_A_NAMESPACE], ids=["root", "namespace"])
def test_the_child_that_holds_what_is_being_made_ends_with_the_spawner(maker: str) -> None:
    spawner = subprocess.Popen(
        [sys.executable, "-c", maker], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert spawner.stdin
    assert spawner.stdout
    child = int(spawner.stdout.readline())
    assert alive(child)
    spawner.kill()
    spawner.wait()
    spawner.stdin.write("go on\n")
    with contextlib.suppress(BrokenPipeError):
        spawner.stdin.close()
    spawner.stdout.close()
    wait_until(lambda: not alive(child), what="the child's end")
