"""Names that follow from an instance's name, and those that each namespace has."""

from __future__ import annotations

import hashlib

BRIDGE = "br0"


def bridge_mac(instance: str) -> str:
    """Return the same locally administered MAC address for the same instance each time."""
    digest = hashlib.blake2s(instance.encode(), digest_size=5).digest()
    return "02:" + digest.hex(":")
