"""`table inet nsvisor` of a `switch` instance: nothing of its namespace is reachable, and nothing is routed. Pure.

What is bridged comes by here only where some app has rules, or flows are logged (br_netfilter): then it passes by the
apps' rules, or not at all.
"""

from __future__ import annotations

from nsmanager.firewall import judging, limits
from nsmanager.firewall.entries import app_entries, watched
from nsmanager.items.nftables import NftTable
from nsmanager.marks import NFT_TABLE
from nsmanager.names import BRIDGE
from pubsub.topics import NamespaceConfig

TEXT = """
	chain input {{
		type filter hook input priority filter; policy drop;
		iifname "lo" accept
	}}

	chain forward {{
		type filter hook forward priority filter; policy drop;
		{bridged}
	}}
"""


def table(config: NamespaceConfig) -> NftTable:
    """Return the table."""
    judged = watched(config)
    apps = app_entries(config) if judged else ()
    text = limits.chains(config) + judging.chains(config, apps) if judged else ""
    text += TEXT.format(bridged=judging.BRIDGED if judged else f'iifname "{BRIDGE}" oifname "{BRIDGE}" accept')
    kept = (*limits.kept(config), *judging.kept(apps)) if judged else ()
    return NftTable("inet", NFT_TABLE, text, kept=kept, blocks=judging.blocks(config, apps))
