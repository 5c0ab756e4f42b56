"""What the metadata server answers: a request and who asks -> an answer. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

import msgspec

from nsmanager.metadata import ec2
from nsmanager.metadata.caller import Caller
from nsmanager.residents import METADATA, METADATA6

TEXT, JSON, YAML = "text/plain; charset=utf-8", "application/json", "text/yaml; charset=utf-8"
TOKEN_PATH = "/latest/api/token"  # noqa: S105  # a path
TOKEN_TTL = "x-aws-ec2-metadata-token-ttl-seconds"  # noqa: S105  # a header
LONGEST_TTL = 21600  # seconds, EC2's limit
TOKEN = "by-interface"  # noqa: S105  # nobody asks for it: the interface alone says who calls
ESCAPED = re.compile(r"%([2-7][0-9A-Fa-f])")  # of a path; beyond ASCII there is nothing here
# A page that was got by a name can't ask us by that name (DNS rebinding); HTTP/1.0 may leave it out.
HOSTS = ("", str(METADATA), f"[{METADATA6}]")
VERSION = re.compile(r"(latest|1\.0|20\d\d-\d\d-\d\d)")  # of EC2's paths; all are the same here


class Answer(msgspec.Struct, frozen=True):
    """What goes back."""

    status: int
    body: str
    kind: str = TEXT
    headers: tuple[tuple[str, str], ...] = ()


def answer(method: str, path: str, headers: Mapping[str, str], who: Caller | None) -> Answer:
    """Return the answer; header names are in lower case."""
    if headers.get("host", "").lower().removesuffix(":80") not in HOSTS:
        return Answer(403, "This server has no name: ask it by its address.\n")
    path = ESCAPED.sub(lambda found: chr(int(found[1], 16)), path.partition("?")[0])
    if who is None:
        return Answer(404, "You are no app of this instance's configuration: nothing is known of you.\n")
    if path == TOKEN_PATH:
        return _token(method, headers)
    if method not in ("GET", "HEAD"):
        return Answer(405, f"{method} is not possible here; GET is.\n", headers=(("Allow", "GET, HEAD"),))
    if path in PAGES:
        kind, page = PAGES[path]
        return Answer(200, page(who), kind)
    version, _, rest = path.removeprefix("/").partition("/")
    if VERSION.fullmatch(version):
        text = ec2.find(ec2.tree(who), rest.split("/"))
        if text is not None:
            return Answer(200, text, JSON if rest.startswith("dynamic/") and text.startswith("{") else TEXT)
    return Answer(404, f"There is no {path} here; / says what there is.\n")


def _token(method: str, headers: Mapping[str, str]) -> Answer:
    """Answer as EC2's second version wants to be asked."""
    if method != "PUT":
        return Answer(405, "A token is asked for by PUT.\n", headers=(("Allow", "PUT"),))
    ttl = headers.get(TOKEN_TTL, "")
    if not re.fullmatch(r"[0-9]{1,5}", ttl) or not 1 <= int(ttl) <= LONGEST_TTL:
        return Answer(400, f"{TOKEN_TTL} must be a number from 1 to {LONGEST_TTL}.\n")
    return Answer(200, TOKEN, headers=((TOKEN_TTL, ttl),))


def _index(_who: Caller) -> str:
    lines = (f"{path}\n" for path in PAGES if path != "/")
    return "latest/meta-data/\nlatest/user-data\nlatest/dynamic/\n" + "".join(lines).replace("\n/", "\n").lstrip("/")


def _app(who: Caller) -> str:
    """Tell all in our own words."""
    found = {
        "instance": who.instance,
        "app": who.app.name,
        "hostname": who.hostname,
        "mac": str(who.app.mac),
        "addresses": [str(one) for one in who.addresses],
        "addresses6": [str(one) for one in who.addresses6],
        "router": str(who.config.bridge.ip) if who.config.bridge is not None else None,
        "router6": str(who.config.bridge6.ip) if who.config.bridge6 is not None else None,
        "uplink": who.outlook.uplink or None,
        "external": [str(one) for one in who.outlook.external],
        "external6": [str(one) for one in who.outlook.external6],
        "ports": [str(one) for one in who.app.ports],
    }
    return json.dumps(found, indent=2) + "\n"


def _eve(who: Caller) -> str:
    """Tell what EVE's metadata server tells, of what there is here (its docs/ECO-METADATA.md)."""
    found = {
        "caller-ip": who.end,
        "external-ipv4": who.external,
        "hostname": who.app.name,
        "app-instance-uuid": who.id,
    }
    return json.dumps(found) + "\n"


def _nocloud(who: Caller) -> str:
    return _yaml({"instance-id": who.id, "local-hostname": who.app.name})


def _network(who: Caller) -> str:
    """Tell cloud-init how to configure its link: by what DHCP and the router tell."""
    link = {
        "match": {"macaddress": str(who.app.mac)},
        "dhcp4": who.config.range is not None,
        "dhcp6": who.has_dhcp6,
        "accept-ra": who.config.bridge6 is not None,
    }
    return _yaml({"version": 2, "ethernets": {"app": link}})


def _yaml(found: Mapping[str, object]) -> str:
    return json.dumps(found, indent=2) + "\n"  # JSON is YAML, and quotes what YAML would take for something else


# NoCloud wants user-data to be there, be it empty.
PAGES: dict[str, tuple[str, Callable[[Caller], str]]] = {
    "/": (TEXT, _index),
    "/nsvisor/v1/app.json": (JSON, _app),
    "/eve/v1/network.json": (JSON, _eve),
    "/eve/v1/external_ipv4": (TEXT, lambda who: f"{who.external}\n" if who.external else ""),
    "/eve/v1/hostname": (TEXT, lambda who: who.app.name),
    "/meta-data": (YAML, _nocloud),
    "/user-data": (TEXT, lambda who: who.app.user_data),
    "/vendor-data": (TEXT, lambda _who: ""),
    "/network-config": (YAML, _network),
}
