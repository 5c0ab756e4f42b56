"""All attacks of a manager that was taken over, by their names."""

from tests.attack import on_files, on_kernel, on_namespaces, on_processes
from tests.attack.on_files import SECRETS
from tests.attack.registry import ATTACKS, SESSION_KEYRING, SYS_ADD_KEY, SYS_KEYCTL, Attack, Target, check, libc

__all__ = [
    "ATTACKS",
    "SECRETS",
    "SESSION_KEYRING",
    "SYS_ADD_KEY",
    "SYS_KEYCTL",
    "Attack",
    "Target",
    "check",
    "libc",
    "on_files",
    "on_kernel",
    "on_namespaces",
    "on_processes",
]
