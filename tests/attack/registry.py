"""What a manager that was taken over would try. Each attack returns when it worked, and raises OSError when refused.

Attacks run with the rights of a manager, and (to show that they can work) with those of the host.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

REFUSED = (errno.EPERM, errno.EACCES)
HIDDEN = (errno.ENOENT,)  # it isn't even seen
MACHINE = os.uname().machine == "x86_64"
SYS_FINIT_MODULE = 313 if MACHINE else 273
SYS_ADD_KEY, SYS_KEYCTL = (248, 250) if MACHINE else (217, 219)
KEYCTL_SEARCH, SESSION_KEYRING = 10, -3
NS_GET_PARENT = 0xB702
PTRACE_SEIZE = 0x4206
HANDLE_BYTES = 128
libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Target:
    """Whom to attack."""

    victim: int  # pid of a process of the host
    supervisor: int  # pid of the manager's parent
    other: int  # pid of the other instance's manager
    run_dir: str
    state_dir: str
    leaked: int = 1  # descriptor of a namespace of the host, as if a bug had let it through


@dataclass(frozen=True)
class Attack:
    """One attack, and how the kernel must refuse it."""

    run: Callable[[Target], None]
    errors: tuple[int, ...]  # one of them
    possible: bool  # with the host's rights
    leak: str  # what `leaked` is: a kind and whose, as "net host"; empty: the log
    inside: bool  # with the host's rights it is tried inside the instance's network namespace


ATTACKS: dict[str, Attack] = {}


def attack(
    *errors: int, possible: bool = True, leak: str = "", inside: bool = False
) -> Callable[[Callable[[Target], None]], Callable[[Target], None]]:
    """Register an attack under its function's name."""

    def register(function: Callable[[Target], None]) -> Callable[[Target], None]:
        ATTACKS[function.__name__] = Attack(function, errors, possible, leak, inside)
        return function

    return register


def check(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def ip(*arguments: object, keep: int | None = None) -> str:
    """Run ip(8). Raises OSError with the errno that its message names."""
    fds = () if keep is None else (keep,)
    done = subprocess.run(["ip", *map(str, arguments)], capture_output=True, text=True, check=False, pass_fds=fds)
    if done.returncode:
        words = done.stderr.strip()
        numbers = [number for number in errno.errorcode if re.search(re.escape(os.strerror(number)), words)]
        raise OSError(numbers[0] if numbers else errno.EIO, words)
    return done.stdout
