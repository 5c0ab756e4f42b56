"""Where the secrets of a tunnel lie in its instance's folder. nsvisord puts them there, for the manager alone. Pure."""

from __future__ import annotations

PREFIX = "vpn-"  # of all these files
SECRET, CERTIFICATE, KEY, AUTHORITY = "psk", "crt", "key", "ca"
WIREGUARD_KEY, WIREGUARD_SECRET = "wg-key", "wg-psk"  # of the link, and of a peer


def secret_file(tunnel: str, kind: str) -> str:
    """Return the name of the file with one secret of a tunnel."""
    return f"{PREFIX}{tunnel}.{kind}"
