"""Says which commands of nft wake a manager: run inside a host, each command a line of standard input, as JSON."""

from __future__ import annotations

import asyncio
import json
import sys

from nsmanager.events import KernelEvents


async def main() -> None:
    events = KernelEvents()
    for line in sys.stdin:
        events.forget()
        nft = await asyncio.create_subprocess_exec("nft", "-f", "-", stdin=asyncio.subprocess.PIPE)
        await nft.communicate(json.loads(line).encode())
        for _ in range(2):  # the kernel has told before nft ended; the loop needs a turn to look
            await asyncio.sleep(0)
        print(json.dumps([nft.returncode, events.happened.is_set()]), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
