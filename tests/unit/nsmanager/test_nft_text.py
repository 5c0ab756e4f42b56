"""What is read from the text of an nft table: the same from what makes it as from what nft lists."""

from __future__ import annotations

import pytest

from nsmanager.items.nft_text import named, objects, plain

WRITTEN = """
  map mark_of { type ifname : mark; elements = { "et{h}0" : 0x102, "eth1" : 0xa } }
  set claims { typeof iifname . ip daddr . meta l4proto . th dport; }
  chain forward { type filter hook forward priority filter; policy accept;
    meta l4proto { tcp, udp } accept
  }
"""
ADDED = {"claims": ('"eth0" . 192.0.2.1 . tcp . 80', '"eth1" . 192.0.2.1 . udp . 53')}
LISTED = """\
table inet nsvisor {
	map mark_of {
		type ifname : mark
		elements = { "eth1" : 0x0000000a,\n\t\t\t     "et{h}0" : 0x00000102 }
	}

	set claims {
		typeof iifname . ip daddr . meta l4proto . th dport
		elements = { "eth0" . 192.0.2.1 . 6 . 80, "eth1" . 192.0.2.1 . udp . 53 }
	}

	chain forward {
		type filter hook forward priority filter; policy accept;
		meta l4proto { tcp, udp } accept
	}
}
"""


def test_what_is_written_is_what_is_listed() -> None:
    written, listed = named(WRITTEN), named(LISTED)
    for name, elements in ADDED.items():
        written[name].elements.update({plain(one): one for one in elements})
    assert {name: (one.kind, one.declared, one.elements.keys()) for name, one in written.items()} == {
        name: (one.kind, one.declared, one.elements.keys()) for name, one in listed.items()
    }
    assert listed["mark_of"].elements['"eth1" : 0xa'] == '"eth1" : 0x0000000a'  # with which it can be deleted
    assert [(kind, name) for kind, name, _ in objects(LISTED)] == [
        ("map", "mark_of"), ("set", "claims"), ("chain", "forward"),
    ]  # fmt: skip


def test_parts_of_one_set_are_one() -> None:
    found = named("\tset s {\n\t\ttype mark\n\t}\n\tset s {\n\t\ttype mark\n\t\telements = { 0x1, 0x2 }\n\t}\n")
    assert found["s"].declared == "type mark"
    assert list(found["s"].elements) == ["0x1", "0x2"]


@pytest.mark.parametrize(
    ("written", "listed"),
    [
        ("0x1", "0x00000001"),
        ("tcp . 80 : 10.1.0.80 . 8080", "6 . 80 : 10.1.0.80 . 8080"),
        ("0x2 : goto from-web", "0x00000002 : goto from-web"),
        ('"0x1" . 2001:db8::1', '"0x1" . 2001:db8::1'),
    ],
)  # fmt: skip
def test_an_element_is_known_however_it_is_written(written: str, listed: str) -> None:
    assert plain(written) == plain(listed)


def test_what_others_fill_is_read_too() -> None:
    text = "\tset s {\n\t\ttypeof @nh,64,128\n\t\telements = { 0x0fd timeout 1h expires 59m, 0x01 }\n\t}\n"
    assert list(named(text)["s"].elements) == ["0x0fd timeout 1h expires 59m", "0x1"]
    assert named(text, but=("set s",)) == {}


def test_a_name_is_no_number() -> None:
    assert plain('"0x01"') != plain('"0x1"')
