"""The pulse of a server: `python pulse.py ADDRESS AUTHORITY` asks `/healthz` every 50 ms over one connection.

Writes a line `TIME SECONDS` for every answer: when it was asked for (seconds since 1970), and how long it took. While
the server's event loop is held up by something, nobody is answered.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from comity.wire.http import HttpTransport
from comity.wire.transport import Request

_PAUSE = 0.05
_PATIENCE = 600.0


async def watch(address: str, authority: str) -> None:
    transport = HttpTransport(address, authority)
    while True:
        asked = time.time()
        await transport.send(Request("GET", "/healthz"), timeout=_PATIENCE)
        took = time.time() - asked
        print(f"{asked:.3f} {took:.4f}", flush=True)
        await asyncio.sleep(max(0.0, _PAUSE - took))


if __name__ == "__main__":
    asyncio.run(watch(sys.argv[1], Path(sys.argv[2]).read_text("ascii")))
