"""Whether this kernel encrypts for us: ESP, and the links that it is bound to (xfrm, Linux 4.19)."""

from __future__ import annotations

import contextlib
import functools
import socket
import struct
from ipaddress import IPv4Address

from nsmanager.items.link import (
    IFINFOMSG,
    IFLA_IFNAME,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_LINKINFO,
    IFLA_XFRM_IF_ID,
    RTM_DELLINK,
    RTM_NEWLINK,
)
from nsmanager.netlink import NETLINK_ROUTE, NLM_F_CREATE, NLM_F_EXCL, Netlink, attribute, nested, text, u32

NETLINK_XFRM = 6
XFRM_MSG_NEWSA, XFRM_MSG_DELSA = 0x10, 0x11
XFRMA_ALG_AEAD = 18
XFRM_MODE_TUNNEL = 1
IPPROTO_ESP = 50
# linux/xfrm.h: xfrm_usersa_info and xfrm_usersa_id
USERSA_INFO = struct.Struct("=56x 16s4sBxxx 16s 8Q 32x 12x II HBBB7x")
USERSA_ID = struct.Struct("=16s4sHBx")
FOREVER = (1 << 64) - 1
CIPHER = b"rfc4106(gcm(aes))"
KEY_BYTES = 36  # of AES-256, and 4 of salt
ICV_BITS = 128
PROBE_LINK = "esp-probe"
PROBE_IF_ID = 0x7FFFFFFF
PROBE_SPI = b"nsvp"
HERE, THERE = (IPv4Address(address).packed.ljust(16, b"\0") for address in ("192.0.2.1", "192.0.2.2"))  # RFC 5737


@functools.cache
def kernel_has_esp() -> bool:
    """Try both in this namespace; nothing is left of it."""
    try:
        _try_link()
        _try_association()
    except OSError:
        return False
    return True


def _try_link() -> None:
    with contextlib.closing(Netlink(NETLINK_ROUTE)) as rtnl:
        kind = text(IFLA_INFO_KIND, "xfrm") + nested(IFLA_INFO_DATA, u32(IFLA_XFRM_IF_ID, PROBE_IF_ID))
        header, name = IFINFOMSG.pack(0, 0, 0, 0, 0), text(IFLA_IFNAME, PROBE_LINK)
        rtnl.request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, header + name + nested(IFLA_LINKINFO, kind))
        rtnl.request(RTM_DELLINK, 0, header + name)


def _try_association() -> None:
    """Add a security association that no packet can meet, and delete it."""
    lifetimes = (FOREVER, FOREVER, FOREVER, FOREVER, 0, 0, 0, 0)
    info = USERSA_INFO.pack(
        THERE, PROBE_SPI, IPPROTO_ESP, HERE, *lifetimes, 0, 0, socket.AF_INET, XFRM_MODE_TUNNEL, 0, 0
    )
    algorithm = CIPHER.ljust(64, b"\0") + struct.pack("=II", 8 * KEY_BYTES, ICV_BITS) + bytes(KEY_BYTES)
    with contextlib.closing(Netlink(NETLINK_XFRM)) as xfrm:
        xfrm.request(XFRM_MSG_NEWSA, NLM_F_CREATE | NLM_F_EXCL, info + attribute(XFRMA_ALG_AEAD, algorithm))
        xfrm.request(XFRM_MSG_DELSA, 0, USERSA_ID.pack(THERE, PROBE_SPI, socket.AF_INET, IPPROTO_ESP))
