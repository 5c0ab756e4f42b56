"""What can go wrong on the bus, for those who catch it."""

from __future__ import annotations


class BusError(Exception):
    """Anything that the bus refuses."""


class TableTaken(BusError):  # noqa: N818  # says what happened
    """The table has a living writer already; a table has one."""

    def __init__(self, owner: str) -> None:
        super().__init__(f"the table has a writer already: {owner}; end that one first")
        self.owner = owner


class Denied(BusError):  # noqa: N818  # says what happened
    """No grant allows this; `supervisor/BusGrant` is where it would stand."""

    def __init__(self, table: str) -> None:
        super().__init__(f"not allowed: {table}; a BusGrant of the supervisor is needed")
        self.table = table


class ValueTooLarge(BusError):  # noqa: N818  # says what happened
    """The value is over limits.VALUE_LIMIT or its key over limits.KEY_LIMIT; nothing was sent."""


class TableFull(BusError):  # noqa: N818  # says what happened
    """The table has as many keys or bytes as a table may have; nothing was sent."""


class BadName(BusError):  # noqa: N818  # says what happened
    """The name can't be that of a table."""
