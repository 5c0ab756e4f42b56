"""The edge node's configuration, and what follows from it: which app has which link, instance and address."""

from __future__ import annotations

import dataclasses

SECRETS = {"cloud1": "a secret of cloud1 and ni4", "cloud2": "a secret of cloud2 and ni5"}
SECRET_FOLDER = "/etc/nsvisor/secrets"

CONFIG = """\
uplinks:
  eth0: {next_hop: {interval: 500ms, timeout: 500ms}}
  eth1: {cost: 10, next_hop: {interval: 500ms, timeout: 500ms}}
  eth2: {cost: 20}
instances:
  ni1:
    subnet: 10.10.1.0/24
    uplinks: [eth0, eth1]      # eth1 when eth0 fails
    log: {flows: true, dns: true}
    apps:
      app1:
        address: 10.10.1.11
        attach: {netns: app1, ifname: eth0, configure: false}
        rules:
          - {name: github, host: github.test}
          - {name: web-of-app2, remote: [192.168.0.2], protocol: tcp, ports: [8080]}
  ni2:
    subnet: 192.168.1.0/24     # that of eth1, on purpose
    uplinks: [eth0]
    apps:
      app1:
        address: 192.168.1.11
        attach: {netns: app1, ifname: eth1, configure: false}
        rules:
          - {name: web, apps: [app2], protocol: tcp, ports: [80]}
          - {name: to-web, direction: in, apps: [app2], protocol: tcp, ports: [80]}
      app2:
        address: 192.168.1.12
        attach: {netns: app2, ifname: eth0, configure: false}
        rules:
          - {name: outer, portmap: "8080:80/tcp"}
          - {name: apps, direction: both, apps: [all], protocol: tcp, ports: [80]}
  ni3:
    subnet: 10.10.1.0/24       # the same as ni1's, on purpose
    uplinks: [eth1]
    apps:
      app3:
        address: 10.10.1.11    # and the same address
        attach: {netns: app3, ifname: eth0, configure: false}
        rules:
          - {name: any-ipv4, remote: [0.0.0.0/0]}
  ni4:
    type: vpn
    subnet: 10.10.10.0/24
    uplinks: [eth1]
    vpn:
      connections:
        cloud1:
          remote: 192.168.111.1
          remote_subnets: [192.168.0.0/24]   # that of eth0, on purpose
          secret_file: /etc/nsvisor/secrets/cloud1
          local_id: edge.test
          remote_id: cloud1.test
          dpd: 2s
    apps:
      app4:
        address: 10.10.10.14
        attach: {netns: app4, ifname: eth0, configure: false}
        rules:
          - {name: web, protocol: tcp, ports: [80]}
  ni5:
    type: vpn
    subnet: 10.10.10.0/24      # the same selectors as ni4's, on purpose
    uplinks: [eth2]
    vpn:
      connections:
        cloud2:
          remote: 192.168.222.1
          remote_subnets: [192.168.0.0/24]
          secret_file: /etc/nsvisor/secrets/cloud2
          local_id: edge.test
          remote_id: cloud2.test
          dpd: 2s
    apps:
      app5:
        address: 10.10.10.15
        attach: {netns: app5, ifname: eth0, configure: false}
        rules:
          - {name: web, protocol: tcp, ports: [80]}
  ni6:
    type: switch
    uplinks: [eth3]            # moves into ni6
    apps:
      app6:
        attach: {netns: app6, ifname: eth0, configure: false}
        rules:
          - {name: web-of-app2, remote: [192.168.0.2], protocol: tcp, ports: [8080], limit: 5/s, burst: 15}
"""
RATE, BURST = 5, 15  # packets a second, packets: of app6's rule


@dataclasses.dataclass(frozen=True)
class Link:
    """A link of an app."""

    app: str  # its network namespace too
    ifname: str
    instance: str
    address: str  # by DHCP; empty: from the gateway's server


LINKS = (
    Link("app1", "eth0", "ni1", "10.10.1.11"),
    Link("app1", "eth1", "ni2", "192.168.1.11"),
    Link("app2", "eth0", "ni2", "192.168.1.12"),
    Link("app3", "eth0", "ni3", "10.10.1.11"),
    Link("app4", "eth0", "ni4", "10.10.10.14"),
    Link("app5", "eth0", "ni5", "10.10.10.15"),
    Link("app6", "eth0", "ni6", ""),
)
APPS = ("app1", "app2", "app3", "app4", "app5", "app6")
INSTANCES = ("ni1", "ni2", "ni3", "ni4", "ni5", "ni6")
SERVED_UPLINK = "192.168.3."  # the addresses of eth3's network


def members(instance: str) -> set[str]:
    """Return the apps of an instance."""
    return {link.app for link in LINKS if link.instance == instance}
