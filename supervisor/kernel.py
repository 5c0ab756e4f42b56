"""What this kernel can do, found by trying it in a namespace that nobody else sees."""

from __future__ import annotations

import contextlib
import functools
import subprocess
from pathlib import Path

from pubsub.topics import NetworkInstanceConfig

BRIDGE_FILTER = Path("/proc/sys/net/bridge")
TRY_VLANS = ("unshare", "--net", "ip", "link", "add", "try", "type", "bridge", "vlan_filtering", "1")
# Loaded, it would send the frames of the host's own bridges by its rules, too: they pass as before.
LOAD_BRIDGE_FILTER = """
test -d /proc/sys/net/bridge && exit
modprobe -q br_netfilter || exit
for which in iptables ip6tables arptables; do echo 0 > /proc/sys/net/bridge/bridge-nf-call-$which; done
"""
TIMEOUT = 20.0  # seconds


@functools.cache
def has_bridge_vlans() -> bool:
    """Tell whether bridges have VLANs (CONFIG_BRIDGE_VLAN_FILTERING); tried once, in some milliseconds."""
    try:
        done = subprocess.run(TRY_VLANS, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def needs_bridge_filter(config: NetworkInstanceConfig) -> bool:
    """Tell whether what is bridged in an instance must pass rules of IP."""
    return config.log.flows or any(app.rules is not None for app in config.apps.values())


def load_bridge_filter() -> None:
    """Load br_netfilter where it is a module: without it no rule holds for what is bridged.

    Where that isn't allowed, the service's unit did it; an instance that needs what isn't there tells so.
    """
    argv = ["sh", "-c", LOAD_BRIDGE_FILTER]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=False)
