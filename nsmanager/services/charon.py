"""charon: IKEv2 of a VPN instance, and ESP where the kernel has none. See strongswan.conf(5), charon-systemd(8)."""

from __future__ import annotations

from nsmanager.items.service import Service
from nsmanager.place import Place
from nsmanager.vpn.routing import TUNNEL_TABLE
from pubsub.topics import NamespaceConfig

NAME = "charon"
PROGRAM = "/usr/sbin/charon-systemd"
PLUGINS = "/usr/lib/ipsec/plugins"
NEEDS = (
    (PROGRAM, "charon-systemd"),
    (f"{PLUGINS}/libstrongswan-vici.so", "strongswan-swanctl"),
    (f"{PLUGINS}/libstrongswan-openssl.so", "libstrongswan-standard-plugins"),
)
NEEDS_USER_SPACE = ((f"{PLUGINS}/libstrongswan-kernel-libipsec.so", "libcharon-extra-plugins"),)

# Eight or fewer and libipsec takes them all: vici never answers (5.9.8).
THREADS = 16
# A question without an answer is repeated after 0.5 s, 0.9 s, 1.6 s and 2.9 s; 5.2 s later the peer is dead. The first
# pause is what a lost packet costs while an instance moves to another uplink.
RETRANSMIT = {"retransmit_tries": "4", "retransmit_timeout": "0.5", "retransmit_base": "1.8"}

# Routes and rules are ours: charon finds the peer by the main table alone, and installs none that count.
CONF = """\
# instance {name}; written by its manager
charon-systemd {{
	load = {plugins}
	threads = {threads}
{retransmit}	interfaces_use = {link}
	ignore_routing_tables = {table}
	install_routes = no
	install_virtual_ip = no
	make_before_break = yes
	plugins {{
		vici {{ socket = unix://{socket} }}
		kernel-libipsec {{ allow_peer_ts = yes }}
	}}
	filelog {{ stderr {{ default = 0
		cfg = 1
		ike = 1
		knl = 1
	}} }}
}}
"""
COMMON = "random nonce aes sha1 sha2 hmac kdf openssl pem pkcs1 pkcs8 pubkey x509 constraints"


def socket_path(place: Place) -> str:
    """Return where charon answers."""
    return str(place.run / "charon.vici")


def service(config: NamespaceConfig, place: Place) -> Service | None:
    """Return charon for an instance with tunnels. They themselves are told by its socket."""
    if not config.tunnels or config.link is None:
        return None
    conf, pid_file = str(place.run / "charon.conf"), str(place.run / "charon.pid")
    text = CONF.format(
        name=place.name,
        # libipsec before kernel-netlink, which also does ESP, in a kernel that has it
        plugins=f"{COMMON}{'' if place.kernel_esp else ' kernel-libipsec'} kernel-netlink socket-default vici",
        threads=THREADS,
        retransmit="".join(f"\t{key} = {value}\n" for key, value in RETRANSMIT.items()),
        link=config.link.ifname,
        table=TUNNEL_TABLE,
        socket=socket_path(place),
    )
    return Service(
        NAME,
        ("env", f"STRONGSWAN_CONF={conf}", PROGRAM),
        pid_file,
        files=((conf, text),),
        ifname=config.link.ifname,
        socket=socket_path(place),
        needs=NEEDS if place.kernel_esp else NEEDS + NEEDS_USER_SPACE,
    )
