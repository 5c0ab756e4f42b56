"""The bus: tables of typed messages, one writer each, any number of readers."""

from pubsub.bus import Bus, connect
from pubsub.changes import Change, Created, Deleted, Lost, Modified, Record, Restarted, Stale, Synchronized
from pubsub.errors import BadName, BusError, Denied, TableFull, TableTaken, ValueTooLarge
from pubsub.publisher import Table
from pubsub.streams import Follower, Stream
from pubsub.subscriber import Subscription

__all__ = [
    "BadName",
    "Bus",
    "BusError",
    "Change",
    "Created",
    "Deleted",
    "Denied",
    "Follower",
    "Lost",
    "Modified",
    "Record",
    "Restarted",
    "Stale",
    "Stream",
    "Subscription",
    "Synchronized",
    "Table",
    "TableFull",
    "TableTaken",
    "ValueTooLarge",
    "connect",
]
