"""Virtual time and a network inside one process: the real server application and the real agents, deterministically."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlencode

from fastapi import FastAPI

from comity.wire.transport import Request, Response, TransportError

T = TypeVar("T")


class Stuck(AssertionError):
    """Nobody does anything any more, and nobody waits for a time."""


class _Selector(selectors.SelectSelector):
    """Looks at files without waiting; instead of waiting, time passes."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise Stuck("everybody waits for somebody else")
        self.loop.at += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock moves when there is nothing left to do at its present time."""

    def __init__(self, at: float = 1_000_000.0) -> None:
        selector = _Selector()
        super().__init__(selector)
        selector.loop = self
        self.at = at
        self._clock_resolution = 1e-9  # type: ignore[attr-defined]  # the loop's own

    def time(self) -> float:
        return getattr(self, "at", 0.0)


def run(main: Coroutine[Any, Any, T]) -> T:
    """The outcome of `main` in virtual time."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(main)
    finally:
        if pending := asyncio.all_tasks(loop):
            for task in pending:
                task.cancel()
            loop.run_until_complete(asyncio.wait(pending))
        loop.close()


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
                return await _asgi(self.app, request, self.client)
        except TimeoutError:
            raise TransportError("no answer came in time") from None

    async def close(self) -> None:
        """Nothing is held."""


async def _asgi(app: FastAPI, request: Request, client: str) -> Response:
    """One request through an application, by its ASGI interface."""
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
        if asked:
            await asyncio.Event().wait()
        asked = True
        return {"type": "http.request", "body": request.body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)  # type: ignore[arg-type]  # a scope is a mapping
    start = next(message for message in sent if message["type"] == "http.response.start")
    body = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
    named = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in start["headers"]}
    return Response(start["status"], named, body)
