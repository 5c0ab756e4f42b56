"""What a forked process shares after `freeze`: run in a process of its own, since it can't be undone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nsmanager.memory import IMMORTAL_SINCE, IMMORTAL_UNTIL

ROOT = Path(__file__).parents[3]
LOOKED_AT = """
import asyncio, gc, logging, os
from nsmanager.memory import freeze

def private():
    words = open("/proc/self/smaps_rollup").read().split()
    return int(words[words.index("Private_Dirty:") + 1])

kept = [str(number) for number in range(200_000)]
freeze()
if pid := os.fork():
    os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
before = private()
held = list(kept)
print(private() - before, flush=True)
del held, kept
gc.collect()
asyncio.run(asyncio.sleep(0))
os._exit(0)
"""


def looked_at() -> int:
    """Return how many KiB a child copies that only looks at 14 MB of strings; it works on afterwards."""
    done = subprocess.run([sys.executable, "-c", LOOKED_AT], cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(
    not IMMORTAL_SINCE <= sys.version_info < IMMORTAL_UNTIL, reason="before CPython 3.12 a look is a write"
)
def test_who_only_looks_at_what_is_shared_copies_nothing() -> None:
    assert looked_at() < 4000  # the list itself is 1,600


def test_after_a_freeze_a_child_works_as_before() -> None:
    assert looked_at() > 0
