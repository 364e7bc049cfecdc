"""Requests and answers, counted around the application: how many, how long, and how many bytes, by route."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"))
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Traffic:
    """An application around `app`. A path that is no route's counts as `none`, a strange method as `other`."""

    def __init__(
        self, app: ASGIApp, registry: CollectorRegistry, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._app, self._clock = app, clock
        self._requests = Counter(
            "comity_requests", "Requests answered.", ["method", "route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "comity_request_seconds",
            "Requests, by the time to the end of the answer, waits for something to happen included.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._received = Counter("comity_received_bytes", "Bytes of bodies received.", ["route"], registry=registry)
        self._sent = Counter("comity_sent_bytes", "Bytes of bodies sent.", ["route"], registry=registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received, sent, status, started = 0, 0, 0, self._clock()

        async def receiving() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def sending(message: Message) -> None:
            nonlocal sent, status
            status = message.get("status", status)
            sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receiving, sending)
        finally:
            route = _route(scope)
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._requests.labels(method, route, str(status) if status else "none").inc()
            self._seconds.labels(route).observe(self._clock() - started)
            self._received.labels(route).inc(received)
            self._sent.labels(route).inc(sent)


def _route(scope: Scope) -> str:
    """The route's template, which its router has left in the scope."""
    found: Any = scope.get("route")
    return str(getattr(found, "path", "none"))
