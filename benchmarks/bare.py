"""The bare server that uploads are held against: `python bare.py PORT CERTIFICATE KEY` takes bodies and forgets them.

The same server library with the same settings as Comity's, over TLS, with no application between.
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn


async def forget(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    port, certificate, key = sys.argv[1:]
    uvicorn.run(
        forget,
        host="127.0.0.1",
        port=int(port),
        ssl_certfile=certificate,
        ssl_keyfile=key,
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
    )
