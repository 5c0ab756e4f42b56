"""Asks the kernel, in the host's or an instance's network namespace, by commands that anybody can repeat."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from functools import cache, cached_property
from ipaddress import ip_address, ip_network
from typing import Any

import msgspec

from supervisor.cli.errors import CliError
from supervisor.names import uplink_table
from supervisor.passage.expressions import UnknownError
from supervisor.passage.judge import Asked
from supervisor.passage.packet import IpAddress, Packet
from supervisor.passage.ruleset import Ruleset

ASK_TIMEOUT = 10.0  # seconds for one command; they take milliseconds
UNREACHABLE = ("unreachable", "prohibit", "blackhole", "throw")


class Answer(msgspec.Struct, frozen=True):
    """What a command said."""

    command: str  # as one would type it
    output: str
    error: str  # empty: it succeeded


class Route(msgspec.Struct, frozen=True):
    """The kernel's decision where a packet goes."""

    command: str
    text: str  # the route that decided, as ip(8) prints it; empty: none
    error: str = ""  # the kernel's word when there is no way
    type: str = "unicast"
    dev: str = ""
    via: IpAddress | None = None
    table: str = "main"


class Kernel:
    """The kernel as one network namespace sees it; `instance` empty: the host's."""

    def __init__(self, instance: str = "") -> None:
        self.instance = instance
        self.name = instance or "host"

    def ip(self, *words: str, json_output: bool = False) -> Answer:
        """Run a command of iproute2."""
        inside = ["-n", self.instance] if self.instance else []
        return _run(("ip", *inside, *words), ("ip", *inside, "-j", *words) if json_output else None)

    def nft(self, *words: str) -> Answer:
        """Run a command of nftables."""
        return _run(self._nft(*words))

    def _nft(self, *words: str) -> tuple[str, ...]:
        return (*(("ip", "netns", "exec", self.instance) if self.instance else ()), "nft", *words)

    @cached_property
    def ruleset(self) -> Ruleset:
        """All rules of the namespace. Raises CliError."""
        listed, text = self.nft("-j", "-t", "list", "ruleset"), self.nft("-a", "-t", "list", "ruleset")
        if error := listed.error or text.error:
            raise CliError(f"{text.command}: {error}")
        return Ruleset(listed.output, text.output)

    def listing(self, chain: str) -> str:
        """Return the command that lists a chain; what it prints is in `ruleset`."""
        return shlex.join(self._nft("list", "chain", *chain.split()))

    def element(self, table: str, name: str, key: str) -> Asked:
        """Ask for the element of a set or map: one that has an interval gives that."""
        answer = self.nft("get", "element", *table.split(), name, f"{{ {key} }}")
        match = re.search(r"elements = \{ (.*) \}", answer.output, re.DOTALL)
        return Asked(answer.command, match[1] if match else None)

    def masquerade(self, packet: Packet) -> IpAddress:
        """Ask which address the kernel uses on the link by which it leaves.

        That is the one towards the next hop (IPv4) or the destination (IPv6), see nf_nat_masquerade.c. Raises
        UnknownError.
        """
        towards = packet.destination if packet.version == 6 else self.route(packet).via or packet.destination
        words = [*_version(packet), "route", "get", str(towards), "oif", packet.oif, "mark", hex(packet.mark)]
        answer = self.ip(*words, json_output=True)
        found = json.loads(answer.output)[0].get("prefsrc") if answer.output else None
        if found is None:
            raise UnknownError(f"{answer.command}: {answer.error or 'no source address'}")
        return ip_address(found)

    def route(self, packet: Packet) -> Route:
        """Ask where a packet goes that came in by a link."""
        where = [str(packet.destination), "from", str(packet.source), "iif", packet.iif]
        where += ["mark", hex(packet.mark)] if packet.mark else []
        answer = self.ip(*_version(packet), "route", "get", *where, json_output=True)
        if answer.error:
            return Route(answer.command, "", error=answer.error)
        found = json.loads(answer.output)[0]
        matched = self.ip(*_version(packet), "route", "get", "fibmatch", *where)
        kind = found.get("type", "unicast")
        return Route(
            command=answer.command,
            text=" ".join(matched.output.split()),
            error=f"{kind} route" if kind in UNREACHABLE else "",
            type=kind,
            dev=found.get("dev", ""),
            via=ip_address(found["gateway"]) if "gateway" in found else None,
            table=str(found.get("table", "local" if kind == "local" else "main")),
        )

    def rule_of(self, packet: Packet, table: str) -> tuple[str, str]:
        """Return the rule that sends a packet to a table, and the command that prints it; empty: none does."""
        listed, text = self._rules(packet.version)
        for rule, line in zip(json.loads(listed.output or "[]"), text.output.splitlines(), strict=True):
            if rule.get("table") == table and applies(rule, packet):
                return " ".join(line.split()), text.command
        return "", text.command

    def refusal(self, packet: Packet) -> tuple[str, str, str]:
        """Return the rule and the route that end a packet's way, and the table of that route."""
        listed, text = self._rules(packet.version)
        for rule, line in zip(json.loads(listed.output or "[]"), text.output.splitlines(), strict=True):
            words = " ".join(line.split())
            if not applies(rule, packet):
                continue
            if rule.get("action") in UNREACHABLE:
                return words, "", ""
            if table := rule.get("table"):
                to = ("route", "show", "table", table, "match", str(packet.destination))
                routes = self.ip(*_version(packet), *to).output.splitlines()
                if routes:
                    return words, " ".join(routes[-1].split()), table
        return "", "", ""

    def _rules(self, version: int) -> tuple[Answer, Answer]:
        words = (*(("-6",) if version == 6 else ()), "rule", "show")
        return self.ip(*words, json_output=True), self.ip(*words)

    def judges_switched(self, version: int) -> bool:
        """Tell whether packets between two ports of a bridge pass the rules of IP (br_netfilter)."""
        which = "ip6tables" if version == 6 else "iptables"
        inside = ("ip", "netns", "exec", self.instance) if self.instance else ()
        return _run((*inside, "sysctl", "-n", f"net.bridge.bridge-nf-call-{which}")).output.strip() == "1"

    def link(self, ifname: str) -> dict[str, Any]:
        """Return what is known of a link; empty: there is none. Its group is a number."""
        answer = self.ip("-N", "link", "show", "dev", ifname, json_output=True)
        return dict(json.loads(answer.output)[0]) if answer.output else {}

    def group(self, ifname: str) -> int:
        """Return a link's group."""
        found = str(self.link(ifname).get("group", 0))
        return int(found) if found.isdecimal() else 0

    def neighbour(self, address: IpAddress, ifname: str) -> Answer:
        """Ask what is known of a neighbour; an empty output: nothing yet."""
        return self.ip("neigh", "show", "to", str(address), "dev", ifname)

    def owner(self, address: IpAddress) -> str:
        """Return the working link of this namespace that has an address; empty: none."""
        answer = self.ip("address", "show", "to", str(address), json_output=True)
        found = [link for link in json.loads(answer.output or "[]") if link.get("addr_info")]
        return next((link["ifname"] for link in found if link.get("operstate") != "DOWN"), "")

    def uplink_of(self, table: str) -> str:
        """Return the link that a routing table is for; empty: it is no uplink's."""
        links = json.loads(self.ip("link", "show", json_output=True).output or "[]")
        return next((link["ifname"] for link in links if str(uplink_table(link["ifindex"])) == table), "")


def applies(rule: dict[str, Any], packet: Packet) -> bool:
    """Tell whether a rule, as `ip -j rule` prints it, is for a packet that came in by a link."""
    if rule.get("iif", packet.iif) != packet.iif:
        return False
    mask = int(str(rule.get("fwmask", "0xffffffff")), 0)
    if "fwmark" in rule and (packet.mark & mask) != int(str(rule["fwmark"]), 0):
        return False
    for key, address in (("src", packet.source), ("dst", packet.destination)):
        wanted = rule.get(key, "all")
        if wanted != "all" and address not in ip_network(f"{wanted}/{rule.get(f'{key}len', address.max_prefixlen)}"):
            return False
    return True


def _version(packet: Packet) -> tuple[str, ...]:
    return ("-6",) if packet.version == 6 else ()


@cache
def _run(words: tuple[str, ...], asked: tuple[str, ...] | None = None) -> Answer:
    """Run `asked`, which says the same as `words` for programs; once, for one look is about one moment."""
    command = shlex.join(words)
    try:
        done = subprocess.run(asked or words, capture_output=True, text=True, timeout=ASK_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise CliError(f"{command}: {exc}") from exc
    lines = done.stderr.replace("RTNETLINK answers: ", "").strip().splitlines()
    return Answer(command, done.stdout, (lines[0] if lines else f"exit {done.returncode}") if done.returncode else "")
