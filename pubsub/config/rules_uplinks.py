"""What the config of an uplink must fulfil beyond its types."""

from __future__ import annotations

from pubsub.config.rules_words import Finding, Findings, Path, check_host, check_ifname, check_label, check_uplink
from pubsub.topics import EndpointProbe, NextHopProbe, UplinkConfig
from pubsub.values import Interval

COST_RANGE = (0, 255)
PROBE_INTERVAL = (Interval(0.1), Interval(3600.0))  # below, probes would be a load; above, no health
PROBE_TIMEOUT = Interval(0.01)  # at least: a LAN answers within a millisecond, a loaded host later
PROBE_COUNTS = (1, 100)  # of failures or answers in a row


def validate_uplink(ifname: str, config: UplinkConfig) -> tuple[Finding, ...]:
    """Return all that is wrong with one uplink, whatever the others are."""
    found = [
        *_name(ifname),
        *_cost(config),
        *_labels(config),
        *(one for index, server in enumerate(config.dns) for one in check_host(("dns", str(index)), server, "asked")),
        *_probe(("next_hop",), config.next_hop),
        *_endpoints(config),
    ]
    return tuple(Finding(ifname, *finding) for finding in found)


def _name(ifname: str) -> Findings:
    wrong = [*check_ifname((), ifname)]
    yield from wrong or check_uplink((), ifname)


def _cost(config: UplinkConfig) -> Findings:
    low, high = COST_RANGE
    if not low <= config.cost <= high:
        yield ("cost",), f"a cost of {config.cost} is not possible", f"use {low} to {high}; the cheapest uplink wins"


def _labels(config: UplinkConfig) -> Findings:
    seen: set[str] = set()
    for index, label in enumerate(config.labels):
        path = ("labels", str(index))
        yield from check_label(path, label)
        if label in seen:
            yield path, f"label {label!r} stands twice", "remove one"
        seen.add(label)


def _endpoints(config: UplinkConfig) -> Findings:
    seen: set[str] = set()
    for index, probe in enumerate(config.endpoints):
        path = ("endpoints", str(index))
        yield from _probe(path, probe)
        address = probe.to.address
        scoped = address.version == 6 and address.is_link_local  # would need to name the interface
        if address.is_multicast or address.is_loopback or address.is_unspecified or scoped:
            remedy = "write the address of a host that the uplink leads to"
            yield (*path, "to"), f"{address} can't be probed: it is no host outside", remedy
        if str(probe.to) in seen:
            yield (*path, "to"), f"endpoint {probe.to} stands twice", "remove one"
        seen.add(str(probe.to))


def _probe(path: Path, probe: NextHopProbe | EndpointProbe) -> Findings:
    shortest, longest = PROBE_INTERVAL
    if not shortest <= probe.interval <= longest:
        yield (*path, "interval"), f"an interval of {probe.interval} is not possible", f"use {shortest} to {longest}"
    elif probe.timeout > probe.interval:
        message = f"the timeout {probe.timeout} is longer than the interval {probe.interval}"
        yield (*path, "timeout"), message, f"use {probe.interval} or less"
    if probe.timeout < PROBE_TIMEOUT:
        yield (*path, "timeout"), f"a timeout of {probe.timeout} is too short", f"use {PROBE_TIMEOUT} or more"
    low, high = PROBE_COUNTS
    for field, count in (("down", probe.down), ("up", probe.up)):
        if not low <= count <= high:
            yield (*path, field), f"{count} in a row is not possible", f"use {low} to {high}"
