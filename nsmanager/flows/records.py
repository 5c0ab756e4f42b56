"""What is told of a connection: its entry -> IPFlow. Pure."""

from __future__ import annotations

from collections.abc import Callable

from nsmanager.firewall.numbers import halves
from nsmanager.flows.entry import Entry
from nsmanager.packets import protocol_name
from nsmanager.residents import Residents
from pubsub.topics import Direction, IPFlow, Verdict
from pubsub.values import IpAddress

RuleOf = Callable[[int], tuple[str, str] | None]  # a rule's number -> app and rule


def flow(entry: Entry, residents: Residents, rule_of: RuleOf, now: float) -> IPFlow | None:
    """Return the record of a connection that ended; None for one to or of the instance itself, as to its DNS.

    `now` are seconds since the epoch: the end of one that TCP has ended, as the kernel keeps that of others only.
    """
    original, reply = entry.original, entry.reply
    # The rules know by which port it came; of connections whose rules aren't in force any more the addresses tell.
    out, into = map(rule_of, halves(entry.mark))
    opener = out[0] if out is not None else residents.app(original.source)
    opened = into[0] if into is not None else residents.app(reply.source)
    app, peer, direction = parties(opener, opened)
    decided = out if direction is Direction.OUT else into
    if residents.is_instance(original.source) or residents.is_instance(reply.source):
        return None
    start, stop = entry.times
    (sent_packets, sent_bytes), (received_packets, received_bytes) = entry.sent, entry.received
    return IPFlow(
        app=app,
        rule=decided[1] if decided is not None else "",
        verdict=Verdict.ALLOWED,
        direction=direction,
        protocol=protocol_name(original.protocol),
        source=IpAddress(original.source),
        destination=IpAddress(original.destination),
        source_port=original.source_port,
        destination_port=original.destination_port,
        sent_bytes=sent_bytes,
        sent_packets=sent_packets,
        received_bytes=received_bytes,
        received_packets=received_packets,
        start=start,
        end=stop or now,
        zone=entry.zone,
        peer_app=peer,
    )


def parties(opener: str, opened: str) -> tuple[str, str, Direction]:
    """Return the app, the other one where both ends are apps, and who opened it as the app sees it."""
    if opener or not opened:
        return opener, opened, Direction.OUT
    return opened, "", Direction.IN
