"""Do once, before the first fork, what each manager would else do again: imports, coders, caches.

Leaves no thread, zmq context, socket or event loop behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import encodings.idna
import importlib
import signal
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface
from pathlib import Path

from nsmanager import libnftables, manager
from nsmanager.counters import metrics
from nsmanager.item import Item
from nsmanager.marks import NFT_TABLE
from nsmanager.memory import forget_names, trim
from nsmanager.namespace import Namespace, NftError
from nsmanager.place import Place
from nsmanager.plan import plan
from nsmanager.reconcile import diff, observe
from pubsub.codec import decode, digest, encode
from pubsub.topics import (
    AppRoute,
    NamespaceApp,
    NamespaceConfig,
    NamespaceLink,
    NamespaceOutlook,
    NamespaceStatus,
    Route,
    ServiceStatus,
)
from pubsub.values import AddressRange, Duration, MacAddress, PortMap

ROUNDS = 10  # CPython 3.11 specialises code in place when it has run eight times: before the fork, that is shared
# What is used late is imported here too: a manager may not see the folder that it is in, as one below a home or /tmp.
MODULES = (
    "selectors", "logging", "traceback", "linecache", "tokenize", "unicodedata", encodings.idna.__name__, "vici"
)  # fmt: skip
EXAMPLE = NamespaceConfig(
    link=NamespaceLink(
        ifname="up0",
        address=IPv4Interface("100.127.0.1/31"),
        gateway=IPv4Address("100.127.0.0"),
        gateway_mac=MacAddress.parse("02:00:00:00:00:fe"),
        mac=MacAddress.parse("02:00:00:00:00:ff"),
        address6=IPv6Interface("2001:db8::1/127"),
        gateway6=IPv6Address("2001:db8::"),
    ),
    bridge=IPv4Interface("192.0.2.1/24"),
    bridge6=IPv6Interface("2001:db8:0:1::1/64"),
    mtu=1500,
    domain="example.internal",
    range=AddressRange.parse("192.0.2.64-192.0.2.191"),
    lease_time=Duration(3600),
    ntp=(IPv4Address("192.0.2.2"),),
    routes=(Route(to=IPv4Network("198.51.100.0/24"), via=IPv4Address("192.0.2.5")),),
    app_routes=(AppRoute(to=IPv4Network("198.51.100.0/24"), via=IPv4Address("192.0.2.5")),),
    hosts={"printer": IPv4Address("192.0.2.4")},
    servers=(IPv4Address("100.127.0.0"),),
    apps=(
        NamespaceApp(
            name="web",
            mac=MacAddress.parse("02:00:00:00:00:01"),
            address=IPv4Address("192.0.2.5"),
            address6=IPv6Address("2001:db8:0:1:0:ff:fe00:1"),
            ports=(PortMap.parse("8080:80/tcp"),),
            ifname="p-web",
        ),
    ),
)

OUTLOOK = NamespaceOutlook(uplink="eth0", external=(IPv4Address("192.0.2.2"),), external6=(IPv6Address("2001:db8::2"),))
COUNTED = {"spoofed/web": (1, 60)}


def warm() -> None:
    """Called by the spawner, single-threaded, before its first fork."""
    for module in MODULES:
        importlib.import_module(module)
    libnftables.library()
    manager.account()
    for _ in range(ROUNDS):
        _use()
    forget_names()  # of all that was imported; one more round leaves only those that a manager needs
    _use()
    trim()


def _use() -> None:
    """Do what a manager does, without effects; this namespace is looked at."""
    config = decode(NamespaceConfig, encode(EXAMPLE))
    status = NamespaceStatus(ready=True, config=digest(config), services=(ServiceStatus(name="x", pid=1, restarts=0),))
    decode(NamespaceStatus, encode(status))
    decode(NamespaceOutlook, encode(OUTLOOK))
    items = plan(config, Place("example", Path("/run"), Path("/var")))
    "\n".join(str(change) for change in diff(items, {}))
    asyncio.run(_turn(config, items))


async def _turn(config: NamespaceConfig, items: Sequence[Item]) -> None:
    """Let an event loop do once what a manager's does."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, lambda: None)
    with contextlib.suppress(OSError, NftError):  # where this fails, the manager tells
        async with Namespace() as ns:
            ns.events.forget()
            await observe(ns, items, manager.KINDS)
            encode(metrics(ns, config, COUNTED | ns.nft_counters(NFT_TABLE)))
    try:
        async with asyncio.timeout(0.001), asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.Event().wait())
    except TimeoutError:
        pass
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
