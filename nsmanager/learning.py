"""Which addresses apps have that get them from outside: as the table against spoofing saw them by ARP, ND and IP.

The kernel tells nobody when a packet adds an address to a set, so the sets are read every few seconds.
"""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from nsmanager.board import Board
from nsmanager.duty import while_wanted
from nsmanager.firewall import seen_sets
from nsmanager.marks import NFT_TABLE
from nsmanager.namespace import Namespace, NftError
from nsmanager.place import Place
from pubsub.topics import InstanceType, LearnedAddress, NamespaceApp, NamespaceConfig
from pubsub.values import IpAddress

PAUSE = 2.0  # seconds between two looks
SET = re.compile(r"\bset (\S+) \{(.*?)\n\t\}", re.DOTALL)
ELEMENT = re.compile(r"\b(0x[0-9a-f]+|\d+\.\d+\.\d+\.\d+)\b")


async def learn(ns: Namespace, place: Place, board: Board) -> None:  # noqa: ARG001  # a duty's form
    """Keep the board told of the addresses that were learned. Runs until cancelled."""
    await while_wanted("learning", board, wanted, functools.partial(_learn, ns, board))


def wanted(config: NamespaceConfig) -> tuple[NamespaceApp, ...] | None:
    """Return the attached apps of a switch, and those that are whatever is behind a link."""
    found = [app for app in config.apps if app.ifname and (config.type is InstanceType.SWITCH or app.any_mac)]
    return tuple(found) or None


async def _learn(ns: Namespace, board: Board, apps: tuple[NamespaceApp, ...]) -> None:
    try:
        while True:
            try:
                listing = await ns.nft(f"list sets table bridge {NFT_TABLE}")
            except NftError:  # no table yet
                listing = ""
            board.learn(tuple(learned(listing, apps)))
            await asyncio.sleep(PAUSE)
    finally:
        board.learn(())


def learned(listing: str, apps: tuple[NamespaceApp, ...]) -> Iterator[LearnedAddress]:
    """Yield what a listing of the sets says of the apps. Pure."""
    sets = {found[1]: ELEMENT.findall(found[2].partition("elements")[2]) for found in SET.finditer(listing)}
    for app in apps:
        words = [word for name in seen_sets(app.name) for word in sets.get(name, ())]
        addresses = sorted((_address(word) for word in words), key=lambda address: (address.version, int(address)))
        mac = "" if app.any_mac else str(app.mac)
        yield from (LearnedAddress(ifname=app.ifname, mac=mac, address=IpAddress(address)) for address in addresses)


def _address(word: str) -> IPv4Address | IPv6Address:
    """Read an element; IPv6 addresses are written as numbers."""
    return IPv6Address(int(word, 16)) if word.startswith("0x") else IPv4Address(word)
