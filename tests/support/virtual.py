"""A network inside one process: requests reach the real server application without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI

from comity.wire.transport import Request, Response, TransportError


@dataclass(eq=False)
class Served:
    """An application that is up, as a transport: requests reach it without a network."""

    app: FastAPI
    client: str = "127.0.0.1"
    _up: Any = field(default=None)

    async def start(self) -> None:
        self._up = self.app.router.lifespan_context(self.app)
        await self._up.__aenter__()

    async def stop(self) -> None:
        """As the end of a process without a warning: background tasks end where they are."""
        up, self._up = self._up, None
        await up.__aexit__(None, None, None)

    async def send(self, request: Request, *, timeout: float) -> Response:
        if self._up is None:
            raise TransportError("no connection: nobody listens")
        try:
            async with asyncio.timeout(timeout):
                return await exchange(self.app, request, self.client)
        except TimeoutError:
            raise TransportError("no answer came in time") from None

    async def close(self) -> None:
        """Nothing is held."""


async def exchange(app: FastAPI, request: Request, client: str = "127.0.0.1", *, whole: bool = True) -> Response:
    """One request through an application, by its ASGI interface; one that is not `whole` breaks off in its body."""
    query = urlencode(request.query)
    headers = {"host": "comity.test", "content-length": str(len(request.body)), **request.headers}
    scope: Mapping[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "https",
        "path": request.path,
        "raw_path": request.path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
        "client": (client, 1),
        "server": ("comity.test", 443),
        "state": {},
    }
    sent: list[Any] = []
    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if asked and not whole:
            return {"type": "http.disconnect"}
        if asked:
            await asyncio.Event().wait()
        asked = True
        sent = request.body if whole else request.body[: len(request.body) // 2]
        return {"type": "http.request", "body": sent, "more_body": not whole}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)  # type: ignore[arg-type]  # a scope is a mapping
    start = next((message for message in sent if message["type"] == "http.response.start"), None)
    if start is None:
        raise TransportError("the connection was closed without an answer")
    body = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
    named = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in start["headers"]}
    return Response(start["status"], named, body)
