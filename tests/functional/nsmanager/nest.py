"""Bear managers as the supervisor does; run inside a throwaway host. One order a line, one number in answer."""

import asyncio
import os
import sys
from pathlib import Path

from supervisor.spawn import Spawner

RUN_DIR, STATE_DIR = Path("/run/nsvisor"), Path("/var/lib/nsvisor")


async def main() -> None:
    spawner = await Spawner.start()
    loop = asyncio.get_running_loop()
    print("ready", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        match line.split():
            case ["namespace", name, uid]:
                print(await spawner.make_namespace(name, int(uid), 65536), flush=True)
            case ["manager", name, uid, log]:
                file = os.open(log, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
                print(await spawner.spawn_manager(name, int(uid), RUN_DIR, STATE_DIR, file), flush=True)
                os.close(file)


asyncio.run(main())
