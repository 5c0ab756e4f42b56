"""The sets of addresses that rules' host names were resolved to: how long each address stays. Pure.

dnsmasq puts an address into the set before the answer goes out, with the set's own short timeout; what is written here
gives it the time of the answer. It is written each time: dnsmasq puts in the address of every answer that it was given,
and since Linux 6.12 that sets the time of one that is there. See nft(8) on element timeouts.
"""

from __future__ import annotations

from collections.abc import Mapping

from nsmanager.dns.message import AAAA, A, Message
from nsmanager.marks import NFT_TABLE
from nsmanager.residents import Address

SHORTEST = 2  # seconds: who was told an address must be able to use it once
LONGEST = 7 * 86400  # seconds
REMEMBERED = 65_536  # elements

Sets = Mapping[str, tuple[str, str]]  # suffix of names -> its sets, of IPv4 and IPv6


class Hosts:
    """What the sets hold, as far as it was written from here. Times are of a monotonic clock."""

    def __init__(self, sets: Sets) -> None:
        self.sets = sets
        self._until: dict[tuple[str, Address], float] = {}  # set and address -> until when it stays

    def commands(self, answer: Message, now: float) -> list[str]:
        """Return the nft commands that an answer asks for: one transaction, so that no packet misses its element."""
        found = [
            (name, one.value, one.ttl)
            for names in matching(answer.name, self.sets)
            for one in answer.answers
            for name in (names[one.type == AAAA],)
            if one.type in (A, AAAA) and not isinstance(one.value, str)
        ]
        lines = []
        for name, address, ttl in found:
            known = self._until.pop((name, address), 0.0)
            stays = max(now + min(max(ttl, SHORTEST), LONGEST), known)  # another name may lead to it for longer
            self._until[name, address] = stays
            element = f"element inet {NFT_TABLE} {name}"
            timed = f"{{ {address} timeout {round(stays - now)}s }}"
            lines += [f"add {element} {timed}", f"delete {element} {{ {address} }}", f"add {element} {timed}"]
        while len(self._until) > REMEMBERED:
            del self._until[next(iter(self._until))]
        return lines


def matching(name: str, sets: Sets) -> list[tuple[str, str]]:
    """Return the sets of a name: of itself and of each that it lies below."""
    labels = name.split(".")
    suffixes = (".".join(labels[first:]) for first in range(len(labels)))
    return [sets[suffix] for suffix in suffixes if suffix in sets]
