"""All nft tables of an instance, by its type. Pure."""

from __future__ import annotations

from nsmanager.firewall import bridge, local, switch
from nsmanager.items.nftables import NftTable
from nsmanager.place import Place
from pubsub.topics import InstanceType, NamespaceConfig


def tables(config: NamespaceConfig, place: Place) -> tuple[NftTable, ...]:
    """Return the tables: who may pass between the instance and the outside, and who may send what on its bridge."""
    if config.type is InstanceType.SWITCH:
        return switch.table(config), bridge.table(config, place)
    return local.table(config), bridge.table(config, place)
