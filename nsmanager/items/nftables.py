"""One nft table, put in force by one transaction. See nft(8).

The kernel is the memory: beside `table inet NAME` stands an empty `table inet NAME_digest`, whose comment holds a
digest of what was loaded and one of the kernel's own listing right after. Both equal: nobody changed anything. The
listing is made only when the ruleset's generation is another than after the last look, and after what this process
changed itself. Where only elements of sets and maps differ from what this process loaded, and nobody changed that, only
those are added and deleted; else all rules are made anew.

What one transaction may hold is bounded by the socket's buffer, which a user namespace can't enlarge beyond
net.core.wmem_max. So long chains have names that change with their content: they are filled while nothing leads to
them yet, and one transaction then puts all in force.

A table may have objects that it keeps: counters, and sets that others fill. Their values and elements are no part of
the digest, and they live on while all else is made anew.

A packet that is inside a chain at the moment of a transaction goes on by the rules of before, while each of its lookups
already finds the elements of after (nft_do_chain() and nft_lookup_eval() each read the generation for themselves). So
nothing that stays is deleted and made again, and what isn't planned any more goes afterwards, when no rule uses it. A
map without a name can't stay when its rule is made anew: ours all have names.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

import msgspec

from nsmanager.item import Item, Key, Observed
from nsmanager.items.nft_text import CHAIN, HOOK, Named, head, named, objects, plain
from nsmanager.libnftables import NftError
from nsmanager.marks import NFT_TABLE

if TYPE_CHECKING:
    from nsmanager.namespace import Namespace

LONG = 250  # rules; so many go into one transaction in any case
ELEMENTS = 100  # rules that so many elements count as
ORDER = ("map", "set", "chain")  # in which they can be deleted, before counters and limits: maps name the others
DIGEST_LENGTH = 32  # hexadecimal digits of each digest; a comment holds at most 128 bytes
DIGESTS = re.compile(r"text ([0-9a-f]+) listing ([0-9a-f]+)")


Elements = tuple[tuple[str, tuple[str, ...]], ...]  # name of a set or map -> its elements, as nft reads them


class NftTable(Item, frozen=True):
    """A table of ours; its name is its mark."""

    stage: ClassVar[int] = 60
    home: ClassVar[str] = "inet"  # family in which one of ours is looked for where none is planned

    family: str
    name: str
    text: str  # chains, maps and sets, without the table's braces
    elements: Elements = ()  # of the sets and maps that the text declares
    kept: tuple[str, ...] = ()  # declarations, as `counter x { }`; one name's is the same in all versions of a table
    blocks: tuple[tuple[str, tuple[str, ...]], ...] = ()  # as `chain x`, a name that changes with the content, and that
    loaded: str = ""  # observed: digest of what the table was made of; empty: it was changed since

    @property
    def key(self) -> Key:
        return ("nft", self.family, self.name)

    def __str__(self) -> str:
        return f"nft -f - <<'END'\n{self.transaction()}END"

    def redo(self, old: Observed) -> str:
        changes = self._changes(old)
        if changes is None:
            changes = "\n".join([f"flush table {self.family} {self.name}", *self._content(())]) + "\n"
        return f"nft -f - <<'END'\n{changes}END"

    def undo(self) -> str:
        return f"nft delete table {self.family} {self.name}"

    def transaction(self) -> str:
        """Return the commands that make the table, whether it is there or not."""
        table = f"table {self.family} {self.name}"
        return "\n".join([table, f"delete {table}", *self._content(())]) + "\n"

    def _content(self, there: Collection[str], prepared: Collection[str] = ()) -> list[str]:
        """Return the commands that fill the table, without kept objects that are `there`, and `prepared` chains."""
        kept = [f"\t{declared}" for declared in self.kept if head(declared) not in there]
        parts = [
            _block(one, lines) for one, content in self.blocks if one not in prepared for lines in _parts(one, content)
        ]
        lines = [f"table {self.family} {self.name} {{", *kept, *parts, self.text.rstrip(), "}"]
        return lines + [self._command("add", name, elements) for name, elements in self.elements if elements]

    def _around(self, listing: str, prepared: Collection[str] = ()) -> str:
        """Return the commands that put all in force around what stands in the table that is listed.

        Chains stay, with other rules; so does what the rules of before may look up, whether it is planned or not.
        """
        table = f"{self.family} {self.name}"
        planned = self._heads()
        found = [(kind, name, body) for kind, name, body in objects(listing) if f"{kind} {name}" not in prepared]
        chains = {name: " hook " in body for kind, name, body in found if kind == "chain"}
        strange = [name for name, is_hooked in chains.items() if is_hooked and f"chain {name}" not in planned]
        lines = [
            f"{verb} chain {table} {name}" for verb, some in (("flush", chains), ("delete", strange)) for name in some
        ]
        lines += self._outdated(listing)
        there = {f"{kind} {name}" for kind, name, _ in objects(listing)}
        return "\n".join([*lines, *self._content(there, prepared)]) + "\n"

    def _outdated(self, listing: str) -> Iterator[str]:
        """Yield the commands that delete elements which aren't planned, of sets and maps that are."""
        table, planned = f"{self.family} {self.name}", self._named()
        for name, old in named(listing, but={*map(head, self.kept)}).items():  # these may have thousands
            new = planned.get(name)
            if new is None:
                continue
            if new.declared != old.declared:
                yield f"delete {old.kind} {table} {name}"
                continue
            gone = [words.partition(" : ")[0] for element, words in old.elements.items() if element not in new.elements]
            if gone:
                yield self._command("delete", name, gone)

    def _left(self, listing: str) -> list[str]:
        """Return the commands that delete what isn't planned and stood in a listing: no rule uses it any more."""
        planned = self._heads()
        found = [(kind, name) for kind, name, body in objects(listing) if " hook " not in body]
        gone = [(kind, name) for kind, name in found if f"{kind} {name}" not in planned]
        gone.sort(key=lambda one: (*ORDER, one[0]).index(one[0]))
        return [f"delete {kind} {self.family} {self.name} {name}" for kind, name in gone]

    def _heads(self) -> set[str]:
        """Return kind and name of all that is planned."""
        found = {f"chain {name}" for name in CHAIN.findall(self.text)}
        found |= {f"{one.kind} {name}" for name, one in named(self.text).items()}
        return {*found, *(block for block, _ in self.blocks), *map(head, self.kept)}

    def _named(self) -> dict[str, Named]:
        """Return the sets and maps that are planned, but for kept ones."""
        parts = [_block(one, lines) for one, content in self.blocks for lines in _parts(one, content)]
        found = named("\n".join([self.text, *parts]))
        for name, elements in self.elements:
            found[name].elements.update({plain(one): one for one in elements})
        return found

    async def _prepare(self, ns: Namespace, listing: str) -> list[str]:
        """Fill the blocks, to which nothing leads yet; return those that stand. What is short is loaded with the rest.

        Where the table isn't there, its hooks come first, with no rule: what has a policy of drop passes nothing then.
        """
        if not self._is_long():
            return []
        table = f"{self.family} {self.name}"
        there = {f"{kind} {name}" for kind, name, _ in objects(listing)}
        hooks = HOOK.findall(self.text) if not listing else []
        parts = [(1, _block(f"chain {name}", [spec])) for name, spec in hooks]
        parts += [(1, declared) for declared in self.kept if head(declared) not in there]
        left = []
        for block, content in self.blocks:
            kind, name = block.split()
            if block in there and re.search(rf"(goto |@){re.escape(name)}\s", listing):
                continue
            left += [f"flush {kind} {table} {name}"] if block in there else []  # what an earlier try has left
            parts += [(len(lines), _block(block, lines)) for lines in _parts(block, content)]
        for some in _packed(parts):
            await ns.nft_change("\n".join([*left, f"table {table} {{", *some, "}"]) + "\n", self.key)
            left = []
        return [block for block, _ in self.blocks]

    def _command(self, verb: str, name: str, elements: Iterable[str]) -> str:
        return f"{verb} element {self.family} {self.name} {name} {{ {', '.join(elements)} }}"

    def _changes(self, old: Observed) -> str | None:
        """Return the commands that change elements only; None when what stands there must be made anew."""
        if (
            not isinstance(old, NftTable)
            or not old.text
            or old.text != self.text
            or old.blocks != self.blocks
            or old.kept != self.kept
            or old.loaded != _digest(old)
        ):
            return None
        before, lines = dict(old.elements), []
        for name, elements in self.elements:
            had = before.get(name, ())
            gone, new = set(had) - set(elements), set(elements) - set(had)
            keys = [one.partition(" : ")[0] for one in had if one in gone]  # a map's value is not named at its end
            lines += [self._command("delete", name, keys)] if keys else []
            lines += [self._command("add", name, [one for one in elements if one in new])] if new else []
        return "\n".join(lines) + "\n"

    def matches(self, observed: Observed) -> bool:
        return isinstance(observed, NftTable) and observed.loaded == _digest(self)

    async def create(self, ns: Namespace) -> None:
        """Load the table, and remember how the kernel lists it."""
        if prepared := await self._prepare(ns, ""):
            await self._load(ns, self._around(await _listing(ns, f"{self.family} {self.name}"), prepared))
        else:
            await self._load(ns, self.transaction())

    async def replace(self, ns: Namespace, old: Observed) -> None:
        """Do as little as is enough: change elements, or all but what is kept, or all."""
        changes = self._changes(old)
        if changes is not None:
            with contextlib.suppress(NftError):  # the kernel has something else after all
                return await self._load(ns, changes)
        is_known = isinstance(old, NftTable) and old.loaded
        with contextlib.suppress(NftError):  # as when a chain of that name had another hook: then nothing is kept
            if self._is_long() and not is_known:  # a block in use, whatever was done to it, can't be filled in parts
                await self._elsewhere().put_in_force(ns)
            return await self._remember(ns, await self.put_in_force(ns))
        return await self._load(ns, self.transaction())

    async def put_in_force(self, ns: Namespace) -> int:
        """Make of the table that stands this one; return the generation that is the last of it."""
        table = f"{self.family} {self.name}"
        prepared = await self._prepare(ns, await _listing(ns, table))
        before = await _listing(ns, table)
        generation = await ns.nft_change(self._around(before, prepared), self.key)
        for some in _sliced(self._left(before)):
            generation = await ns.nft_change("\n".join(some) + "\n", self.key)
        return generation

    def _elsewhere(self) -> NftTable:
        """Return the same with blocks of other names."""
        names = "|".join(re.escape(block.split()[1]) for block, _ in self.blocks)
        known = re.compile(rf"(?<![\w-])({names})(?![\w-])")

        def renamed(text: str) -> str:
            return known.sub(r"\1-again", text)

        others = tuple((renamed(block), tuple(map(renamed, content))) for block, content in self.blocks)
        return msgspec.structs.replace(self, text=renamed(self.text), blocks=others)

    def _is_long(self) -> bool:
        """Tell whether the blocks are filled in parts, before anything leads to them."""
        return sum(len(content) for _, content in self.blocks) > LONG

    async def _load(self, ns: Namespace, commands: str) -> None:
        await self._remember(ns, await ns.nft_change(commands, self.key))

    async def _remember(self, ns: Namespace, generation: int) -> None:
        """Note, here and in the kernel, what stands since a generation. Where others wrote, there is another look."""
        digest = _digest(self)
        listing = await ns.nft(f"list table {self.family} {self.name}")
        table = f"table {self.family} {self.name}_digest"
        comment = f"text {digest} listing {_hash(self._lasting(listing))}"
        noted = await ns.nft_change(f'{table}\ndelete {table}\n{table} {{ comment "{comment}"; }}\n')
        known = msgspec.structs.replace(self, loaded=digest)
        ns.nft_known[self.key] = (noted if noted == generation + 1 else 0, known)

    async def delete(self, ns: Namespace) -> None:
        for name in (self.name, f"{self.name}_digest"):
            await ns.nft_change(f"table {self.family} {name}\ndelete table {self.family} {name}\n", self.key)

    @classmethod
    async def observe(cls, ns: Namespace, planned: Sequence[Self]) -> Iterable[Observed]:
        """Return the tables of ours that exist, with the digest of their text where nobody has changed them since."""
        found = []
        for item in planned or (cls(cls.home, NFT_TABLE, ""),):
            generation = ns.nft_generation()
            known = ns.nft_known.get(item.key)
            if known is None or known[0] != generation:
                known = (generation, await item.look(ns))
                ns.nft_known[item.key] = known
            if isinstance(known[1], NftTable):
                found.append(known[1])
        return found

    async def look(self, ns: Namespace) -> NftTable | None:
        """Return this table as the kernel has it; None when there is none. What we loaded ourselves has its text."""
        listing = await _listing(ns, f"{self.family} {self.name}")
        if not listing:
            return None
        memory = await _listing(ns, f"{self.family} {self.name}_digest")
        digests = DIGESTS.search(memory)
        if digests is None or digests[2] != _hash(self._lasting(listing)):
            return msgspec.structs.replace(self, text="", elements=(), kept=(), blocks=())
        _, known = ns.nft_known.get(self.key, (0, None))
        if isinstance(known, NftTable) and known.text and known.loaded == digests[1]:
            return known
        return msgspec.structs.replace(self, text="", elements=(), kept=(), blocks=(), loaded=digests[1])

    def _lasting(self, listing: str) -> str:
        """Return a listing without the elements of kept sets, which come and go."""
        kept = {head(declared) for declared in self.kept}
        for kind, name, body in objects(listing):
            if kind == "set" and f"{kind} {name}" in kept:
                listing = listing.replace(body, body.partition("\t\telements = ")[0], 1)
        return listing


def _block(block: str, lines: Iterable[str]) -> str:
    return "\n".join([f"\t{block} {{", *(f"\t\t{line}" for line in lines), "\t}"])


def _parts(block: str, content: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield what a block is made of, one after the other; a map's first line is its type, the others are elements."""
    if block.startswith("chain "):
        yield from _sliced(content)
        return
    if not content[1:]:
        yield content
    for some in _sliced(content[1:]):
        yield [content[0], f"elements = {{ {', '.join(some)} }}"]


def _packed(parts: Iterable[tuple[int, str]]) -> Iterator[list[str]]:
    """Yield texts together, as many as one transaction takes."""
    some: list[str] = []
    size = 0
    for length, text in parts:
        if size + length > LONG and some:
            yield some
            some, size = [], 0
        some.append(text)
        size += length if length > 2 else ELEMENTS  # a type, and elements
    if some:
        yield some


def _sliced(lines: Sequence[str]) -> Iterator[Sequence[str]]:
    return (lines[at : at + LONG] for at in range(0, len(lines), LONG))


async def _listing(ns: Namespace, table: str) -> str:
    """Return the kernel's listing of a table; empty when there is none."""
    try:
        return await ns.nft(f"list table {table}")
    except NftError:
        return ""


def _digest(table: NftTable) -> str:
    """Return a digest of what a table is made of."""
    return _hash(table.transaction())


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]
