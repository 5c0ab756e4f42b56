"""How many connections and neighbours one instance may have, in nft's words, for both sides of its link. Pure.

The kernel's tables are shared by all namespaces, so each instance has its share: inside, and once more on the host,
where a manager that was taken over changes nothing. Only the first packet of a connection comes by here.

`ct count` doesn't count what TCP has closed, though that stays tracked for two minutes (TIME_WAIT). So there is a rate
too: as many as the limit in any case, and from then on again as many in two minutes.

Whenever a connection is added, `ct count` looks up all that are on the same list, 0.3 µs each, and nothing else runs on
that processor meanwhile. So an instance has several lists, told apart by bits of the connection's number, which the
kernel draws. Where there are many the lists are short, and each may hold some more than its part: chance fills one
before the others.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

# What matches the first packet of a connection, and no other. `ct state new` also matches all that nobody answers.
FIRST = "ct status ! confirmed"
FEW = 4096  # connections that the rate lets a flood open too seldom for long lists to matter
LIST, SHORT_LIST = 256, 64  # connections that are a list's part: of few, of many
LISTS = 1024  # at most
SPARE = 4  # a short list may hold this part of its part more
REMEMBERED = 2  # minutes that conntrack keeps a connection that TCP has closed
NEAR_TIMEOUT = "1m"  # of silence; about as long the kernel keeps a neighbour that doesn't answer
# Of sets: elements. The kernel makes a set's hash table as large at once.
LINKS = 8192
HELD_SIZE = 262143  # lists of all links
NEAR_SIZE = 16384  # neighbours that all links have lately asked for; one that finds no place here is counted again


class Admission(msgspec.Struct, frozen=True):
    """What one side calls its objects. On the host a key begins with the link; inside there is one instance only."""

    link: str = ""  # `iifname` or `oifname`; empty: inside

    def connections(self, limit: int) -> Iterator[str]:
        """Yield the rules that a new connection meets; over the limit it goes to `refusing`."""
        count = _lists(limit)
        yield self._limited(f"born/{limit}", f"{max(1, limit // REMEMBERED)}/minute burst {limit} packets")
        which = self._key(f"ct id and 0x{count - 1:x}")
        yield f"add @held/{limit} {{ {which} ct count over {_most(limit)} }} goto refusing"

    def neighbours(self, limit: int, ip: str) -> Iterator[str]:
        """Yield the rules that a connection meets whose next hop may be a new neighbour; over the limit: `too-near`."""
        near, hop = "near4" if ip == "ip" else "near6", self._key(f"rt {ip} nexthop")
        yield f"{hop} @{near} update @{near} {{ {hop} }} return"
        rate = f"{max(1, limit // 4)}/minute burst {max(1, limit // 2)} packets"
        yield self._limited(f"nears/{limit}", rate, "too-near")
        yield f"add @{near} {{ {hop} }}"

    def kept(self, connections: int) -> Iterator[str]:
        """Yield the declarations of what counts connections, and lives on when the rules change."""
        yield from self._limits(f"born/{connections}")
        size = HELD_SIZE if self.link else _lists(connections)
        yield f"set held/{connections} {{ {self._typeof('ct id')}; size {size}; flags dynamic; }}"

    def kept_near(self, neighbours: int) -> Iterator[str]:
        """Yield likewise what counts neighbours."""
        yield from self._limits(f"nears/{neighbours}")

    def near_sets(self, size: int = NEAR_SIZE) -> Iterator[str]:
        """Yield the sets of the neighbours that are known, of all limits."""
        for name, field in (("near4", "ip daddr"), ("near6", "ip6 daddr")):
            flags = f"size {size}; flags dynamic,timeout; timeout {NEAR_TIMEOUT}"
            yield f"set {name} {{ {self._typeof(field)}; {flags}; }}"

    def _key(self, field: str) -> str:
        return f"{self.link} . {field}" if self.link else field

    def _typeof(self, field: str) -> str:
        return f"typeof {self._key(field)}"

    def _limited(self, name: str, rate: str, refusing: str = "refusing") -> str:
        if self.link:
            return f"update @{name} {{ {self.link} limit rate over {rate} }} goto {refusing}"
        return f"limit rate over {rate} goto {refusing}"

    def _limits(self, name: str) -> Iterator[str]:
        if self.link:
            yield f"set {name} {{ type ifname; size {LINKS}; flags dynamic; }}"


INSIDE = Admission()
FROM_LINK = Admission("iifname")
TO_LINK = Admission("oifname")


def _lists(connections: int) -> int:
    """Return on how many lists so many connections are counted: a power of two."""
    part, found = LIST if connections <= FEW else SHORT_LIST, 1
    while found < LISTS and found * part < connections:
        found *= 2
    return found


def _most(connections: int) -> int:
    """Return how many connections each list may hold."""
    part = connections // _lists(connections)
    return part if connections <= FEW else part + part // SPARE
