"""A virtual machine: qemu with Debian's kernel and a busybox in memory, on a tap that it opens. No KVM needed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from tests.hosts.cache import alone_in
from tests.hosts.host import Host
from tests.hosts.waiting import wait_until

CACHE = Path("/var/cache/nsvisor-test-vm")
PACKAGE = "linux-image-cloud-amd64"  # names the kernel's own
BUILD_TIMEOUT = 300.0  # seconds to download and unpack a kernel; 10 are usual
BOOT_TIMEOUT = 120.0  # seconds; without KVM 10 are usual
# In the order in which they need each other; of those that are built in there is no file.
MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "failover",
           "net_failover", "virtio_net")  # fmt: skip
# Asks for a lease, then does what the command line of the kernel says; each line of its output begins with `guest:`.
INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
for module in {modules}; do [ ! -e /m/$module.ko ] || insmod /m/$module.ko; done
ip link set lo up
ip link set eth0 up
for word in $(cat /proc/cmdline); do
    case $word in page=*) page=${{word#page=}};; host=*) host=${{word#host=}};; esac
done
udhcpc -i eth0 -n -t 60 -T 1 -x hostname:$host -s /lease > /dev/null
echo "guest: address $(ip -4 -o addr show eth0 | while read -r _ _ _ address _; do echo $address; done)"
gateway=$(ip route | while read -r to _ address _; do [ "$to" != default ] || echo $address; done)
ping -c 1 -W 30 $gateway > /dev/null && echo "guest: ping $gateway"
echo "guest: page $(wget -q -O - $page)"
while :; do sleep 60; done
"""
LEASE = """#!/bin/busybox sh
export PATH=/bin
[ "$1" = bound ] || exit 0
ip addr add $ip/$mask dev eth0
ip route add default via $router
"""


class Unavailable(Exception):  # noqa: N818  # a reason to skip
    """There is no qemu or no kernel; the text says why."""


def image() -> tuple[Path, Path]:
    """Return a kernel and an initial file system; make them if they aren't there. Raises Unavailable."""
    for command in ("qemu-system-x86_64", "busybox", "cpio", "apt-get"):
        if shutil.which(command) is None:
            raise Unavailable(f"no {command}; see scripts/packages")
    digest = hashlib.sha256((INIT + LEASE + " ".join(MODULES)).encode()).hexdigest()[:12]
    folder = CACHE / digest
    with alone_in(CACHE):
        if not folder.exists():
            making = CACHE / f"making-{os.getpid()}"
            making.mkdir(parents=True)
            try:
                _make(making)
                making.rename(folder)
            except (subprocess.SubprocessError, OSError) as exc:
                words = getattr(exc, "stderr", "") or str(exc)
                raise Unavailable(f"no kernel for a virtual machine: {words.strip()}") from exc
            finally:
                shutil.rmtree(making, ignore_errors=True)
    return folder / "vmlinuz", folder / "initrd"


def _make(folder: Path) -> None:
    depends = _run(["apt-cache", "depends", PACKAGE], folder)
    name = next((line.split()[-1] for line in depends.splitlines() if "Depends: linux-image" in line), "")
    if not name:
        raise OSError(f"the package lists don't have {PACKAGE}")
    _run(["apt-get", "download", name], folder)
    _run(["dpkg", "-x", str(next(folder.glob("*.deb"))), "deb"], folder)
    shutil.copy(next(folder.glob("deb/boot/vmlinuz-*")), folder / "vmlinuz")
    root = folder / "root"
    for made in ("bin", "proc", "sys", "dev", "m", "lib64"):
        (root / made).mkdir(parents=True)
    for module in MODULES:
        for file in folder.glob(f"deb/lib/modules/**/{module}.ko"):
            shutil.copy(file, root / "m")
    busybox = str(shutil.which("busybox"))
    shutil.copy(busybox, root / "bin/busybox")
    libraries = [word for word in _run(["ldd", busybox], folder).split() if word.startswith("/")]
    for library in libraries:
        (root / library[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, root / library[1:])
    (root / "init").write_text(INIT.format(modules=" ".join(MODULES)))
    (root / "lease").write_text(LEASE)
    for script in ("init", "lease"):
        (root / script).chmod(0o755)
    _run(["sh", "-c", "cd root && find . | cpio -o -H newc --quiet | gzip -1 > ../initrd"], folder)
    for rest in ("deb", "root"):
        shutil.rmtree(folder / rest)
    next(folder.glob("*.deb")).unlink()


def _run(argv: list[str], folder: Path) -> str:
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=BUILD_TIMEOUT, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


class VirtualMachine:
    """A running guest of a host. It ends with the host, or by `stop`."""

    def __init__(self, host: Host, tap: str, mac: str, page: str, name: str = "guest") -> None:
        kernel, initrd = image()
        self._console = host.path("/run/console")
        words = f"console=ttyS0 quiet panic=-1 page={page} host={name}"
        argv = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "256", "-nodefaults", "-no-user-config",
                "-no-reboot", "-display", "none", "-serial", "stdio", "-kernel", kernel, "-initrd", initrd,
                "-append", words, "-netdev", f"tap,id=n0,ifname={tap},script=no,downscript=no",
                "-device", f"virtio-net-pci,netdev=n0,mac={mac},romfile="]  # fmt: skip
        with self._console.open("w") as console:
            self._process = host.popen(argv, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT)

    def said(self, word: str) -> str:
        """Return what the guest said of something, when it does. Raises AssertionError with all that it said."""
        return wait_until(lambda: self._find(f"guest: {word} "), BOOT_TIMEOUT, f"the guest's {word}").strip()

    def _find(self, beginning: str) -> str:
        text = self._console.read_text(errors="replace")
        assert self._process.poll() is None, f"qemu ended: {text}"
        lines = [line for line in text.splitlines() if line.startswith(beginning)]
        assert lines, text
        return lines[-1].removeprefix(beginning)

    def stop(self) -> None:
        """Cut its power: its tap goes."""
        self._process.kill()
        self._process.wait()
