"""A switch whose uplink the host keeps using: frames for the apps are taken out of it before the host sees them. Pure.

A macvlan under a bridge passes no frames for other MAC addresses than its own, so nft does it: at the ingress of the
uplink, what is for an app's MAC address goes into the instance, and a copy of what is for a group; at the ingress of
the instance's link, what has an app's MAC address goes out. Host and apps don't see each other, as with a macvlan.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from nsmanager.items.sysctl import Sysctl
from nsmanager.marks import NFT_TABLE
from nsmanager.reconcile import Item
from supervisor.items import NetdevTable, Veth
from supervisor.names import UPLINK_IFNAME, host_end, host_mac, inner_mac

CHAINS = """
	chain to-{name} {{
		type filter hook ingress device "{uplink}" priority 0; policy accept;
		ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 dup to "{link}"
{into}	}}

	chain from-{name} {{
		type filter hook ingress device "{link}" priority 0; policy drop;
{out}	}}
"""


class Sharing(msgspec.Struct, frozen=True):
    """One switch, its uplink, and the MAC addresses of its apps."""

    name: str
    uplink: str  # ifname
    macs: tuple[str, ...]
    mtu: int


def sharing_items(sharing: Sharing) -> Iterator[Item]:
    """Yield the link into the instance. Without our tables it leads nowhere: nobody answers ARP, nothing is routed."""
    link = host_end(sharing.name)
    yield Veth(
        ifname=link,
        peer=UPLINK_IFNAME,
        netns=sharing.name,
        mtu=sharing.mtu,
        mac=host_mac(sharing.name),
        peer_mac=inner_mac(sharing.name),
    )
    yield Sysctl(f"net.ipv6.conf.{link}.disable_ipv6", "1", optional=True)
    yield Sysctl(f"net.ipv4.conf.{link}.forwarding", "0")
    yield Sysctl(f"net.ipv4.conf.{link}.rp_filter", "1")
    yield Sysctl(f"net.ipv4.conf.{link}.arp_ignore", "8")


def sharing_table(all_sharing: Iterable[Sharing]) -> NetdevTable | None:
    """Return the table of all shared uplinks; None: there is none."""
    text = "".join(_chains(one) for one in all_sharing)
    return NetdevTable("netdev", NFT_TABLE, text) if text else None


def _chains(sharing: Sharing) -> str:
    link = host_end(sharing.name)
    macs = f"{{ {', '.join(sorted(sharing.macs))} }}"
    return CHAINS.format(
        name=sharing.name,
        uplink=sharing.uplink,
        link=link,
        into=f'\t\tether daddr {macs} fwd to "{link}"\n' if sharing.macs else "",
        out=f'\t\tether saddr {macs} fwd to "{sharing.uplink}"\n' if sharing.macs else "",
    )
