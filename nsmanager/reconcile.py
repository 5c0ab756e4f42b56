"""Make a namespace as planned: read the kernel, compare, apply the difference, read again."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from nsmanager.item import Item, Key, NotYet, Observed, Refused
from nsmanager.items.address import Address
from nsmanager.items.link import Link
from nsmanager.items.neighbour import Neighbour
from nsmanager.items.nftables import NftTable
from nsmanager.items.route import Route
from nsmanager.items.rule import Rule
from nsmanager.items.service import Service
from nsmanager.items.sysctl import Sysctl
from nsmanager.namespace import Namespace, NftError

__all__ = [
    "ALL_KINDS",
    "Action",
    "Change",
    "Item",
    "NotYet",
    "Observed",
    "Refused",
    "Report",
    "adjust",
    "diff",
    "observe",
    "reconcile",
]

ALL_KINDS: tuple[type[Item], ...] = (Link, Address, Route, Rule, Neighbour, Sysctl, NftTable, Service)
PASSES = 4  # of applying; a changed link can take addresses and routes with it, which the next pass sees


class Action(enum.StrEnum):
    """What to do with one item."""

    CREATE = "create"
    REPLACE = "replace"
    DELETE = "delete"


class Change(msgspec.Struct, frozen=True):
    """One step from what is there to what is planned."""

    item: Item | None  # the planned one; None: to delete
    old: Observed | None = None  # what stands at the key now; None: to create

    @property
    def action(self) -> Action:
        """Tell what kind of step it is."""
        if self.item is None:
            return Action.DELETE
        return Action.CREATE if self.old is None else Action.REPLACE

    @property
    def key(self) -> Key:
        """Name the place that changes."""
        changed = self.item or self.old
        return changed.key if changed is not None else ()

    def __str__(self) -> str:
        if self.item is None:
            return self.old.undo() if self.old is not None else ""
        return str(self.item) if self.old is None else self.item.redo(self.old)

    async def apply(self, ns: Namespace) -> None:
        """Do it. Raises what the item raises."""
        if self.item is None:
            if self.old is not None:
                await self.old.delete(ns)
        elif self.old is None:
            await self.item.create(ns)
        else:
            await self.item.replace(ns, self.old)


class Report(msgspec.Struct, frozen=True):
    """What one reconciliation found and did."""

    done: tuple[Change, ...] = ()
    errors: tuple[tuple[Key, str], ...] = ()  # planned, failed: the command and the kernel's words
    waiting: tuple[tuple[Key, str], ...] = ()  # planned, not possible yet: what is missing
    retry_in: float | None = None  # seconds after which an item asks to be tried again
    observed: Mapping[Key, Observed] = msgspec.field(default_factory=dict)  # as last read

    @property
    def complete(self) -> bool:
        """Tell whether all that was planned is there."""
        return not self.errors and not self.waiting


def diff(plan: Iterable[Item], observed: Mapping[Key, Observed]) -> tuple[Change, ...]:
    """Return the steps from what is there to the plan: creation in its order, then deletion by stage in reverse."""
    changes = []
    wanted = set()
    for item in plan:
        wanted.add(item.key)
        old = observed.get(item.key)
        if old is None:
            changes.append(Change(item))
        elif not item.matches(old):
            changes.append(Change(item, old))
    surplus = [old for key, old in observed.items() if key not in wanted]
    surplus.sort(key=lambda old: old.stage, reverse=True)
    return (*changes, *(Change(None, old) for old in surplus))


async def observe(ns: Namespace, plan: Sequence[Item], kinds: Sequence[type[Item]] = ALL_KINDS) -> dict[Key, Observed]:
    """Return what the kernel has of the given kinds and the plan's: all of ours, and what stands at a planned key."""
    by_kind: dict[type[Item], list[Item]] = {kind: [] for kind in kinds}
    for item in plan:
        by_kind.setdefault(type(item), []).append(item)
    if any(kind is not NftTable for kind in by_kind):
        ns.read_links()
    found: dict[Key, Observed] = {}
    for kind, planned in by_kind.items():
        await ns.give_way()
        found.update({item.key: item for item in await kind.observe(ns, planned)})
    return found


async def reconcile(ns: Namespace, plan: Sequence[Item], kinds: Sequence[type[Item]] = ALL_KINDS) -> Report:
    """Make the namespace as planned. An item's error doesn't stop the others. Writes nothing when nothing differs."""
    done: list[Change] = []
    errors: list[tuple[Key, str]] = []
    waiting: list[tuple[Key, str]] = []
    times: list[float] = []
    observed: dict[Key, Observed] = {}
    for left in reversed(range(PASSES)):
        ns.events.forget()  # what happens from here on is heard after the report
        observed = await observe(ns, plan, kinds)
        changes = diff(plan, observed)
        if not left:
            errors += [(change.key, f"{_title(change)}: undone each time, by something else?") for change in changes]
            break
        errors.clear()
        waiting.clear()
        times.clear()
        applied = await _apply(ns, changes, errors, waiting, times)
        done += applied
        if not applied:
            break
    return Report(tuple(done), tuple(errors), tuple(waiting), min(times, default=None), observed)


async def adjust(ns: Namespace, plan: Sequence[Item], kinds: Sequence[type[Item]]) -> Report:
    """Apply once what differs, and don't look again: a reconciliation of the rest is near."""
    errors: list[tuple[Key, str]] = []
    waiting: list[tuple[Key, str]] = []
    times: list[float] = []
    changes = diff(plan, await observe(ns, plan, kinds))
    done = await _apply(ns, changes, errors, waiting, times)
    return Report(tuple(done), tuple(errors), tuple(waiting), min(times, default=None))


async def _apply(
    ns: Namespace,
    changes: Sequence[Change],
    errors: list[tuple[Key, str]],
    waiting: list[tuple[Key, str]],
    times: list[float],
) -> list[Change]:
    """Do the changes one by one and return those that went well; the others are noted, with the times of a retry."""
    done = []
    for change in changes:
        await ns.give_way()
        try:
            await change.apply(ns)
        except NotYet as exc:
            waiting.append((change.key, str(exc)))
            times += [exc.retry_in] if exc.retry_in is not None else []
        except Refused as exc:
            errors.append((change.key, f"{_title(change)}: {exc}"))
            times += [exc.retry_in] if exc.retry_in is not None else []
        except NftError as exc:
            errors.append((change.key, f"{_title(change)}: {exc}"))
        except OSError as exc:
            errors.append((change.key, f"{_title(change)}: {exc.strerror or exc}"))
        else:
            done.append(change)
    return done


def _title(change: Change) -> str:
    """Return the first line of the change's command, without a here-document's mark."""
    return str(change).partition("\n")[0].partition(" <<")[0]
