"""What people and controllers write of tunnels: by IPsec, and by WireGuard."""

from __future__ import annotations

from pubsub.topics.base import Message
from pubsub.values import Duration, Interval, Network, PeerAddress, WireguardKey


class IpsecConnection(Message, frozen=True, kw_only=True):
    """A tunnel by IKEv2 (RFC 7296) to one peer. The key is its name. Proof is `secret_file`, or the other three files.

    Files belong to root and only root may read them.
    """

    remote: PeerAddress
    remote_subnets: tuple[Network, ...]  # what is reached by it
    local_subnets: tuple[Network, ...] = ()  # what the peer reaches by it; default: the instance's subnet, and subnet6
    secret_file: str = ""  # the shared secret (PSK): the file's text without its last newline
    certificate_file: str = ""  # PEM
    key_file: str = ""  # of the certificate, PEM without a passphrase
    ca_file: str = ""  # who signed the peer's certificate, PEM
    local_id: str = ""  # how we call ourselves: a name, an address, a DN; default: the certificate's subject
    remote_id: str = ""  # how the peer must call itself; default: its address
    proposals: tuple[str, ...] = ()  # for IKE, in strongSwan's words; default: AES-256 with ECDH or MODP groups
    esp_proposals: tuple[str, ...] = ()  # for ESP
    dpd: Interval = Interval(10.0)  # of silence until the peer is asked whether it lives
    rekey: Duration = Duration(3600)  # until ESP gets new keys
    rekey_ike: Duration = Duration(4 * 3600)


class WireguardPeer(Message, frozen=True, kw_only=True):
    """A tunnel by WireGuard to one peer. The key is its name, other than those of `connections`."""

    public_key: WireguardKey  # the peer's
    remote: PeerAddress
    port: int = 51820  # UDP, of the peer
    remote_subnets: tuple[Network, ...]  # what is reached by it, and what it may send from
    secret_file: str = ""  # a secret that both ends share beside their keys (preshared key), as `wg genpsk` writes it
    keepalive: Duration = Duration(25)  # between two packets that keep the way open where there is NAT


class WireguardConfig(Message, frozen=True, kw_only=True):
    """The WireGuard link of an instance. Files belong to root and only root may read them."""

    key_file: str  # our private key, as `wg genkey` writes it
    peers: dict[str, WireguardPeer] = {}


class VpnConfig(Message, frozen=True, kw_only=True):
    """The tunnels of a VPN instance: its only ways out."""

    connections: dict[str, IpsecConnection] = {}
    wireguard: WireguardConfig | None = None
