"""What EC2's instance metadata service tells of an app, as cloud-init and cloud tools read it. Pure.

See "Instance metadata categories" of the EC2 user guide. Folders are mappings, files are texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Union

from nsmanager.metadata.caller import Caller

Tree = Mapping[str, Union["Tree", str]]


def tree(who: Caller) -> dict[str, Tree | str]:
    """Return all that stands below `/latest/`; user-data is absent where there is none."""
    found: dict[str, Tree | str] = {
        "dynamic": {"instance-identity": {"document": identity(who)}},
        "meta-data": meta_data(who),
    }
    if who.app.user_data:
        found["user-data"] = who.app.user_data
    return found


def meta_data(who: Caller) -> Tree:
    mac = str(who.app.mac)
    network: dict[str, Tree | str] = {
        "device-number": "0",
        "interface-id": f"eni-{mac.replace(':', '')}",
        "ipv6s": "\n".join(map(str, who.addresses6)),
        "local-hostname": who.hostname,
        "local-ipv4s": "\n".join(map(str, who.addresses)),
        "mac": mac,
        "public-ipv4s": who.external,
        "subnet-ipv4-cidr-block": str(who.config.bridge.network) if who.config.bridge is not None else "",
        "subnet-ipv6-cidr-blocks": str(who.config.bridge6.network) if who.config.bridge6 is not None else "",
    }
    found: dict[str, Tree | str] = {
        "hostname": who.hostname,
        "instance-id": who.id,
        "instance-type": "nsvisor",
        "ipv6": str(who.addresses6[0]) if who.addresses6 else "",
        "local-hostname": who.hostname,
        "local-ipv4": str(who.addresses[0]) if who.addresses else "",
        "mac": mac,
        "network": {"interfaces": {"macs": {mac: _known(network)}}},
        "placement": {"availability-zone": who.instance},
        "public-ipv4": who.external,
    }
    return _known(found)


def identity(who: Caller) -> str:
    """Return the identity document. Nobody has signed it."""
    from json import dumps

    words = {
        "instanceId": who.id,
        "instanceType": "nsvisor",
        "availabilityZone": who.instance,
        "privateIp": str(who.addresses[0]) if who.addresses else None,
        "version": "2017-09-30",
    }
    return dumps(words, indent=2) + "\n"


def find(tree: Tree, path: list[str]) -> str | None:
    """Return the text of a file, or a folder's list as EC2 writes it; None: no such thing."""
    found: Tree | str = tree
    for part in path:
        if not part:
            continue
        if isinstance(found, str) or part not in found:
            return None
        found = found[part]
    if isinstance(found, str):
        return found
    return "\n".join(f"{name}/" if not isinstance(inner, str) else name for name, inner in sorted(found.items()))


def _known(found: dict[str, Tree | str]) -> dict[str, Tree | str]:
    """Leave out what is empty: who reads a list asks for each of its names."""
    return {name: text for name, text in found.items() if text != ""}
