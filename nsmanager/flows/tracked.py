"""The kernel's tracked connections: events of those that begin and end, questions about one, the list of all.

Of a connection's many events a filter in the kernel lets through three: it began, it ended, it was deleted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from nsmanager.flows.entry import ENDED, HEADER_SIZE, Entry
from nsmanager.netfilter import HEADER, RECEIVE_SIZE, Listener, messages
from nsmanager.netlink import NETLINK_NETFILTER, NLM_F_REQUEST, NLMSG_ERROR, Netlink

CT_NEW, CT_GET, CT_DELETE = (1 << 8) | 0, (1 << 8) | 1, (1 << 8) | 2  # NFNL_SUBSYS_CTNETLINK and the message
GROUP_NEW, GROUP_UPDATE, GROUP_DESTROY = 1, 2, 3
ASKED_AT_ONCE = 32  # their answers fit into the smallest receive buffer

TYPE_BYTE = 4 if sys.byteorder == "little" else 5  # the low one of nlmsg_type
FIRST_ATTRIBUTE = 16 + HEADER_SIZE
FIND, FIND_NESTED = 0xFFFFF000 + 12, 0xFFFFF000 + 16  # SKF_AD_OFF + SKF_AD_NLATTR, … + SKF_AD_NLATTR_NEST
LOAD, LOAD_X, LOAD_AT, LOAD_BYTE, LOAD_BYTE_X, TO_X = 0x00, 0x01, 0x20, 0x30, 0x50, 0x07  # BPF_LD | BPF_IMM, …
EQUAL, GREATER, AT_LEAST, RETURN = 0x15, 0x25, 0x35, 0x06
YES, NO = 0xFFFF, 0
Instruction = tuple[int, int, int, int]  # of struct sock_filter: code, jumps when true and false, constant


def _program(*, ended_deleted: int, ended_alive: int, open_deleted: int, open_alive: int) -> list[Instruction]:
    """Return a filter that answers by whether TCP has ended a connection, and whether the kernel deletes it."""
    return [
        (LOAD_X, 0, 0, 4),  # CTA_PROTOINFO
        (LOAD, 0, 0, FIRST_ATTRIBUTE),
        (LOAD_AT, 0, 0, FIND),
        (EQUAL, 13, 0, 0),
        (LOAD_X, 0, 0, 1),  # CTA_PROTOINFO_TCP
        (LOAD_AT, 0, 0, FIND_NESTED),
        (EQUAL, 10, 0, 0),
        (LOAD_AT, 0, 0, FIND_NESTED),  # CTA_PROTOINFO_TCP_STATE is 1 too
        (EQUAL, 8, 0, 0),
        (TO_X, 0, 0, 0),
        (LOAD_BYTE_X, 0, 0, 4),
        (AT_LEAST, 0, 5, ENDED[0]),
        (GREATER, 4, 0, ENDED[-1]),
        (LOAD_BYTE, 0, 0, TYPE_BYTE),
        (EQUAL, 0, 1, CT_DELETE & 0xFF),
        (RETURN, 0, 0, ended_deleted),
        (RETURN, 0, 0, ended_alive),
        (LOAD_BYTE, 0, 0, TYPE_BYTE),
        (EQUAL, 0, 1, CT_DELETE & 0xFF),
        (RETURN, 0, 0, open_deleted),
        (RETURN, 0, 0, open_alive),
    ]


def listen_for_ends() -> Listener:
    """Return a socket that tells when TCP has ended a connection, and of others when they expired: this is never lost.

    What it has no room for the kernel keeps, counted as tracked, and tells again.
    """
    program = _program(ended_deleted=NO, ended_alive=YES, open_deleted=YES, open_alive=NO)
    return Listener((GROUP_UPDATE, GROUP_DESTROY), program, reliable=True)


def listen_for_rest() -> Listener:
    """Return a socket that tells what may be missed: that connections began, or were deleted after their end.

    It isn't reliable: then the kernel would drop a packet that begins a connection in place of an ended one, when it
    can't tell of that one's deletion.
    """
    program = _program(ended_deleted=YES, ended_alive=NO, open_deleted=NO, open_alive=YES)
    return Listener((GROUP_NEW, GROUP_DESTROY), program)


class Tracked(Netlink):
    """Asks for tracked connections of this network namespace."""

    def __init__(self) -> None:
        super().__init__(NETLINK_NETFILTER)

    def all(self) -> Iterator[Entry]:
        """Yield all tracked connections; those that have expired are deleted by this, and told as events.

        Nothing else may be asked until the end.
        """
        return (Entry(message) for message in self.stream(CT_GET, bytes(HEADER_SIZE)))

    def ask_all(self, questions: Sequence[bytes]) -> list[Entry | None]:
        """Return the entry to each question, None where there is none; one that has expired is deleted by this."""
        found: list[Entry | None] = []
        for first in range(0, len(questions), ASKED_AT_ONCE):
            found += self._ask(questions[first : first + ASKED_AT_ONCE])
        return found

    def _ask(self, questions: Sequence[bytes]) -> list[Entry | None]:
        """Ask some at once: the kernel answers in their order, each with an entry or an error."""
        self.sequence = (self.sequence + 1) & 0xFFFFFFFF
        self.socket.send(
            b"".join(HEADER.pack(16 + len(one), CT_GET, NLM_F_REQUEST, self.sequence, 0) + one for one in questions)
        )
        found: list[Entry | None] = []
        while len(found) < len(questions):
            for kind, _, body in messages(self.socket.recv(RECEIVE_SIZE)):
                found.append(None if kind == NLMSG_ERROR else Entry(body))
        return found
