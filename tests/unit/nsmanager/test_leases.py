"""The lease file as dnsmasq writes it."""

from nsmanager.leases import parse

FILE = """\
1795319692 02:00:00:00:00:80 192.0.2.80 web 01:02:00:00:00:00:80
0 02:00:00:00:00:81 192.0.2.9 * *
half a line
x 02:00:00:00:00:82 192.0.2.10 y *
1795319692 02:00:00:00:00:82 not-an-address y *
duid 00:01:00:01
1795319692 1 2001:db8::1 y 00:01
"""


def test_leases_are_read_and_sorted() -> None:
    assert [(str(lease.address), lease.mac, lease.hostname, lease.expires) for lease in parse(FILE)] == [
        ("192.0.2.9", "02:00:00:00:00:81", "", 0),
        ("192.0.2.80", "02:00:00:00:00:80", "web", 1795319692),
    ]


def test_an_empty_file_has_none() -> None:
    assert parse("") == ()
