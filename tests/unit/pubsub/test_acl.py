"""Grants and what they allow."""

from __future__ import annotations

from pubsub.acl import Acl, Peer
from pubsub.codec import encode
from pubsub.topics import BusGrant

RED = 524288
GRANT = encode(BusGrant(publish=("nsmanager/red/*",), subscribe=("supervisor/red/NamespaceConfig",)))


def test_root_and_the_hub_itself_may_all_and_nobody_else_anything() -> None:
    acl = Acl(own_uid=900)
    for uid in (0, 900):
        assert acl.is_known(uid)
        assert acl.may_publish(uid, "any/Thing")
        assert acl.may_subscribe(uid, "*/*/*")
    assert not acl.is_known(RED)
    assert not acl.may_publish(RED, "nsmanager/red/NamespaceStatus")


def test_a_grant_allows_what_its_patterns_cover() -> None:
    acl = Acl(own_uid=900)
    assert acl.load({str(RED): GRANT}) == {RED}
    assert acl.is_known(RED)
    assert acl.may_publish(RED, "nsmanager/red/NamespaceStatus")
    assert not acl.may_publish(RED, "nsmanager/blue/NamespaceStatus")
    assert not acl.may_publish(RED, "supervisor/red/NamespaceConfig")
    assert acl.may_subscribe(RED, "supervisor/red/NamespaceConfig")
    assert not acl.may_subscribe(RED, "supervisor/*/NamespaceConfig")
    assert acl.load({str(RED): GRANT}) == set()
    assert acl.load({}) == {RED}
    assert not acl.is_known(RED)


def test_what_cannot_be_read_grants_nothing() -> None:
    acl = Acl(own_uid=900)
    acl.load({"red": GRANT, str(RED): b"\xff", "1.5": GRANT, str(RED + 1): GRANT})
    assert not acl.is_known(RED)
    assert acl.is_known(RED + 1)


def test_a_peer_is_read_from_what_the_kernel_says() -> None:
    assert Peer.parse("524288:5:77") == Peer(uid=524288, gid=5, pid=77)
