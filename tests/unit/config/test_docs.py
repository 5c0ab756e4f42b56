"""What is generated and checked in is up to date; what the documents show is right."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pubsub.config import read_files
from pubsub.reference import topics_reference
from pubsub.schema import schema
from pubsub.topics import (
    AppConfig,
    Attachment,
    DhcpConfig,
    DnsConfig,
    EndpointProbe,
    IpsecConnection,
    LimitsConfig,
    NetworkInstanceConfig,
    NextHopProbe,
    StaticRoute,
    SupervisorSettings,
    SwitchConfig,
    UplinkConfig,
    VpnConfig,
    WireguardConfig,
    WireguardPeer,
)

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize(
    ("name", "text"),
    [("topics.md", topics_reference()), ("config.schema.json", json.dumps(schema(), indent=2) + "\n")],
    ids=["topics.md", "config.schema.json"],
)
def test_generated_documents_are_up_to_date(request: pytest.FixtureRequest, name: str, text: str) -> None:
    if request.config.getoption("--accept"):
        (DOCS / name).write_text(text)
    assert (DOCS / name).read_text() == text, f"docs/{name} is old; make it anew: pytest --accept {__file__}"


def examples(name: str) -> list[str]:
    """Return the YAML blocks of a document that are whole files."""
    blocks = re.findall(r"```yaml\n(.*?)```", (DOCS / name).read_text(), re.DOTALL)
    return [block for block in blocks if block.startswith(("instances:", "uplinks:", "settings:", "x-", "#"))]


@pytest.mark.parametrize("text", examples("config.md"))
def test_the_examples_are_right(text: str) -> None:
    assert read_files({"example": text.encode()}).problems == ()


def test_every_field_is_documented() -> None:
    words = (DOCS / "config.md").read_text()
    instance = (NetworkInstanceConfig, AppConfig, Attachment, SwitchConfig, DhcpConfig, DnsConfig, StaticRoute)
    others = (UplinkConfig, NextHopProbe, EndpointProbe, SupervisorSettings, LimitsConfig)
    tunnels = (VpnConfig, IpsecConnection, WireguardConfig, WireguardPeer)
    for message in (*instance, *others, *tunnels):
        for field in message.__struct_fields__:
            assert f"`{field}`" in words, f"docs/config.md doesn't tell of {message.__name__}.{field}"


def test_the_schema_knows_what_the_reader_knows() -> None:
    """A small validator: keys, types and patterns of the example, and of what is wrong with it."""
    good = yaml.safe_load(
        "instances: {red: {subnet: 10.1.0.0/24, mtu: 1400, apps: {web: {ports: ['80:80/tcp'], attach: {tap: t0}}}}}"
    )
    assert list(mistakes(good, schema())) == []
    for text in examples("config.md"):
        as_editors_read = text.replace("ipv6: off", "ipv6: 'off'")  # text in YAML 1.2, false in PyYAML's 1.1
        assert list(mistakes(yaml.safe_load(as_editors_read), schema())) == []
    for bad in (
        "{instances: {red: {subnett: 1}}}",
        "{instances: {red: {mtu: x}}}",
        "{instances: {Red: {}}}",
        "{instances: {red: {type: nonsense}}}",
        "{instances: {red: {apps: {web: {ports: ['80']}}}}}",
        "{instances: {red: {uplinks: some}}}",
        "{instances: {red: {apps: {web: {ports: ['1eth:80:80']}}}}}",
        "{instances: {red: {subnet6: '10.1.0.0'}}}",
        "{uplinks: {eth0: {labels: all}}}",
        "{uplinks: {eth0: {endpoints: [{to: 'ftp://198.51.100.1'}]}}}",
        "{uplinks: {eth0: {next_hop: {interval: fast}}}}",
        "{uplinks: {'a name': {}}}",
        "{instance: {}}",
    ):
        assert list(mistakes(yaml.safe_load(bad), schema())), bad


def mistakes(value: Any, rule: dict[str, Any], root: dict[str, Any] | None = None) -> list[str]:
    """Check the part of JSON Schema that ours uses."""
    root = root or rule
    found: list[str] = []
    if "$ref" in rule:
        return mistakes(value, root["$defs"][rule["$ref"].rpartition("/")[2]], root)
    if "anyOf" in rule:
        tries = [mistakes(value, one, root) for one in rule["anyOf"]]
        return [] if [] in tries else tries[0]
    if "enum" in rule and value not in rule["enum"]:
        found.append(f"{value} is none of {rule['enum']}")
    number = int | float
    names: dict[str, Any] = {"object": dict, "array": list, "string": str, "number": number}
    names |= {"integer": int, "boolean": bool, "null": type(None)}
    kinds = [rule["type"]] if isinstance(rule.get("type"), str) else rule.get("type", [])
    if kinds and not any(isinstance(value, names[kind]) for kind in kinds):
        found.append(f"{value!r} is no {kinds}")
    if isinstance(value, str) and "pattern" in rule and not re.search(rule["pattern"], value):
        found.append(f"{value!r} doesn't match {rule['pattern']}")
    if isinstance(value, list):
        found += [one for item in value for one in mistakes(item, rule.get("items", {}), root)]
    if isinstance(value, dict):
        for key, inner in value.items():
            found += mistakes(key, rule.get("propertyNames", {}), root)
            inner_rule = rule.get("properties", {}).get(key, rule.get("additionalProperties", {}))
            found += [f"unknown {key}"] if inner_rule is False else mistakes(inner, inner_rule, root)
    return found
