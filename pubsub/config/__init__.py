"""Config files to messages: all of it pure; `pubsub.confd` reads the files and publishes."""

from pubsub.config.merge import (
    CONFIG_SUFFIXES,
    INSTANCES,
    UPLINKS,
    Configuration,
    Defined,
    DefinedInstances,
    DefinedUplinks,
    read_files,
)
from pubsub.config.rules import validate, validate_all
from pubsub.config.rules_uplinks import validate_uplink
from pubsub.config.rules_words import Finding

__all__ = [
    "CONFIG_SUFFIXES",
    "INSTANCES",
    "UPLINKS",
    "Configuration",
    "Defined",
    "DefinedInstances",
    "DefinedUplinks",
    "Finding",
    "read_files",
    "validate",
    "validate_all",
    "validate_uplink",
]
