"""A cloud: a LAN with a web server, behind a gateway that speaks IPsec (a real strongSwan)."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import vici

from tests.hosts.capture import Capture
from tests.hosts.host import Host, connect
from tests.hosts.waiting import DEADLINE, wait_until

CONNECTION = "edge"  # of the cloud's gateway with whoever asks
SOCKET = "/run/vici.sock"
LOG = "/run/charon.log"
CONF = """\
charon-systemd {
  load = random nonce aes sha1 sha2 hmac kdf openssl pem pkcs1 pkcs8 pubkey x509 kernel-libipsec kernel-netlink \
socket-default vici
  threads = 16
  retransmit_tries = 2
  retransmit_timeout = 1.0
  plugins {
    vici { socket = unix:///run/vici.sock }
    kernel-libipsec { allow_peer_ts = yes }
  }
  filelog { file {
    path = /run/charon.log
    default = 1
    flush_line = yes
  } }
}
"""


@dataclasses.dataclass(frozen=True)
class Certificates:
    """What a gateway needs to prove who it is, as PEM."""

    authority: str
    certificate: str
    key: str


class Cloud:
    """`edge`, a gateway with the address that clients know, and `server` in the LAN behind it.

    A context manager. `outside` is the host that the cloud is joined to: its port `NAME` gets the network's last
    address but one, which is the edge's default route. The LAN's first address is the server's; its page on port 80 is
    `<name> to <asker>`, it has a UDP echo on port 7. The LAN's last address but one is the edge's.

    The edge takes connections from anywhere, by `psk` or by `certificates`, for the networks `clients`.

    With `address6` the cloud has IPv6 too, likewise: in the LAN `lan6`, a prefix without its final `::`.
    """

    def __init__(
        self, outside: Host, name: str, address: str, *, lan: str = "192.168.0", clients: str = "10.10.10.0/24",
        psk: str = "", certificates: Certificates | None = None, peer: str = "%any", mtu: int = 1500,
        address6: str = "", lan6: str = "", clients6: str = "",
    ) -> None:  # fmt: skip
        self.name, self.address, self.lan, self.clients = name, address, f"{lan}.0/24", clients
        self.id = f"{name}.test"  # how it calls itself
        self.psk, self.certificates, self.peer = psk, certificates, peer
        self.page = f"http://{lan}.1/"
        self.address6, self.lan6, self.clients6 = address6, lan6, clients6
        self._stack = contextlib.ExitStack()
        self.charon: subprocess.Popen[str] | None = None
        try:
            self.edge = self._stack.enter_context(Host(f"{name}-edge"))
            self.server = self._stack.enter_context(Host(f"{name}-server"))
            self.outside = outside
            router = address.rpartition(".")[0] + ".254"
            connect(outside, name, self.edge, "wan0")
            outside.sh(f"ip addr add {router}/24 dev {name}; ip link set {name} mtu {mtu}")
            self.edge.sh(f"""
                ip addr add {address}/24 dev wan0; ip link set wan0 mtu {mtu}; ip route add default via {router}
                sysctl -qw net.ipv4.ip_forward=1
            """)
            connect(self.edge, "lan0", self.server, "eth0")
            self.edge.sh(f"ip addr add {lan}.254/24 dev lan0")
            self.server.sh(f"ip addr add {lan}.1/24 dev eth0; ip route add default via {lan}.254")
            if address6:
                self._add_ipv6()
            self.server.serve_page(name)
            self.server.serve_echo()
            self.start()
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()

    def _add_ipv6(self) -> None:
        router = self.address6.rpartition("::")[0] + "::fe"
        self.outside.sh(f"ip addr add {router}/64 dev {self.name} nodad; sysctl -qw net.ipv6.conf.all.forwarding=1")
        self.edge.sh(f"""
            sysctl -qw net.ipv6.conf.all.forwarding=1
            ip addr add {self.address6}/64 dev wan0 nodad; ip -6 route add default via {router}
            ip addr add {self.lan6}::fe/64 dev lan0 nodad
        """)
        self.server.sh(f"ip addr add {self.lan6}::1/64 dev eth0 nodad; ip -6 route add default via {self.lan6}::fe")

    def start(self) -> None:
        """Start strongSwan; it waits for clients when this returns."""
        self.edge.path(SOCKET).unlink(missing_ok=True)
        self.edge.put_file("/run/strongswan.conf", CONF)
        environment = {"STRONGSWAN_CONF": "/run/strongswan.conf"}
        self.charon = self.edge.popen(["charon-systemd"], env=environment, stderr=subprocess.DEVNULL)
        wait_until(self.edge.path(SOCKET).exists, what=f"{self.name}: charon's socket")
        with self.session() as session:
            if self.psk:
                session.load_shared({"id": "psk", "type": "IKE", "data": self.psk})
            if self.certificates:
                session.load_key({"type": "any", "data": self.certificates.key})
            session.load_conn({CONNECTION: self._connection()})

    def kill(self) -> None:
        """Kill strongSwan, as a power cut would; its tunnels are gone and nobody was told."""
        assert self.charon
        self.charon.kill()
        self.charon.wait(DEADLINE)

    def _connection(self) -> Mapping[str, Any]:
        local: dict[str, Any] = {"auth": "psk", "id": self.id}
        remote: dict[str, Any] = {"auth": "psk", "id": self.peer}
        if self.certificates:
            local = {"auth": "pubkey", "id": self.id, "certs": [self.certificates.certificate]}
            remote = {"auth": "pubkey", "id": self.peer, "cacerts": [self.certificates.authority]}
        addresses = [self.address, *([self.address6] if self.address6 else [])]
        lans = [self.lan, *([f"{self.lan6}::/64"] if self.lan6 else [])]
        clients = [self.clients, *([self.clients6] if self.clients6 else [])]
        child = {"local_ts": lans, "remote_ts": clients, "mode": "tunnel", "start_action": "none"}
        return {
            "version": "2", "local_addrs": addresses, "remote_addrs": ["%any"], "encap": "yes",
            "dpd_delay": "5s", "local": local, "remote": remote, "children": {"lan": child},
        }  # fmt: skip

    @contextlib.contextmanager
    def session(self) -> Any:
        """Yield a vici session with the cloud's strongSwan."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(DEADLINE)
            wait_until(lambda: self._connects(connection), what=f"{self.name}: charon answers")
            yield vici.Session(connection)

    def _connects(self, connection: socket.socket) -> bool:
        try:
            connection.connect(str(self.edge.path(SOCKET)))
        except ConnectionRefusedError:
            return False
        return True

    def tunnels(self) -> list[dict[str, Any]]:
        """Return the IKE SAs that the cloud has, as vici tells them."""
        with self.session() as session:
            return [sa for found in session.list_sas() for sa in found.values()]

    def log(self) -> str:
        """Return what strongSwan has said since its start."""
        return self.edge.read_file(LOG)

    def capture(self, expression: str = "") -> Capture:
        """Return a capture of what passes between the cloud and the outside."""
        return Capture(self.outside, self.name, expression)


def make_authority(host: Host, *names: str, folder: str = "/run/pki") -> dict[str, Certificates]:
    """Make a certificate authority and a certificate for each name, by openssl in a host."""
    path = Path(folder)
    script = f"mkdir -p {path}; cd {path}\n"
    script += "openssl ecparam -name prime256v1 -genkey -noout -out ca.key\n"
    script += "openssl req -x509 -new -key ca.key -subj /CN=authority.test -days 30 -out ca.crt\n"
    for name in names:
        script += f"openssl ecparam -name prime256v1 -genkey -noout -out {name}.key\n"
        script += f"openssl req -new -key {name}.key -subj /CN={name} -out {name}.csr\n"
        script += f"echo subjectAltName=DNS:{name} > {name}.ext\n"
        script += f"openssl x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 "
        script += f"-extfile {name}.ext -out {name}.crt\n"
    host.sh(f"( {script} ) > /dev/null 2>&1")
    authority = host.read_file(path / "ca.crt")
    return {
        name: Certificates(authority, host.read_file(path / f"{name}.crt"), host.read_file(path / f"{name}.key"))
        for name in names
    }
