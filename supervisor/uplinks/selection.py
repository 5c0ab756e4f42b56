"""Which uplink an instance uses."""

from __future__ import annotations

import dataclasses

from pubsub.topics import NetworkInstanceConfig
from supervisor.facts import Facts, Uplink
from supervisor.names import LAST_IFINDEX


@dataclasses.dataclass(frozen=True)
class Selection:
    """The uplink of one instance, or why it has none."""

    uplink: Uplink | None
    reason: str = ""  # empty: usable, or none wanted


def select(config: NetworkInstanceConfig, facts: Facts) -> Selection:
    """Take the first usable one of those that the config names; by default that of the host's default route.

    An uplink that is present but can't be used now is kept, with its trouble as the reason: its instances wait for it,
    and never leave by another way than those configured.
    """
    if config.uplinks == ():
        return Selection(None)
    names = (facts.default,) if config.uplinks is None else config.uplinks
    if names == ("",):
        return Selection(None, "the host has no default route; name the instance's uplinks, or give the host a route")
    present = [facts.uplinks[name] for name in names if name in facts.uplinks]
    if not present:
        missing = ", ".join(repr(name) for name in names)
        return Selection(None, f"uplink {missing} does not exist; known: {', '.join(sorted(facts.uplinks)) or 'none'}")
    present = [uplink for uplink in present if uplink.ifindex <= LAST_IFINDEX]
    if not present:
        return Selection(None, f"the ifindex of {', '.join(names)} is above {LAST_IFINDEX}: marks end there; reboot")
    best = next((uplink for uplink in present if not uplink.trouble), present[0])
    return Selection(best, best.trouble)
