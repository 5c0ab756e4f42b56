"""A cloud whose gateway speaks WireGuard: the kernel's, told by wg(8)."""

from __future__ import annotations

import subprocess

from tests.hosts.cloud import Cloud
from tests.hosts.host import Host

PORT = 51820


class WireguardCloud(Cloud):
    """As `Cloud`, by WireGuard. It takes one client, with the key `client`, from anywhere."""

    def __init__(
        self, outside: Host, name: str, address: str, *, client: str, secret: str, lan: str, address6: str = "",
        lan6: str = "", clients6: str = "",
    ) -> None:  # fmt: skip
        self.private = new_key()
        self.public = public_key(self.private)
        self._client, self._secret = client, secret
        super().__init__(outside, name, address, lan=lan, address6=address6, lan6=lan6, clients6=clients6)

    def start(self) -> None:
        """Make the link; it waits for its client when this returns."""
        self.edge.put_file("/run/wg.key", self.private, mode=0o600)
        self.edge.put_file("/run/wg.psk", self._secret, mode=0o600)
        clients = [self.clients, *([self.clients6] if self.clients6 else [])]
        self.edge.sh(f"""
            ip link add wg0 mtu 1420 type wireguard
            wg set wg0 listen-port {PORT} private-key /run/wg.key peer {self._client} \
                preshared-key /run/wg.psk allowed-ips {",".join(clients)}
            ip link set wg0 up
        """)
        for network in clients:
            self.edge.sh(f"ip route add {network} dev wg0")

    def kill(self) -> None:
        """End WireGuard as a power cut would: its keys are gone, and nobody was told."""
        self.edge.sh("ip link del wg0")

    def seen(self, what: str) -> str:
        """Return what wg(8) shows of the client: `endpoints`, `latest-handshakes` or `transfer`."""
        return self.edge.sh(f"wg show wg0 {what}").partition("\t")[2].strip()


def new_key() -> str:
    """Return a private key."""
    return subprocess.run(["wg", "genkey"], check=True, capture_output=True, text=True).stdout.strip()


def new_secret() -> str:
    """Return a secret for two ends."""
    return subprocess.run(["wg", "genpsk"], check=True, capture_output=True, text=True).stdout.strip()


def public_key(private: str) -> str:
    """Return the key that belongs to a private one."""
    done = subprocess.run(["wg", "pubkey"], input=private, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def kernel_has_wireguard() -> bool:
    """Try it in a namespace of its own."""
    done = subprocess.run(
        ["unshare", "-n", "ip", "link", "add", "x0", "type", "wireguard"], check=False, capture_output=True
    )
    return not done.returncode
