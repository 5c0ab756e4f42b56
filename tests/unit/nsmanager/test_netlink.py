"""Messages as the kernel reads and writes them."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsmanager.netlink import NETLINK_ROUTE, Netlink, attribute, attributes, nested, number, string, text, u32

RTM_GETLINK, RTM_DELLINK = 18, 17
IFLA_IFNAME = 3


@given(st.dictionaries(st.integers(1, 0x3FFF), st.binary(max_size=40)), st.binary(max_size=20))
def test_attributes_are_read_as_they_are_written(fields: dict[int, bytes], header: bytes) -> None:
    message = header + b"".join(attribute(kind, value) for kind, value in fields.items())
    assert attributes(message, len(header)) == fields


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_hang_or_fail(data: bytes) -> None:
    attributes(data, 0)


def test_numbers_and_texts() -> None:
    fields = attributes(u32(1, 196) + text(2, "br0") + nested(3, text(1, "bridge")), 0)
    assert number(fields[1]) == 196
    assert string(fields[2]) == "br0"
    assert string(attributes(fields[3], 0)[1]) == "bridge"
    assert number(None) == 0
    assert string(None) == ""


def test_the_kernel_lists_its_links() -> None:
    rtnl = Netlink(NETLINK_ROUTE)
    names = {string(attributes(message, 16)[IFLA_IFNAME]) for message in rtnl.dump(RTM_GETLINK, bytes(16))}
    assert "lo" in names
    rtnl.close()


def test_an_error_is_in_the_kernels_words() -> None:
    rtnl = Netlink(NETLINK_ROUTE)
    with pytest.raises(OSError, match=r"No such device|Operation not permitted|Invalid argument"):
        rtnl.request(RTM_DELLINK, 0, bytes(16) + text(IFLA_IFNAME, f"no{os.getpid()}"))
    assert rtnl.dump(RTM_GETLINK, bytes(16)), "the socket goes on after an error"
    rtnl.close()
