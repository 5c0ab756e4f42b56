"""One host with one nsvisord for all tests of the command; each leaves the configuration as it found it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hosts import Daemon, Topology

LAB = """\
instances:
  # the red one
  red:
    subnet: 10.1.0.0/24
    dns: {domain: red.internal, hosts: {printer: 10.1.0.9}}
    apps:
      web: {address: 10.1.0.80, ports: ["8080:80/tcp"]}
  blue:
    subnet: 10.1.0.0/24
"""


@pytest.fixture(scope="module")
def network() -> Iterator[Topology]:
    with Topology() as made:
        yield made


@pytest.fixture(scope="module")
def daemon(network: Topology) -> Iterator[Daemon]:
    """A daemon with red and blue, applied."""
    with Daemon(network.host) as made:
        network.host.put_file("/run/lab.yaml", LAB)
        made.cli("apply", "-f", "/run/lab.yaml", check=True)
        yield made
