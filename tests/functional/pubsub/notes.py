"""The message that the bus's tests send."""

from __future__ import annotations

from pubsub.topics import Message


class Note(Message, frozen=True):
    """A text."""

    text: str = ""
