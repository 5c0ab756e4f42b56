"""All nft tables of an instance, by its type. Pure."""

from __future__ import annotations

from nsmanager.firewall import local, switch
from nsmanager.items.nftables import NftTable
from pubsub.topics import InstanceType, NamespaceConfig


def tables(config: NamespaceConfig) -> tuple[NftTable, ...]:
    """Return the tables: who may pass between the instance and the outside, and who may send what on its bridge."""
    if config.type is InstanceType.SWITCH:
        return (switch.table(config),)
    return (local.table(config),)
