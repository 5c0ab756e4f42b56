"""All nft tables of an instance, by its type. Pure."""

from __future__ import annotations

from nsmanager.firewall import local
from nsmanager.items.nftables import NftTable
from pubsub.topics import NamespaceConfig


def tables(config: NamespaceConfig) -> tuple[NftTable, ...]:
    """Return the tables: who may pass between the instance and the outside, and who may send what on its bridge."""
    return (local.table(config),)
