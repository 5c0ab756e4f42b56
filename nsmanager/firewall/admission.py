"""How many connections and neighbours one instance may have, in nft's words, for both sides of its link. Pure.

The kernel's tables are shared by all namespaces, so each instance has its share: inside, and once more on the host,
where a manager that was taken over changes nothing. Only the first packet of a connection comes by here.

`ct count` doesn't count what TCP has closed, though that stays tracked for two minutes (TIME_WAIT). So there is a rate
too: as many as the limit in any case, and from then on again as many in two minutes.

`ct count` looks up all that are on its list when one is added, and once a second besides (nft_rhash_gc), 0.3 to 0.6 µs
each, and nothing else runs on that processor meanwhile. So of a large share only a sample is counted, told by bits of
the connection's number, which the kernel draws: one that finds the sample full makes the instance full, for all others
too, until one of the sample finds room again. Chance fills the sample more or less, so it may hold some more.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

# What matches the first packet of a connection, and no other. `ct state new` also matches all that nobody answers.
FIRST = "ct status ! confirmed"
SAMPLE = 1024  # connections that are counted at most; a share that isn't larger is counted whole
SPARE = 4  # a sample may hold this part of it more: over five times its standard deviation
FULL_TIMEOUT = "1h"  # without anybody who asks
REMEMBERED = 2  # minutes that conntrack keeps a connection that TCP has closed
NEAR_TIMEOUT = "1m"  # of silence; about as long the kernel keeps a neighbour that doesn't answer
# Of sets: elements. The kernel makes a set's hash table as large at once.
LINKS = 8192
GONE = 64  # of one element: those that it was, which the kernel clears away once a second
NEAR_SIZE = 16384  # neighbours that all links have lately asked for; one that finds no place here is counted again
NUMBER = "ct id"  # of a connection
ALL = f"{NUMBER} and 0x0"  # a key that is the same for all


class Admission(msgspec.Struct, frozen=True):
    """What one side calls its objects. On the host a key begins with the link; inside there is one instance only."""

    link: str = ""  # `iifname` or `oifname`; empty: inside

    def connections(self, limit: int) -> Iterator[str]:
        """Yield the rules that a new connection meets; over the limit it goes to `refusing`."""
        yield self._limited(f"born/{limit}", f"{max(1, limit // REMEMBERED)}/minute burst {limit} packets")
        others, most = _others(limit), _most(limit)
        counted = f"add @counted/{limit} {{ {self.link or ALL} ct count over {most} }}"
        if not others:
            yield f"{counted} goto refusing"
            return
        full, bits = self._index or ALL, f"{NUMBER} and 0x{others:x}"
        yield f"{full} @full/{limit} {bits} != 0 goto refusing"
        yield f"{bits} == 0 {counted} update @full/{limit} {{ {full} }} goto refusing"
        yield f"{bits} == 0 delete @full/{limit} {{ {full} }}"

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
        size = LINKS if self.link else GONE
        yield f"set counted/{connections} {{ typeof {self.link or NUMBER}; size {size}; flags dynamic; }}"
        if _others(connections):
            flags = f"size {size}; flags dynamic,timeout; timeout {FULL_TIMEOUT}"
            yield f"set full/{connections} {{ typeof {self._index or NUMBER}; {flags}; }}"

    def kept_near(self, neighbours: int) -> Iterator[str]:
        """Yield likewise what counts neighbours."""
        yield from self._limits(f"nears/{neighbours}")

    def near_sets(self, size: int = NEAR_SIZE) -> Iterator[str]:
        """Yield the sets of the neighbours that are known, of all limits."""
        for name, field in (("near4", "ip daddr"), ("near6", "ip6 daddr")):
            flags = f"size {size}; flags dynamic,timeout; timeout {NEAR_TIMEOUT}"
            yield f"set {name} {{ typeof {self._key(field)}; {flags}; }}"

    def _key(self, field: str) -> str:
        return f"{self.link} . {field}" if self.link else field

    @property
    def _index(self) -> str:
        """The link as it is now: another of the same name isn't full."""
        return self.link.removesuffix("name")

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


def _others(connections: int) -> int:
    """Return the bits of a connection's number that are 0 for one of the sample; 0: all are counted."""
    found = 1
    while connections > found * SAMPLE:
        found *= 2
    return found - 1


def _most(connections: int) -> int:
    """Return how many connections the sample may hold."""
    sample = connections // (_others(connections) + 1)
    return sample + sample // SPARE if _others(connections) else connections
