"""What is written where for an instance's limits."""

from __future__ import annotations

import resource

from pubsub.topics import LimitsConfig
from pubsub.values import Size
from supervisor.containment.limits import apps_rlimits, group_files, manager_rlimits

LIMITS = LimitsConfig(memory=Size((100 << 20) + 1), processes=70, open_files=300, cpu_weight=7)


def test_groups_bound_the_manager_and_the_commands_apart() -> None:
    assert group_files(LIMITS) == {
        "": {"cpu.weight": "7"},
        "manager": {"memory.max": str(100 << 20), "pids.max": "70"},  # whole pages, as the kernel says it then
        "apps": {"memory.max": "max", "pids.max": "4096"},
    }
    limited = group_files(LimitsConfig(apps_memory=Size(1 << 30), apps_processes=9))["apps"]
    assert limited == {"memory.max": str(1 << 30), "pids.max": "9"}


def test_without_groups_memory_is_bound_by_process() -> None:
    both = ((resource.RLIMIT_NPROC, 70), (resource.RLIMIT_NOFILE, 300))
    assert manager_rlimits(LIMITS, grouped=True) == both
    assert manager_rlimits(LIMITS, grouped=False) == (*both, (resource.RLIMIT_DATA, (100 << 20) + 1))
    limited = LimitsConfig(apps_memory=Size(1 << 20))
    assert apps_rlimits(limited, grouped=False) == ((resource.RLIMIT_DATA, 1 << 20),)
    assert apps_rlimits(limited, grouped=True) == apps_rlimits(LIMITS, grouped=False) == ()
