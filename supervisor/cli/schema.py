"""`nsvisor schema`: the JSON Schema of a config file, for editors."""

from __future__ import annotations

import json

import click


@click.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of a config file."""
    from pubsub.schema import schema

    print(json.dumps(schema(), indent=2))
