"""What a link of the host is like before it is lent, and how it is made so again. Each step can be done twice."""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from nsmanager.items.address import IFADDRMSG, RTM_GETADDR, RTM_NEWADDR
from nsmanager.items.link import (
    IFF_UP,
    IFINFOMSG,
    IFLA_ADDRESS,
    IFLA_GROUP,
    IFLA_MASTER,
    IFLA_MTU,
    RTM_NEWLINK,
)
from nsmanager.items.route import (
    RT_TABLE_MAIN,
    RTA_GATEWAY,
    RTA_OIF,
    RTA_TABLE,
    RTM_F_CLONED,
    RTM_GETROUTE,
    RTM_NEWROUTE,
    RTMSG,
    TYPES,
)
from nsmanager.namespace import RTM_GETLINK, Namespace
from nsmanager.netlink import NLM_F_CREATE, NLM_F_EXCL, attribute, attributes, number, string, u32
from supervisor.records import LentLink

log = logging.getLogger(__name__)

IFLA_IFALIAS = 20
NLM_F_APPEND = 0x800
IFA_CACHEINFO, IFA_FLAGS, IFA_PROTO = 6, 8, 11
IFA_ATTRIBUTES = frozenset({1, 2, 3, 4, IFA_CACHEINFO, IFA_FLAGS, 9, IFA_PROTO})  # 9: the connected route's metric
IFA_CACHE = struct.Struct("=LLLL")  # preferred, valid, created, updated
FOREVER = 0xFFFFFFFF  # seconds
IFA_F_PERMANENT = 0x80
IFA_F_BY_KERNEL = 0x01 | 0x100  # TEMPORARY, MANAGETEMPADDR: made of an RA, and so again of the next
IFA_F_STATES = 0x20 | 0x40 | 0x08 | IFA_F_PERMANENT  # deprecated, tentative, failed: the kernel finds anew
IFAPROT_KERNEL = (1, 2, 3)  # loopback, RA, link-local (if_addr.h; Linux 5.18)
SCOPE_LINK = 253
# Destination, gateway, preference, priority, source, metrics, table, via, encapsulation, expiry (rtnetlink.h).
RTA_ATTRIBUTES = frozenset({1, 5, 6, 7, 8, RTA_TABLE, 18, 20, 21, 22, 23})
RTPROT_BY_KERNEL = (1, 2, 9)  # redirect, connected, RA: made again by themselves
RTNH_F_ONLINK = 0x4  # the one flag of a route that is asked for, not found (rtnetlink.h)
CONF = Path("/proc/sys/net")


def portrait(ns: Namespace, ifname: str, originals: Mapping[str, str]) -> LentLink:
    """Look at a link. `originals`: sysctls of it that we have set, as they were. Raises OSError when it is gone."""
    index = ns.ifindex(ifname)
    message = ns.rtnl.ask(RTM_GETLINK, IFINFOMSG.pack(0, 0, index, 0, 0))
    fields = attributes(message, IFINFOMSG.size)
    master = number(fields.get(IFLA_MASTER))
    return LentLink(
        mac=fields.get(IFLA_ADDRESS, b"").hex(":"),
        mtu=number(fields.get(IFLA_MTU)),
        up=bool(IFINFOMSG.unpack_from(message)[3] & IFF_UP),
        group=number(fields.get(IFLA_GROUP)),
        alias=string(fields.get(IFLA_IFALIAS)),
        master=socket.if_indextoname(master) if master else "",
        at=time.clock_gettime(time.CLOCK_BOOTTIME),
        addresses=tuple(_addresses(ns, index)),
        routes=tuple(sorted(_routes(ns, index), key=lambda body: RTA_GATEWAY in attributes(body, RTMSG.size))),
        sysctls=dict(_sysctls(ifname, originals)),
    )


def _addresses(ns: Namespace, index: int) -> Iterator[bytes]:
    """Yield the addresses that somebody has given to it: the kernel's own come again by themselves."""
    for family in (socket.AF_INET, socket.AF_INET6):
        for message in _dump(ns, RTM_GETADDR, IFADDRMSG.pack(family, 0, 0, 0, index)):
            _, prefixlen, _, scope, of = IFADDRMSG.unpack_from(message)
            fields = attributes(message, IFADDRMSG.size)
            flags, made_by = number(fields.get(IFA_FLAGS)), number(fields.get(IFA_PROTO))
            by_kernel = made_by in IFAPROT_KERNEL or flags & IFA_F_BY_KERNEL
            if of != index or (family == socket.AF_INET6 and (by_kernel or (not made_by and scope == SCOPE_LINK))):
                continue
            kept = {kind: value for kind, value in fields.items() if kind in IFA_ATTRIBUTES}
            kept[IFA_FLAGS] = struct.pack("=L", flags & ~IFA_F_STATES)
            body = IFADDRMSG.pack(family, prefixlen, 0, scope, 0)
            yield body + b"".join(attribute(kind, value) for kind, value in kept.items())


def _routes(ns: Namespace, index: int) -> Iterator[bytes]:
    """Yield the routes of the main table that lead out by it and by nothing else, but for the kernel's own."""
    for family in (socket.AF_INET, socket.AF_INET6):
        header = RTMSG.pack(family, 0, 0, 0, RT_TABLE_MAIN, 0, 0, 0, 0)
        for message in _dump(ns, RTM_GETROUTE, header + u32(RTA_TABLE, RT_TABLE_MAIN) + u32(RTA_OIF, index)):
            head = list(RTMSG.unpack_from(message))
            fields = attributes(message, RTMSG.size)
            cloned = head[8] & RTM_F_CLONED
            if number(fields.get(RTA_OIF)) != index or head[7] != TYPES["unicast"] or cloned:
                continue
            if head[5] in RTPROT_BY_KERNEL:
                continue
            head[8] &= RTNH_F_ONLINK
            kept = (attribute(kind, value) for kind, value in fields.items() if kind in RTA_ATTRIBUTES)
            yield RTMSG.pack(*head) + b"".join(kept)


def _sysctls(ifname: str, originals: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the settings of a link that differ from what a new link gets, in the form with slashes (sysctl(8))."""
    for family in ("ipv4", "ipv6"):
        with contextlib.suppress(OSError):
            for file in sorted((CONF / family / "conf" / ifname).iterdir()):
                with contextlib.suppress(OSError):  # some can only be written, or have no value yet
                    dotted = f"net.{family}.conf.{ifname}.{file.name}"
                    value = originals.get(dotted) or " ".join(file.read_text().split())
                    if value != " ".join((CONF / family / "conf/default" / file.name).read_text().split()):
                        yield f"net/{family}/conf/{ifname}/{file.name}", value


def restore(ns: Namespace, ifname: str, was: LentLink) -> None:
    """Make a link of the host as it was. What can't be had again is told in the log. Raises OSError."""
    index = ns.ifindex(ifname)
    _restore_link(ns, ifname, index, was)
    for name, value in was.sysctls.items():
        if ns.read_sysctl(name) not in (None, value):
            _try(f"sysctl -w {name}={value}", partial(ns.write_sysctl, name, value))
    header = IFINFOMSG.pack(0, 0, index, 0, 0)
    if was.master:
        master = u32(IFLA_MASTER, ns.ifindex(was.master))  # 0: there is none of that name, and it has none
        _try(f"ip link set {ifname} master {was.master}", partial(ns.rtnl.request, RTM_NEWLINK, 0, header + master))
    if was.up:
        ns.rtnl.request(RTM_NEWLINK, 0, IFINFOMSG.pack(0, 0, index, IFF_UP, IFF_UP))
    age = max(0, int(time.clock_gettime(time.CLOCK_BOOTTIME) - was.at))
    for body in was.addresses:
        if aged := _aged(body, index, age):
            flags = NLM_F_CREATE | NLM_F_EXCL
            _try(f"an address of {ifname}", partial(ns.rtnl.request, RTM_NEWADDR, flags, aged))
    for body in was.routes if was.up else ():
        flags = NLM_F_CREATE | NLM_F_APPEND  # as the second one of equal metric, if it was that
        _try(f"a route by {ifname}", partial(ns.rtnl.request, RTM_NEWROUTE, flags, body + u32(RTA_OIF, index)))


def _restore_link(ns: Namespace, ifname: str, index: int, was: LentLink) -> None:
    """Set MAC address, MTU, group and alias, each where it differs."""
    fields = attributes(ns.rtnl.ask(RTM_GETLINK, IFINFOMSG.pack(0, 0, index, 0, 0)), IFINFOMSG.size)
    wanted = {
        IFLA_ADDRESS: bytes.fromhex(was.mac.replace(":", "")),
        IFLA_MTU: struct.pack("=L", was.mtu),
        IFLA_GROUP: struct.pack("=L", was.group),
        IFLA_IFALIAS: was.alias.encode() + b"\0" if was.alias else b"",
    }
    for kind, value in wanted.items():
        if fields.get(kind, b"") != value:
            body = IFINFOMSG.pack(0, 0, index, 0, 0) + attribute(kind, value)
            _try(f"a setting of {ifname}", partial(ns.rtnl.request, RTM_NEWLINK, 0, body))


def _aged(body: bytes, index: int, age: int) -> bytes:
    """Return an address with its link, and with what is left of its lifetimes; empty when it has ended."""
    family, prefixlen, _, scope, _ = IFADDRMSG.unpack_from(body)
    fields = attributes(body, IFADDRMSG.size)
    if cache := fields.get(IFA_CACHEINFO):
        preferred, valid, *_ = (
            life if life == FOREVER else max(0, life - age) for life in IFA_CACHE.unpack_from(cache)[:2]
        )
        if not valid:
            return b""
        fields[IFA_CACHEINFO] = IFA_CACHE.pack(preferred, valid, 0, 0)
    rest = b"".join(attribute(kind, value) for kind, value in fields.items())
    return IFADDRMSG.pack(family, prefixlen, 0, scope, index) + rest


def _dump(ns: Namespace, kind: int, body: bytes) -> list[bytes]:
    try:
        return ns.rtnl.dump(kind, body)
    except OSError:  # ENODEV: it has none; EOPNOTSUPP: no IPv6
        return []


def _try(what: str, do: Callable[[], None]) -> None:
    """Do one step of giving back; that it is so already is well."""
    try:
        do()
    except OSError as exc:
        if exc.errno != errno.EEXIST:
            log.warning("%s is not restored: %s", what, exc.strerror or exc)
