"""Finds out which uplinks lead anywhere: asks their gateways, and endpoints outside."""

from supervisor.probing.prober import Prober
from supervisor.probing.probes import Target

__all__ = ["Prober", "Target"]
