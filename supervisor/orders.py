"""What the supervisor asks of the spawner, and how it answers."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface

import msgspec

MANAGER_ENTRY = "nsmanager.manager:main"
ORDER_LIMIT = 65536  # bytes
COMMAND_LIMIT = 4 * 1024 * 1024  # bytes of a RunApp or Exec; the kernel takes 2 MiB of arguments and environment


class Order(msgspec.Struct, frozen=True, omit_defaults=True, tag=True):
    """What all orders share."""


class NewNamespace(Order, frozen=True, kw_only=True):
    """A user namespace and the network namespace that it owns, pinned. The answer carries the inode."""

    name: str  # below /run/netns
    uid_base: int  # the host's uid that is 0 inside
    uid_count: int


class NewManager(Order, frozen=True, kw_only=True):
    """A manager, born in its pinned namespace. Descriptors: the log."""

    name: str
    uid_base: int
    run_dir: str
    state_dir: str
    group: str = ""  # folder of the control group that it enters; empty: it stays in the spawner's
    rlimits: tuple[tuple[int, int], ...] = ()  # which (setrlimit(2)), and how much: soft and hard
    entry: str = MANAGER_ENTRY  # `module:function`, called with name, run_dir and state_dir


class NewGuardian(Order, frozen=True, kw_only=True):
    """What stands over a command. Descriptors: stdin, stdout, stderr, session, and a file that holds the command.

    The spawner never reads the command: managers, born later from its memory, could find a user's environment there.
    """

    app: bool  # the file holds a RunApp, else an Exec


class RunApp(Order, frozen=True, kw_only=True):
    """A command as an app, in namespaces of its own."""

    instance: str
    app: str
    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    hostname: str
    mac: str
    address: IPv4Interface | None  # None: by DHCP
    gateway: IPv4Address | None  # with an address: its default route; None: no default route
    resolv_conf: str  # the text of its /etc/resolv.conf
    mtu: int
    group: str = ""  # folder of the control group that it enters; empty: it stays in the spawner's
    rlimits: tuple[tuple[int, int], ...] = ()  # of the command


class Exec(Order, frozen=True, kw_only=True):
    """A command inside the pinned namespace of an instance, or inside that of a container attached to it."""

    instance: str
    container: int = 0  # pid of a process in the container's network namespace; 0: the instance's own
    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    resolv_conf: str


class Request(msgspec.Struct, frozen=True):
    """One order, numbered by the supervisor."""

    number: int
    order: NewNamespace | NewManager | NewGuardian


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of the order with that number."""

    number: int
    pid: int = 0  # of the newborn
    inode: int = 0  # of the new namespace
    errno: int = 0  # 0 with a text: failed otherwise
    error: str = ""  # empty: done
