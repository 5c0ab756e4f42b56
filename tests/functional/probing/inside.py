"""A real prober in a throwaway host, told by lines: `pickle(order)` in base64 in, one JSON line out for each.

Orders: a dict of targets (follow them), or None (only look). What is healthy, the statuses, how often `changed` was
called, and the open descriptors are the answer.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import pickle
import sys
from pathlib import Path

import msgspec

from supervisor.probing import Prober


def look(prober: Prober, changes: int) -> str:
    health = prober.health()
    statuses = {ifname: [msgspec.structs.asdict(s) for s in prober.statuses(ifname)] for ifname in health}
    return msgspec.json.encode(
        {"health": health, "statuses": statuses, "changes": changes, "files": len(os.listdir("/proc/self/fd"))}  # noqa: PTH208
    ).decode()


async def main(run_dir: Path) -> None:
    changes: list[None] = []
    prober = Prober(run_dir, lambda: changes.append(None))
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    task = asyncio.create_task(prober.run())
    print("ready", flush=True)
    while line := await lines.readline():
        if (order := pickle.loads(base64.b64decode(line))) is not None:
            prober.follow(order)
        print(look(prober, len(changes)) if not task.done() else json.dumps({"ended": repr(task)}), flush=True)
    task.cancel()
    await asyncio.wait([task])


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    asyncio.run(main(Path(sys.argv[1])))
