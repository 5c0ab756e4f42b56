"""MAC addresses of apps that a shared uplink must take frames for: a NIC drops what is for nobody it knows.

They are the kernel's list of further unicast addresses of a link, where nothing is marked: what we add is on the
instance's record, before it is added, and taken away by that.
"""

from __future__ import annotations

import errno
import logging
import struct
from collections.abc import Collection

from msgspec.structs import replace

from nsmanager.namespace import Namespace
from nsmanager.netlink import NLM_F_CREATE, attribute
from supervisor.items import mac_bytes
from supervisor.records import Records

log = logging.getLogger(__name__)

NDMSG = struct.Struct("=BxxxiHBB")  # family, index, state, flags, type
RTM_NEWNEIGH, RTM_DELNEIGH = 28, 29
AF_BRIDGE = 7
NUD_PERMANENT = 0x80
NTF_SELF = 0x02
NDA_LLADDR = 2


class Frames:
    """What shared uplinks take for whom, as the records say."""

    def __init__(self, ns: Namespace, records: Records) -> None:
        self._ns = ns
        self._records = records

    def carry_out(self, name: str, uplink: str, macs: Collection[str]) -> str:
        """Have an uplink take frames for these MAC addresses. Empty: none is shared. Returns what went wrong."""
        record = self._records.get(name)
        if record is None:
            return ""
        index = str(self._ns.ifindex(uplink)) if uplink else "0"
        wanted = {} if index == "0" else {index: tuple(sorted(macs))}
        if record.shared == wanted:
            return ""
        both = {key: tuple(sorted({*record.shared.get(key, ()), *wanted.get(key, ())}))
                for key in record.shared.keys() | wanted.keys()}  # fmt: skip
        self._records.put(name, replace(record, shared=both))
        for key, known in both.items():
            for mac in known:
                take = mac in wanted.get(key, ())
                if failure := self._set(int(key), mac, take=take):
                    return f"uplink {uplink} can't take frames for {mac}: {failure}"
        self._records.put(name, replace(self._records[name], shared=wanted))
        return ""

    def _set(self, index: int, mac: str, *, take: bool) -> str:
        body = NDMSG.pack(AF_BRIDGE, index, NUD_PERMANENT, NTF_SELF, 0) + attribute(NDA_LLADDR, mac_bytes(mac))
        try:
            self._ns.rtnl.request(RTM_NEWNEIGH if take else RTM_DELNEIGH, NLM_F_CREATE if take else 0, body)
        except OSError as exc:
            done = (errno.EEXIST,) if take else (errno.ENOENT, errno.ENODEV)
            if exc.errno not in done:
                return exc.strerror or str(exc)
        return ""
