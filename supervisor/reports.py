"""What managers tell on the bus, and in whose name: each may write its own tables, but puts any key into them."""

from __future__ import annotations

from typing import Any

import pubsub


def is_own(change: pubsub.Change[Any]) -> bool:
    """Tell whether a change in `nsmanager/<instance>/…` is about that instance; a manager may be taken over, and lie.

    What isn't about a key is; so is every change in a table without a scope.
    """
    match change:
        case pubsub.Created(key=key) | pubsub.Modified(key=key) | pubsub.Deleted(key=key):
            return change.scope in {"", key}
        case _:
            return True
