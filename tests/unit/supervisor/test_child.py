"""A process as the supervisor knows it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

from supervisor.child import Child, identity

LEADER = "import os, subprocess; print(subprocess.Popen(['sleep', '1000'], stdout=-3).pid, flush=True); os.wait()"


def test_a_process_is_gone_though_its_session_lives_on() -> None:
    """As a manager's does in its services; what pidfd_open(2) says of it depends on the kernel."""
    leader = subprocess.Popen([sys.executable, "-c", LEADER], start_new_session=True, stdout=subprocess.PIPE)
    assert leader.stdout
    member = int(leader.stdout.readline())
    try:
        who = identity(leader.pid)
        with contextlib.closing(leader.stdout), leader:
            found = Child.find(who)
            assert found
            found.close()
            leader.kill()
        assert os.getsid(member) == leader.pid
        assert Child.find(who) is None
    finally:
        os.kill(member, signal.SIGKILL)
