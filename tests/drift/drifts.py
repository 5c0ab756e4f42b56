"""What an administrator may do by hand to an object of a plan, as shell scripts. Pure: taken from the plan itself.

Each object is deleted, changed in each of its fields that a command can change, and doubled by one with our mark.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import msgspec

from nsmanager.item import Item
from nsmanager.items.address import Address
from nsmanager.items.bridge import Bridge
from nsmanager.items.link import MADE_HERE, Link
from nsmanager.items.neighbour import Neighbour
from nsmanager.items.nftables import NftTable
from nsmanager.items.route import Route
from nsmanager.items.rule import Rule
from nsmanager.items.sysctl import Sysctl
from nsmanager.marks import LINK_GROUP, RTPROT_NSVISOR
from supervisor.items import LocalRule, Veth
from supervisor.packet_steering import PacketSteering

STRANGE_MAC = "02:00:00:00:00:99"
OTHER_VALUES = {"0": "1", "1": "0", "2": "0", "-1": "0", "8": "0"}  # of a sysctl


@dataclasses.dataclass(frozen=True)
class Drift:
    """One thing done by hand."""

    item: Item
    what: str  # delete, change, add
    script: str

    def __str__(self) -> str:
        return self.script


def drifts(item: Item) -> Iterator[Drift]:
    """Yield what can be done to one object. Raises TypeError for a kind that nobody has thought of."""
    deletion, changes, additions = _by_hand(item)
    yield from (Drift(item, "delete", script) for script in deletion)
    yield from (Drift(item, "change", script) for script in changes)
    yield from (Drift(item, "add", script) for script in additions)


def _by_hand(item: Item) -> tuple[list[str], list[str], list[str]]:
    undo, link = item.undo(), f"ip link set {getattr(item, 'ifname', '')}"
    match item:
        case Link(kind="loopback"):
            return [], [f"{link} down"], []
        case Link(master=master):
            made = item.kind in MADE_HERE
            mac = [f"{link} address {STRANGE_MAC}"] if item.mac else []
            name = [f"{link} down; {link} name drift8"] if item.mac and not made else []
            return (
                [undo] if made or master else [],
                [f"{link} down", f"{link} mtu 1290", *mac, *name],
                [f"ip link add drift9 group {LINK_GROUP} type {item.kind}"] if made and item.kind == "bridge" else [],
            )
        case Bridge():
            settings = [f"stp_state {int(not item.stp)}", "priority 7", "group_fwd_mask 0x8"]
            return [], [f"{link} type bridge {setting}" for setting in settings], []
        case Address():
            return [undo], [], []  # ip(8) of Debian 12 can't give an address our mark
        case Route():
            return [undo], [_changed(item)], [_changed(item, other=True)]
        case Rule():
            other_rule = msgspec.structs.replace(item, priority=item.priority + 7)
            return [undo], [f"{undo}; {other_rule}"], [str(other_rule)]
        case LocalRule():
            return [undo], [], []
        case Neighbour():
            other_mac = msgspec.structs.replace(item, mac=STRANGE_MAC)
            return [undo], [str(other_mac)], []
        case Sysctl():
            value = OTHER_VALUES[item.value]
            return [], [f"sysctl -qw {item.name}={value}"], []
        case PacketSteering():
            return [undo], [str(msgspec.structs.replace(item, processors=1))], []
        case Veth():
            return [undo], [f"{link} down", f"{link} mtu 1290", f"{link} address {STRANGE_MAC}"], []
        case NftTable():
            return [undo, f"nft delete table {item.family} {item.name}_digest"], [], []
    raise TypeError(f"{item!r}: what can be done to it by hand?")


def _changed(route: Route, *, other: bool = False) -> str:
    """Return the command that makes a route another one; `other`: beside it, to a place that no plan knows."""
    if other:
        to = "203.0.113.7/32" if route.to.version == 4 else "2001:db8:113::7/128"
        ip = "ip" if route.to.version == 4 else "ip -6"
        return f"{ip} route add blackhole {to} table {route.table} proto {RTPROT_NSVISOR}"
    kind = "prohibit" if route.type == "unreachable" else "blackhole"
    changed = msgspec.structs.replace(route, type=kind, via=None, dev="", src=None)
    if route.to.version == 6:  # there `replace` tells a reject route from another by its link
        return f"{route.undo()}; {changed}"
    return changed.redo(route)


def nft_drifts(item: NftTable, listed: list[dict[str, Any]]) -> Iterator[Drift]:
    """Yield what can be done inside a table, from what `nft -j list table` prints; not to what others fill."""
    table = f"{item.family} {item.name}"
    kept = {declared.split()[1] for declared in item.kept}
    filled = {one["rule"]["chain"] for one in listed if "rule" in one}
    rules: dict[str, int] = {}  # of each chain so far
    for one in listed:
        [(kind, words)] = one.items()
        name = words.get("name", "")
        if kind == "chain":
            if name in filled:
                yield Drift(item, "change", f"nft flush chain {table} {name}")
            yield Drift(item, "add", f"nft insert rule {table} {name} counter accept")
            if words.get("policy"):
                policy = "drop" if words["policy"] == "accept" else "accept"
                yield Drift(item, "change", f"nft 'chain {table} {name} {{ policy {policy}; }}'")
        elif kind == "rule":
            chain = words["chain"]
            rules[chain] = rules.get(chain, 0) + 1
            # Its handle is another one after each repair; the chain has one, too.
            line = f"sed -n 's/.*# handle //p' | sed -n {1 + rules[chain]}p"
            yield Drift(
                item, "delete", f"nft delete rule {table} {chain} handle $(nft -a list chain {table} {chain} | {line})"
            )
        elif kind in ("set", "map") and name not in kept and words.get("elem"):
            yield Drift(item, "change", f"nft flush {kind} {table} {name}")
            for element in words["elem"]:
                key = element_words(element[0] if kind == "map" else element)
                yield Drift(item, "delete", f"nft delete element {table} {name} '{{ {key} }}'")


def element_words(key: Any) -> str:
    """Return a set's key as nft reads it, from its JSON."""
    if isinstance(key, dict) and "elem" in key:
        return element_words(key["elem"]["val"])
    if isinstance(key, dict) and "concat" in key:
        return " . ".join(element_words(part) for part in key["concat"])
    if isinstance(key, dict) and "prefix" in key:
        return f"{key['prefix']['addr']}/{key['prefix']['len']}"
    if isinstance(key, dict) and "range" in key:
        return "-".join(map(str, key["range"]))
    return str(key)
