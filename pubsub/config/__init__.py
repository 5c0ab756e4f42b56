"""Config files to messages: all of it pure; `pubsub.confd` reads the files and publishes."""

from pubsub.config.merge import CONFIG_SUFFIXES, Configuration, Defined, read_files
from pubsub.config.rules import Finding, validate, validate_all

__all__ = ["CONFIG_SUFFIXES", "Configuration", "Defined", "Finding", "read_files", "validate", "validate_all"]
