"""Who may send what inside an instance: NamespaceConfig -> nft tables. Pure."""

from nsmanager.firewall.bridge import seen_sets, spoofed_counter
from nsmanager.firewall.by_type import tables
from nsmanager.firewall.entries import app_numbers, decisions, watched
from nsmanager.firewall.exit import Exit, Inbound, exits
from nsmanager.firewall.hosts import host_sets

__all__ = [
    "Exit",
    "Inbound",
    "app_numbers",
    "decisions",
    "exits",
    "host_sets",
    "seen_sets",
    "spoofed_counter",
    "tables",
    "watched",
]
