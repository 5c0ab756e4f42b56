"""What the kernel's monitors tell of changes in a namespace, and which object each line is about."""

from __future__ import annotations

import re
import subprocess
from typing import Any

from tests.hosts import Host, monitors

MONITORS = (("ip", "-o", "monitor", "label", "all"), ("nft", "monitor"))
POKE = "192.0.2.99"  # an address that a stranger gives to lo and takes away: wakes who keeps the namespace
# What the kernel does by itself: neighbours that it learns, routes of addresses and groups, addresses that an RA
# renews, what a link is told of, ports of bridges (in a message of the bridges' own, without a qdisc), addresses of the
# link alone: that they came it tells when it has tried them out, and of those that went before only that they went.
BY_ITSELF = re.compile(
    r"\[NEIGH\](?!.*PERMANENT)|\[ROUTE\].*( table local | proto kernel |ff00::/8|multicast)|\[(PREFIX|NSID|MDB|STATS)\]"
    r"|\[ADDR\].* dynamic |\[ADDR\](?!Deleted).* scope link |\[ADDR\].* tentative |\[LINK\](?!.* qdisc ).* master "
    rf"|{POKE}|# new generation"
)
NFT_CHANGE = re.compile(r"^(?:add|delete|insert|replace|flush|destroy) \w+ (\w+ \S+)")
ROUTE_TYPES = ("unreachable", "blackhole", "prohibit", "throw", "local")


class Ear:
    """The monitors of one namespace; `take` returns what they told since the last time."""

    def __init__(self, host: Host, netns: str) -> None:
        self._heard: list[tuple[subprocess.Popen[str], Any]] = []
        for argv in MONITORS:
            file = host.path(f"/run/drift-{netns or 'host'}-{argv[0]}.monitor")
            with file.open("w") as output:
                self._heard.append((host.popen(argv, netns=netns, stdout=output), file.open()))
        for child, _ in self._heard:
            monitors.wait_until_it_listens(child)

    def close(self) -> None:
        """Read no more."""
        for _, output in self._heard:
            output.close()

    def take(self) -> list[str]:
        """Return the lines since the last call, once the kernel has no more to tell."""
        found = []
        for child, output in self._heard:
            monitors.settle(child)
            found += output.read().splitlines()
        return [line for line in found if not BY_ITSELF.search(line)]


def subject(line: str) -> str:
    """Return which object a line is about, in the same words whether it came, changed or went."""
    if match := NFT_CHANGE.match(line):
        return f"nft {match[1]}"
    kind, _, rest = line.partition("]")
    rest = rest.removeprefix("Deleted ")
    words = rest.split()
    match kind:
        case "[LINK":
            return f"link {words[1].partition('@')[0].rstrip(':')}"
        case "[ADDR":
            return f"address {words[1]} {words[3]}"
        case "[ROUTE":
            return route_subject(words)
        case "[RULE":
            return "rule " + " ".join(words)
        case "[NEIGH":
            return f"neighbour {words[2]} {words[0]}"
        case "[NETCONF":
            return f"settings {words[0]} {words[2] if words[1] == 'dev' else words[1]}"
    return line


def route_subject(words: list[str]) -> str:
    """Return which route some words are about, as `ip` takes or tells them: its destination and its table."""
    to = next(word for word in words if word not in ROUTE_TYPES).removesuffix("/32").removesuffix("/128")
    return f"route {to} {words[words.index('table') + 1] if 'table' in words else 'main'}"
