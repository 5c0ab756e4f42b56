"""A tunnel in charon's words, for vici: NamespaceTunnel -> the message of `load-conn`. Pure. See swanctl.conf(5)."""

from __future__ import annotations

from typing import Any

from nsmanager.vpn.routing import IF_ID
from pubsub.topics import NamespaceTunnel


def connection(tunnel: NamespaceTunnel, *, kernel_esp: bool, certificate: bytes = b"", authority: bytes = b"") -> Any:
    """Return the message. It has one child, of the tunnel's name; nothing of it is secret."""
    local: dict[str, Any] = {"auth": "pubkey" if tunnel.certificates else "psk"}
    remote: dict[str, Any] = {"auth": local["auth"], "id": tunnel.remote_id}
    if tunnel.local_id:
        local["id"] = tunnel.local_id
    if tunnel.certificates:
        local["certs"] = [certificate]
        remote["cacerts"] = [authority]
    return {
        tunnel.name: {
            "version": "2",
            "remote_addrs": [str(tunnel.remote)],
            "proposals": list(tunnel.proposals),
            "mobike": "yes",
            "encap": "yes",  # in UDP always: nothing else passes the link and NAT
            "dpd_delay": whole_seconds(tunnel.dpd),
            "keyingtries": "0",  # as often as it takes
            "rekey_time": f"{int(tunnel.rekey_ike)}s",
            "local": local,
            "remote": remote,
            "children": {tunnel.name: _child(tunnel, kernel_esp=kernel_esp)},
        }
    }


def _child(tunnel: NamespaceTunnel, *, kernel_esp: bool) -> dict[str, Any]:
    child: dict[str, Any] = {
        "mode": "tunnel",
        "local_ts": [str(selector) for selector in tunnel.local_subnets],
        "remote_ts": [str(selector) for selector in tunnel.remote_subnets],
        "esp_proposals": list(tunnel.esp_proposals),
        "rekey_time": f"{int(tunnel.rekey)}s",
        "start_action": "none",  # the manager starts it, and starts it again
        "dpd_action": "restart",
        "close_action": "none",
    }
    if kernel_esp:
        child |= {"if_id_in": str(IF_ID), "if_id_out": str(IF_ID)}
    return child


def whole_seconds(seconds: float) -> str:
    """Return a time as charon reads it; its seconds are whole."""
    return f"{max(1, round(seconds))}s"
