"""radvd: tells the apps of the IPv6 router, prefix, MTU and DNS (RFC 4861, 8106). See radvd(8), radvd.conf(5)."""

from __future__ import annotations

from nsmanager.items.service import Service
from nsmanager.names import BRIDGE
from nsmanager.place import Place
from pubsub.topics import Dhcp6Mode, NamespaceConfig

NAME = "radvd"
MIN_INTERVAL = 60  # seconds between two unsolicited advertisements, drawn between both; who asks is answered at once
MAX_INTERVAL = 180
ROUTER_LIFETIME = 1800  # seconds that apps go on with what they were told while radvd is away
PREFERRED_LIFETIME = 1800  # seconds; a changed prefix is left by new connections after that
VALID_LIFETIME = 7200  # seconds; hosts believe no shorter one (RFC 4862, 5.5.3)

CONF = """\
# instance {name}; written by its manager
interface {bridge} {{
	AdvSendAdvert on;
	IgnoreIfMissing on;
	MinRtrAdvInterval {min_interval};
	MaxRtrAdvInterval {max_interval};
	AdvDefaultLifetime {router};
	AdvManagedFlag {managed};
	AdvOtherConfigFlag on;
	AdvLinkMTU {mtu};
	prefix {prefix} {{
		AdvOnLink on;
		AdvAutonomous {autonomous};
		AdvPreferredLifetime {preferred};
		AdvValidLifetime {valid};
	}};
	RDNSS {dns} {{
		AdvRDNSSLifetime {router};
	}};
	DNSSL {domain} {{
		AdvDNSSLLifetime {router};
	}};
}};
"""


def service(config: NamespaceConfig, place: Place) -> Service | None:
    """Return radvd for an instance with IPv6. All that it tells is changed without a restart."""
    if config.bridge6 is None:
        return None
    conf, pid_file = str(place.run / "radvd.conf"), str(place.run / "radvd.pid")
    stateful = config.dhcp6 is Dhcp6Mode.STATEFUL
    text = CONF.format(
        name=place.name,
        bridge=BRIDGE,
        min_interval=MIN_INTERVAL,
        max_interval=MAX_INTERVAL,
        router=ROUTER_LIFETIME,
        managed=_on(stateful),
        mtu=config.apps_mtu,
        prefix=config.bridge6.network,
        autonomous=_on(not stateful),
        preferred=PREFERRED_LIFETIME,
        valid=VALID_LIFETIME,
        dns=config.bridge6.ip,
        domain=config.domain,
    )
    return Service(
        NAME,
        (NAME, f"--config={conf}", f"--pidfile={pid_file}", f"--username={place.user}", "--logmethod=stderr_clean"),
        pid_file,
        reloadable=((conf, text),),
        ifname=BRIDGE,
    )


def _on(value: bool) -> str:
    return "on" if value else "off"
