"""The `nsvisor` command."""

from supervisor.cli.main import main

__all__ = ["main"]
