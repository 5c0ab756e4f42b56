"""Routing rules. See ip-rule(8)."""

from __future__ import annotations

import functools
import ipaddress
import socket
import struct
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, ClassVar, Self

from nsmanager.item import Item, Key, Observed
from nsmanager.marks import RTPROT_NSVISOR
from nsmanager.netlink import NLM_F_CREATE, NLM_F_EXCL, attribute, attributes, number, string, text, u32

if TYPE_CHECKING:
    from nsmanager.namespace import Namespace

RTM_NEWRULE = 32
RTM_DELRULE = 33
RTM_GETRULE = 34
FRA_DST = 1
FRA_SRC = 2
FRA_IIFNAME = 3
FRA_GOTO = 4
FRA_PRIORITY = 6
FRA_FWMARK = 10
FRA_SUPPRESS_PREFIXLEN = 14
FRA_TABLE = 15
FRA_FWMASK = 16
FRA_PROTOCOL = 21
UNDERSTOOD = {
    FRA_DST,
    FRA_SRC,
    FRA_IIFNAME,
    FRA_GOTO,
    FRA_PRIORITY,
    FRA_FWMARK,
    FRA_TABLE,
    FRA_FWMASK,
    FRA_PROTOCOL,
    FRA_SUPPRESS_PREFIXLEN,
}
FULL_MASK = 0xFFFFFFFF
ACTIONS = {"lookup": 1, "goto": 2, "blackhole": 6, "unreachable": 7, "prohibit": 8}
ACTION_NAMES = {number: name for name, number in ACTIONS.items()}
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
TABLE_NAMES = {255: "local", 254: "main", 253: "default"}
FIB_RULE_HDR = struct.Struct("=BBBBBBBBI")  # family, dst_len, src_len, tos, table, -, -, action, flags
FIB_RULE_INVERT = 2


class Rule(Item, frozen=True, dict=True):
    """One rule. There may be several of one priority, so that its key is all that it says."""

    stage: ClassVar[int] = 40

    priority: int
    action: str = "lookup"
    table: int = 0  # to look up
    target: int = 0  # priority to go to
    iif: str = ""
    src: IPv4Network | IPv6Network | None = None
    dst: IPv4Network | IPv6Network | None = None
    mark: int | None = None
    mask: int | None = None  # None, with a mark: all bits
    family: int = 4  # 4 or 6, also of src and dst

    @functools.cached_property
    def key(self) -> Key:
        return ("rule", str(self.family), str(self.priority), self._words())

    def __str__(self) -> str:
        return f"{self._ip()} rule add {self._words()} protocol {RTPROT_NSVISOR}"

    def undo(self) -> str:
        return f"{self._ip()} rule del {self._words()} protocol {RTPROT_NSVISOR}"

    def _ip(self) -> str:
        return "ip -6" if self.family == 6 else "ip"

    def _words(self) -> str:
        words = [f"pref {self.priority}"]
        words += [f"from {self.src}"] if self.src is not None else []
        words += [f"to {self.dst}"] if self.dst is not None else []
        if self.mark is not None:
            mask = "" if self._mask() == FULL_MASK else f"/{self._mask():#x}"
            words.append(f"fwmark {self.mark:#x}{mask}" if self.mark else f"fwmark 0{mask}")
        words += [f"iif {self.iif}"] if self.iif else []
        match self.action:
            case "lookup":
                words.append(f"lookup {TABLE_NAMES.get(self.table, self.table)}")
            case "goto":
                words.append(f"goto {self.target}")
            case action:
                words.append(f"type {action}")
        return " ".join(words)

    def _mask(self) -> int:
        return FULL_MASK if self.mask is None else self.mask

    def matches(self, observed: Observed) -> bool:
        return self.key == observed.key

    async def create(self, ns: Namespace) -> None:
        ns.rtnl.request(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, self._body())

    async def delete(self, ns: Namespace) -> None:
        ns.rtnl.request(RTM_DELRULE, 0, self._body())

    def _body(self) -> bytes:
        body = FIB_RULE_HDR.pack(
            FAMILIES[self.family],
            self.dst.prefixlen if self.dst is not None else 0,
            self.src.prefixlen if self.src is not None else 0,
            0,
            self.table if self.table < 256 else 0,
            0,
            0,
            ACTIONS[self.action],
            0,
        )
        body += u32(FRA_PRIORITY, self.priority) + attribute(FRA_PROTOCOL, bytes([RTPROT_NSVISOR]))
        if self.dst is not None and self.dst.prefixlen:
            body += attribute(FRA_DST, self.dst.network_address.packed)
        if self.src is not None and self.src.prefixlen:
            body += attribute(FRA_SRC, self.src.network_address.packed)
        if self.iif:
            body += text(FRA_IIFNAME, self.iif)
        if self.mark is not None:
            body += u32(FRA_FWMARK, self.mark) + u32(FRA_FWMASK, self._mask())
        if self.action == "goto":
            body += u32(FRA_GOTO, self.target)
        if self.action == "lookup":
            body += u32(FRA_TABLE, self.table)
        return body

    @classmethod
    async def observe(cls, ns: Namespace, planned: Sequence[Self]) -> Iterable[Observed]:
        """Return our rules, and those that equal a planned one, whoever added them."""
        wanted = {item.key for item in planned}
        found = []
        for message in (message for version in FAMILIES for message in dump_rules(ns, version)):
            fields = attributes(message, FIB_RULE_HDR.size)
            rule = _decode(message, fields)
            ours = number(fields.get(FRA_PROTOCOL)) == RTPROT_NSVISOR
            if rule is not None and (ours or rule.key in wanted):
                found.append(rule)
        return found


def dump_rules(ns: Namespace, version: int) -> list[bytes]:
    """Return the messages of all rules of one version of IP; none where the kernel has it not."""
    family = FAMILIES[version]
    messages = ns.rtnl.dump(RTM_GETRULE, FIB_RULE_HDR.pack(family, 0, 0, 0, 0, 0, 0, 0, 0))
    return [message for message in messages if message[0] == family]


def _decode(message: bytes, fields: dict[int, bytes]) -> Rule | None:
    """Return the rule that a message tells of; None when it has selectors that ours never have."""
    family, dst_length, src_length, tos, small_table, _, _, action, flags = FIB_RULE_HDR.unpack_from(message)
    if action not in ACTION_NAMES or tos or flags & FIB_RULE_INVERT or fields.keys() - UNDERSTOOD:
        return None
    version = 4 if family == socket.AF_INET else 6
    zero = bytes(4 if version == 4 else 16)
    mask = fields.get(FRA_FWMASK)
    return Rule(
        number(fields.get(FRA_PRIORITY)),
        ACTION_NAMES[action],
        (number(fields.get(FRA_TABLE)) or small_table) if action == ACTIONS["lookup"] else 0,
        number(fields.get(FRA_GOTO)),
        string(fields.get(FRA_IIFNAME)),
        ipaddress.ip_network((fields.get(FRA_SRC, zero), src_length)) if src_length else None,
        ipaddress.ip_network((fields.get(FRA_DST, zero), dst_length)) if dst_length else None,
        number(fields.get(FRA_FWMARK)) if mask else None,
        number(mask) if mask else None,
        version,
    )
