"""How much of everything the bus takes, and why."""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB

VALUE_LIMIT = 4 * MIB  # bytes of one encoded value; 1 MiB must just work, and the slots of a stopped reader hold a few
KEY_LIMIT = 1 * KIB  # bytes of one key; paths and `file:line:field` fit
NAME_LIMIT = 200  # characters of a table's name; with its suffix it is a file name, at most 255
KEYS_LIMIT = 100_000  # keys of one table; a resync of one takes well under a second
TABLE_LIMIT = 256 * MIB  # bytes of one table's keys and values; the hub holds them in memory
TABLES_LIMIT = 20_000  # tables of the whole bus; 1,000 instances have 4,000
CLAIMS_LIMIT = 64  # tables of one client without full rights; a manager has one or two
SUBSCRIPTIONS_LIMIT = 256  # of one client without full rights
STREAM_KEEP_LIMIT = 100_000  # records that a stream keeps
STREAM_LIMIT = 64 * MIB  # bytes that a stream keeps
BATCH_LIMIT = 64 * KIB  # bytes of changes in one message, unless a single value is larger
FRAME_LIMIT = VALUE_LIMIT + BATCH_LIMIT + 4 * KIB  # bytes of one message; libzmq hangs up on more
QUEUE_LIMIT = (
    4  # messages in flight to one reader; what comes later is merged per key, so a stopped reader costs little
)
RECEIVE_LIMIT = 16  # messages waiting from one client; above it waits itself
CONTROL_LIMIT = 4096  # answers waiting for one client; who asks and never reads is dropped
CONNECTIONS_LIMIT = 32  # open connections of one uid without full rights; a file descriptor each
