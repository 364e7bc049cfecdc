"""Requests counted around an application: by route and not by address, whatever the caller makes up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from prometheus_client import CollectorRegistry

from comity.server.traffic import Traffic


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def traffic(registry: CollectorRegistry) -> Traffic:
    app = FastAPI()
    ticks: Iterator[float] = iter(range(0, 1000, 2))

    @app.put("/v1/parts/{digest}")
    async def put(digest: str, request: Request) -> Response:
        return Response(b"y" * len(await request.body()), 201)

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("as it happens")

    return Traffic(app, registry, lambda: float(next(ticks)))


async def ask(app: Traffic, method: str, path: str, *pieces: bytes) -> None:
    waiting = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    waiting.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> Any:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        pass

    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": [], "root_path": ""}
    await app(scope, receive, send)


def test_a_request_counts_by_its_route_with_its_bytes_and_its_time(
    traffic: Traffic, registry: CollectorRegistry
) -> None:
    for name in ("a", "b"):
        asyncio.run(ask(traffic, "PUT", f"/v1/parts/{name}", b"xxx", b"xx"))
    route = {"route": "/v1/parts/{digest}"}
    assert registry.get_sample_value("comity_requests_total", {"method": "PUT", "status": "201", **route}) == 2
    assert registry.get_sample_value("comity_received_bytes_total", route) == 10
    assert registry.get_sample_value("comity_sent_bytes_total", route) == 10
    assert registry.get_sample_value("comity_request_seconds_count", route) == 2
    assert registry.get_sample_value("comity_request_seconds_sum", route) == 4


def test_what_callers_make_up_makes_no_series(traffic: Traffic, registry: CollectorRegistry) -> None:
    for number in range(20):
        asyncio.run(ask(traffic, f"MADE{number}", f"/v1/made-up/{number}"))
        asyncio.run(ask(traffic, f"MADE{number}", f"/v1/parts/{number}"))
    samples = [
        sample for metric in registry.collect() for sample in metric.samples if sample.name == "comity_requests_total"
    ]
    assert sorted((s.labels["method"], s.labels["route"], s.labels["status"], s.value) for s in samples) == [
        ("other", "/v1/parts/{digest}", "405", 20),
        ("other", "none", "404", 20),
    ]


def test_a_request_that_breaks_the_application_is_counted_and_breaks_on(
    traffic: Traffic, registry: CollectorRegistry
) -> None:
    with pytest.raises(RuntimeError, match="as it happens"):
        asyncio.run(ask(traffic, "GET", "/broken"))
    counted = {"method": "GET", "route": "/broken", "status": "500"}
    assert registry.get_sample_value("comity_requests_total", counted) == 1


def test_what_is_no_request_passes(registry: CollectorRegistry) -> None:
    passed: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        passed.append(scope["type"])

    asyncio.run(ask_lifespan(Traffic(app, registry)))
    assert passed == ["lifespan"]
    assert not [s for metric in registry.collect() for s in metric.samples if s.name == "comity_requests_total"]


async def ask_lifespan(app: Traffic) -> None:
    async def nothing(*message: Any) -> Any:
        return {}

    await app({"type": "lifespan"}, nothing, nothing)
