"""What this kernel can do, found by trying it in a namespace that nobody else sees."""

from __future__ import annotations

import functools
import subprocess

TRY_VLANS = ("unshare", "--net", "ip", "link", "add", "try", "type", "bridge", "vlan_filtering", "1")
TIMEOUT = 20.0  # seconds


@functools.cache
def has_bridge_vlans() -> bool:
    """Tell whether bridges have VLANs (CONFIG_BRIDGE_VLAN_FILTERING); tried once, in some milliseconds."""
    try:
        done = subprocess.run(TRY_VLANS, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
