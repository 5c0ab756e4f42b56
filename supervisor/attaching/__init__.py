"""Takes what others made into an instance, and gives it back: containers, taps, links of the host."""

from supervisor.attaching.attachments import Attachments
from supervisor.attaching.lending import Lending

__all__ = ["Attachments", "Lending"]
