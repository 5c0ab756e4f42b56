"""What attachments must fulfil beyond their types: within one instance, and between instances."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pubsub.config.rules_words import Finding, Findings, Path, check_ifname, uplinks_meant
from pubsub.topics import Attachment, InstanceType, NetworkInstanceConfig, UplinkConfig

ATTACHABLE = ("container", "netns", "tap", "link")  # fields of an Attachment of which one is set
NETNS_NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.@-]{1,255}")  # a file name that no shell reads otherwise
INSIDE = ("lo", "br0", "up0", "ipsec0", "wg0")  # what an instance has of its own
INSIDE_PREFIXES = ("p-", "v-")

Claim = tuple[Path, tuple[object, ...], str]  # the field that names it, what it is, and that in words


def check_attachments(config: NetworkInstanceConfig) -> Findings:
    """Yield what is wrong with the attachments of one instance."""
    holders: dict[object, str] = {}
    for name, app in config.apps.items():
        attach, path = app.attach, ("apps", name, "attach")
        if attach is None:
            continue
        chosen = [field for field in ATTACHABLE if getattr(attach, field) is not None]
        if len(chosen) != 1:
            known = ", ".join(ATTACHABLE)
            yield path, f"expected exactly one of {known}; got {' and '.join(chosen) or 'none'}", "write one of them"
        yield from _check_words(path, attach)
        if attach.link is not None and app.ports and None in (app.mac, app.address):
            message = f"nobody knows the address of what is behind link {attach.link}"
            yield ("apps", name, "ports"), message, "add the app's `mac` and `address`, or remove the port map"
        for field, what, words in _claims(attach):
            if holders.setdefault(what, name) != name:
                yield (*path, *field), f"{words} is app {holders[what]}'s", "attach it once, or by another `ifname`"


def _check_words(path: Path, attach: Attachment) -> Findings:
    if attach.container is not None and attach.container < 1:
        yield (*path, "container"), f"{attach.container} is no pid", "write the pid of a process in the container"
    if attach.netns is not None and not NETNS_NAME.fullmatch(attach.netns):
        yield (*path, "netns"), f"{attach.netns!r} can't be a namespace's name", "see the names in `ip netns`"
    for field in ("tap", "link"):
        ifname = getattr(attach, field)
        if ifname is not None:
            yield from check_moved((*path, field), ifname)
            if attach.ifname != "eth0" or not attach.configure:
                message = f"a {field} has no other end for nsvisor to name or configure"
                yield (*path, field), message, "remove `ifname` and `configure`"
    yield from check_ifname((*path, "ifname"), attach.ifname)
    if attach.ifname == "lo":
        yield (*path, "ifname"), "'lo' is there already", "choose another name, as eth1"


def check_moved(path: Path, ifname: str) -> Findings:
    """Yield why a link of that name can't be moved into an instance."""
    wrong = [*check_ifname(path, ifname)]
    yield from wrong
    if not wrong and (ifname in INSIDE or ifname.startswith(INSIDE_PREFIXES)):
        yield path, f"an instance has an interface {ifname!r} of its own", "rename the link on the host"


def _claims(attach: Attachment) -> Iterator[Claim]:
    """Yield what can be attached once only."""
    for field in ("tap", "link"):
        if ifname := getattr(attach, field):
            yield (field,), ("link", ifname), f"{field} {ifname}"
    for field in ("container", "netns"):
        if place := getattr(attach, field):
            yield (field,), (field, place, attach.ifname), f"{attach.ifname} of {field} {place}"


def check_attached_together(
    configs: Mapping[str, NetworkInstanceConfig], uplinks: Mapping[str, UplinkConfig]
) -> Iterator[Finding]:
    """Yield what two instances can't both have: something attached, or a link that one of them wants for itself."""
    holders: dict[object, str] = {}
    for name, config in configs.items():
        claims: list[Claim] = [
            (("apps", app, "attach", *field), what, words)
            for app, app_config in config.apps.items()
            for field, what, words in _claims(app_config.attach or Attachment())
        ]
        for path, what, words in (*claims, *_own_uplinks(config, uplinks)):
            if holders.setdefault(what, name) != name:
                yield Finding(name, path, f"{words} is instance {holders[what]}'s", "attach it once")
        for app, app_config in config.apps.items():
            netns = app_config.attach.netns if app_config.attach else None
            if netns in configs:
                message = f"namespace {netns} is instance {netns}'s own"
                yield Finding(name, ("apps", app, "attach", "netns"), message, "name the namespace of an app")
    for name, config in configs.items():
        for index, word in enumerate(config.uplinks or ()):
            holder = holders.get(("link", word), name)
            lent = config.type is InstanceType.SWITCH and not config.switch.shared
            if holder != name and not lent:
                message = f"link {word} leaves the host: it is lent to instance {holder}"
                yield Finding(name, ("uplinks", str(index)), message, "use another uplink, or `switch: {shared: true}`")


def _own_uplinks(config: NetworkInstanceConfig, uplinks: Mapping[str, UplinkConfig]) -> Iterator[Claim]:
    """Yield the links that a switch doesn't share with the host."""
    if config.type is InstanceType.SWITCH and not config.switch.shared:
        for index, word in enumerate(config.uplinks or ()):
            meant = uplinks_meant(word, uplinks)
            for ifname in sorted(meant - {word}) or [word]:
                yield ("uplinks", str(index)), ("link", ifname), f"link {ifname}"
