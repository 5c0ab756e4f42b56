"""What an item is: one kernel object or service that a plan wants to be there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

import msgspec

if TYPE_CHECKING:
    from nsmanager.namespace import Namespace

Key = tuple[str, ...]


class NotYet(Exception):  # noqa: N818 (a state, not an error)
    """Something outside is missing: the text says what. It is tried again after a change, or in `retry_in` s."""

    def __init__(self, text: str, retry_in: float | None = None) -> None:
        super().__init__(text)
        self.retry_in = retry_in


class Refused(Exception):  # noqa: N818 (reads as what it is)
    """The item can't be made: the text says why, and what to do. It is tried again now and then, or in `retry_in` s."""

    def __init__(self, text: str, retry_in: float | None = None) -> None:
        super().__init__(text)
        self.retry_in = retry_in


class Observed(msgspec.Struct, frozen=True):
    """One object as it was found."""

    stage: ClassVar[int] = 50  # deletion goes from the highest stage to the lowest

    @property
    def key(self) -> Key:
        """Name the place where it stands: two objects of one key can't both be there."""
        raise NotImplementedError

    def undo(self) -> str:
        """Return the shell command that removes it."""
        raise NotImplementedError

    async def delete(self, ns: Namespace) -> None:
        """Remove it. Raises OSError."""
        raise NotImplementedError


class Item(Observed, frozen=True):
    """One object as it is planned; as observed it is mostly of the same class.

    Items are frozen structs: equal when they say the same. Only create, replace, delete and observe have effects, by
    `ns`.
    """

    def __str__(self) -> str:
        """Return the shell command that makes it."""
        raise NotImplementedError

    def redo(self, _old: Observed, /) -> str:
        """Return the shell command that makes it from what stands at its key."""
        return str(self)

    def matches(self, observed: Observed) -> bool:
        """Tell whether what stands at its key is as it should be."""
        return self == observed

    async def create(self, ns: Namespace) -> None:
        """Make it. Raises NotYet, Refused, NftError or OSError; then nothing is left behind."""
        raise NotImplementedError

    async def replace(self, ns: Namespace, _old: Observed, /) -> None:
        """Make it from what stands at its key. Raises as `create`."""
        await self.create(ns)

    @classmethod
    async def observe(cls, ns: Namespace, planned: Sequence[Self]) -> Iterable[Observed]:
        """Return what the kernel has: all that carries our mark, and whatever stands at a planned key."""
        raise NotImplementedError
