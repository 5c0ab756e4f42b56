"""An HTTP server as probes may meet one: `server.py ADDRESS PORT STATUS [CROWD]`.

It answers each GET by the status, but none before CROWD of them wait at the same time, if that is given.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import sys


async def main(address: str, port: str, status: str, crowd: str = "0") -> None:
    waiting = 0
    enough = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal waiting
        try:
            await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):  # a probe of the connection alone
            writer.close()
            return
        waiting += 1
        if waiting >= int(crowd):
            enough.set()
        await enough.wait()
        writer.write(f"HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\n\r\n".encode())
        writer.close()

    family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    server = await asyncio.start_server(serve, address, int(port), family=family, backlog=128)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
