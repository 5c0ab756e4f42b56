"""What a `switch` instance must fulfil beyond its types."""

from __future__ import annotations

from pubsub.config.rules_attach import check_moved
from pubsub.config.rules_words import Findings
from pubsub.topics import InstanceType, NetworkInstanceConfig, SwitchConfig

ROUTED = ("subnet", "address", "subnet6", "balance", "routes", "dhcp", "dns")  # fields that a switch has no use for
VLANS = (1, 4094)  # IEEE 802.1Q


def check_switch(config: NetworkInstanceConfig) -> Findings:
    """Yield what is wrong with a switch, and what only a switch has in another instance."""
    if config.type is not InstanceType.SWITCH:
        if config.switch != SwitchConfig():
            yield ("switch",), f"a {config.type} instance is no switch", "add `type: switch`, or remove `switch`"
        for name, app in config.apps.items():
            if app.vlan:
                yield ("apps", name, "vlan"), "only the apps of a switch have VLANs", "remove it"
        return
    nothing = NetworkInstanceConfig()
    for field in ROUTED:
        if getattr(config, field) != getattr(nothing, field):
            message = "a switch has no address and no services: they are the network's own"
            yield (field,), message, f"remove `{field}`, or use `type: local`"
    if config.uplinks is None:
        yield ("uplinks",), "a switch needs its uplinks by name", "write `uplinks: [IFNAME]`, or `uplinks: []` for none"
    for index, word in enumerate(config.uplinks or ()):
        yield from check_moved(("uplinks", str(index)), word)
    yield from _shared(config)
    yield from _apps(config)


def _shared(config: NetworkInstanceConfig) -> Findings:
    if not config.switch.shared:
        return
    if config.uplinks is not None and len(config.uplinks) != 1:
        yield ("uplinks",), "a shared uplink is the only one of its switch", "name one uplink, or don't share it"
    if config.switch.stp:
        message = "a shared uplink takes no part in a spanning tree"
        yield ("switch", "stp"), message, "remove it: with one uplink there is no loop"


def _apps(config: NetworkInstanceConfig) -> Findings:
    low, high = VLANS
    for name, app in config.apps.items():
        path = ("apps", name)
        if app.vlan and not low <= app.vlan <= high:
            yield (*path, "vlan"), f"{app.vlan} is no VLAN", f"use {low} to {high}"
        elif app.vlan and config.switch.shared:
            message = "a shared uplink carries no VLANs of apps"
            yield (*path, "vlan"), message, "remove it, or let the switch have the uplink"
        if app.address is not None:
            yield (*path, "address"), "the apps of a switch get their addresses from the network", "remove it"
        maps: list[tuple[str, ...]] = [(*path, "ports")] if app.ports else []
        rules = list(enumerate(app.rules or ()))
        maps += [(*path, "rules", str(index), "portmap") for index, rule in rules if rule.portmap]
        for index, rule in rules:
            if rule.host:
                message = "nobody resolves names in a switch: its apps ask the network's own DNS"
                yield (*path, "rules", str(index), "host"), message, "use `remote`"
        for where in maps:
            yield where, "apps of a switch are reached by their own addresses", "remove the port map"
        if app.attach is not None and app.attach.link and config.switch.shared:
            message = "behind a link may be any MAC address, and a shared uplink must know those of all apps"
            if app.mac is None:
                yield (*path, "attach", "link"), message, "add the app's `mac`"
