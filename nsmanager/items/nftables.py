"""One nft table, replaced whole in one transaction. See nft(8).

The kernel is the memory: beside `table inet NAME` stands an empty `table inet NAME_digest`, whose comment holds a
digest of the text that was loaded and one of the kernel's own listing right after. Both equal: nobody
changed anything. The listing is made only when the ruleset's generation is another than at the last look.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from nsmanager.item import Item, Key, Observed
from nsmanager.libnftables import NftError
from nsmanager.marks import NFT_TABLE

if TYPE_CHECKING:
    from nsmanager.namespace import Namespace

DIGEST_LENGTH = 32  # hexadecimal digits of each digest; a comment holds at most 128 bytes


@dataclasses.dataclass(frozen=True)
class NftTable(Item):
    """A table of ours; its name is its mark."""

    stage: ClassVar[int] = 60

    family: str
    name: str
    text: str  # chains, maps and sets, without the table's braces
    loaded: str = ""  # observed: digest of the text that the table was made of; empty: it was changed since

    @property
    def key(self) -> Key:
        return ("nft", self.family, self.name)

    def __str__(self) -> str:
        return f"nft -f - <<'END'\n{self.transaction()}END"

    def undo(self) -> str:
        return f"nft delete table {self.family} {self.name}"

    def transaction(self) -> str:
        """Return the commands that make the table, whether it is there or not."""
        table = f"table {self.family} {self.name}"
        return f"{table}\ndelete {table}\n{table} {{\n{self.text.rstrip()}\n}}\n"

    def matches(self, observed: Observed) -> bool:
        return isinstance(observed, NftTable) and observed.loaded == _digest(self.text)

    async def create(self, ns: Namespace) -> None:
        """Load the table, and remember how the kernel lists it."""
        await ns.nft(self.transaction())
        listing = await ns.nft(f"list table {self.family} {self.name}")
        table = f"table {self.family} {self.name}_digest"
        comment = f"text {_digest(self.text)} listing {_digest(listing)}"
        await ns.nft(f'{table}\ndelete {table}\n{table} {{ comment "{comment}"; }}\n')

    async def replace(self, ns: Namespace, _old: Observed, /) -> None:
        await self.create(ns)

    async def delete(self, ns: Namespace) -> None:
        for name in (self.name, f"{self.name}_digest"):
            await ns.nft(f"table {self.family} {name}\ndelete table {self.family} {name}\n")

    @classmethod
    async def observe(cls, ns: Namespace, planned: Sequence[Self]) -> Iterable[Observed]:
        """Return the tables of ours that exist, with the digest of their text where nobody has changed them since."""
        found = []
        for item in planned or (cls("inet", NFT_TABLE, ""),):
            generation = ns.nft_generation()
            known = ns.nft_known.get(item.key)
            if known is None or known[0] != generation:
                known = (generation, await item.look(ns))
                ns.nft_known[item.key] = known
            if isinstance(known[1], NftTable):
                found.append(known[1])
        return found

    async def look(self, ns: Namespace) -> NftTable | None:
        """Return this table as the kernel has it; None when there is none."""
        listing = await _listing(ns, f"{self.family} {self.name}")
        if not listing:
            return None
        memory = await _listing(ns, f"{self.family} {self.name}_digest")
        digests = re.search(r"text ([0-9a-f]+) listing ([0-9a-f]+)", memory)
        unchanged = digests is not None and digests[2] == _digest(listing)
        return NftTable(self.family, self.name, "", digests[1] if digests is not None and unchanged else "")


async def _listing(ns: Namespace, table: str) -> str:
    """Return the kernel's listing of a table; empty when there is none."""
    try:
        return await ns.nft(f"list table {table}")
    except NftError:
        return ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]
