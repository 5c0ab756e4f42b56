"""What `nsvisor doctor` looks at, and what it makes of that."""

from supervisor.cli.diagnosis.findings import Finding, Level, judge
from supervisor.cli.diagnosis.host import HostFacts, look

__all__ = ["Finding", "HostFacts", "Level", "judge", "look"]
