"""The host's uplinks: which one an instance uses, and the routing table of each."""
