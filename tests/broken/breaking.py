"""Breaks the code on purpose, in a copy of the checkout, and sees that a test notices."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = (".git", ".venv", "node_modules", "__pycache__", ".*_cache", ".hypothesis")
PYTHON = ROOT / ".venv/bin/python"
TIMEOUT = 600  # seconds for one test with its fixtures


def broken(test: str, *changes: tuple[str, str, str]) -> int:
    """Replace texts in files of a copy, each (file, old, new), and run a test there.

    `test` is as pytest names it. Returns an exit code: 0 when the test was red and was run by what was changed, 1 when
    it was green, 2 when the break itself didn't go as meant.
    """
    with tempfile.TemporaryDirectory(prefix="nsvisor-broken-") as folder:
        copy = Path(folder, "checkout")
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
        Path(folder).chmod(0o755)
        for file, old, new in changes:
            text = (copy / file).read_text()
            if text.count(old) != 1:
                print(f"{file}: expected once: {old!r}; mend the break", file=sys.stderr)
                return 2
            (copy / file).write_text(text.replace(old, new))
        argv = [str(PYTHON), "-m", "pytest", "-q", "-x", "--tb=short", "-p", "no:cacheprovider", test]
        environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            argv, cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT
        )
    claim = test.rpartition("::")[2].partition("[")[0]
    failed = [line for line in done.stdout.splitlines() if re.match(rf"FAILED .*::{claim}\b", line)]
    if failed:
        print(failed[0].removeprefix("FAILED "))
        return 0
    print(done.stdout[-4000:] + done.stderr[-2000:], file=sys.stderr)
    return 1 if done.returncode == 0 else 2
