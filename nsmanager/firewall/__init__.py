"""Who may send what inside an instance: NamespaceConfig -> nft tables. Pure."""

from nsmanager.firewall.exit import Exit, Inbound, exits
from nsmanager.firewall.hosts import host_sets
from nsmanager.firewall.by_type import tables

__all__ = ["Exit", "Inbound", "exits", "host_sets", "tables"]
