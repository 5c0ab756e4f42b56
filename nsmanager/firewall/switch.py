"""The nft table of a `switch` instance: nothing of its namespace is reachable, and nothing is routed. Pure."""

from __future__ import annotations

from nsmanager.items.nftables import NftTable
from nsmanager.marks import NFT_TABLE
from nsmanager.names import BRIDGE
from pubsub.topics import NamespaceConfig

TEXT = f"""
	chain input {{
		type filter hook input priority filter; policy drop;
		iifname "lo" accept
	}}

	# what is bridged comes by here only where apps have rules (br_netfilter)
	chain forward {{
		type filter hook forward priority filter; policy drop;
		iifname "{BRIDGE}" oifname "{BRIDGE}" accept
	}}
"""


def table(_config: NamespaceConfig) -> NftTable:
    """Return the table."""
    return NftTable("inet", NFT_TABLE, TEXT)
