"""Wires that lose, delay, repeat, reorder and cut what they carry."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from fastapi import FastAPI

from comity.wire.transport import Request, Response, TransportError
from support.faultsim.machine import Machine, here
from support.virtual import exchange


@dataclass(frozen=True)
class Weather:
    """Chances, each of one message; `delay` is a mean in seconds, a `late` message is a hundred times as late."""

    lost: float = 0.0
    answer_lost: float = 0.0
    repeated: float = 0.0
    late: float = 0.0
    cut: float = 0.0
    answer_cut: float = 0.0
    delay: float = 0.02


@dataclass(eq=False)
class Network:
    """Between everybody and the server. `cut_off` are those whom nothing reaches; `twice` is what must be empty.

    A repeated request that was taken both times by one process is a replay that went through.
    """

    server: Machine
    random: Random
    weather: Weather
    note: Callable[[str], None]
    app: FastAPI | None = None
    cut_off: set[str] = field(default_factory=set)
    twice: list[str] = field(default_factory=list)
    _copies: set[asyncio.Task[Response]] = field(default_factory=set)

    def chance(self, likely: float) -> bool:
        return self.random.random() < likely

    async def travel(self) -> None:
        mean = self.weather.delay * (100.0 if self.chance(self.weather.late) else 1.0)
        await asyncio.sleep(self.random.expovariate(1.0 / mean))

    async def deliver(self, request: Request, *, whole: bool = True) -> Response:
        """What the server says, if it lives to say it; that nobody waits for the answer any more does not stop it."""
        if self.app is None:
            raise TransportError("no connection: nobody listens")
        handled = self.server.start(exchange(self.app, request, whole=whole))
        try:
            await asyncio.wait([handled])
        finally:
            # Whoever asked may be gone; the server works on.
            handled.add_done_callback(_forget)
        if handled.cancelled() or handled.exception() is not None:
            raise TransportError("the connection was lost")
        return handled.result()

    async def deliver_twice(self, request: Request) -> Response:
        """The same bytes reach the server again, sooner or later than the first time."""
        boots = self.server.boots

        async def again() -> Response:
            await self.travel()
            return await self.deliver(request)

        copy = asyncio.get_running_loop().create_task(again())
        self._copies.add(copy)

        def compare(task: asyncio.Task[Response]) -> None:
            self._copies.discard(task)
            _forget(task)
            taken = not task.cancelled() and task.exception() is None and task.result().status < 300
            if taken and first < 300 and boots == self.server.boots and request.path != "/v1/about":
                self.twice.append(f"{request.method} {request.path}")

        first = 599
        copy.add_done_callback(compare)
        await self.travel()
        response = await self.deliver(request)
        first = response.status
        return response


@dataclass(eq=False)
class Line:
    """One machine's way to the server: a transport."""

    network: Network
    machine: Machine

    async def send(self, request: Request, *, timeout: float) -> Response:
        here()
        try:
            async with asyncio.timeout(timeout):
                return await self._exchange(request)
        except TimeoutError:
            raise TransportError("no answer came in time") from None

    async def close(self) -> None:
        """Nothing is held."""

    async def _exchange(self, request: Request) -> Response:
        network, weather, name = self.network, self.network.weather, f"{self.machine.name}: {request.path}"
        await network.travel()
        if self.machine.name in network.cut_off or network.chance(weather.lost):
            network.note(f"{name} is lost")
            await asyncio.Event().wait()
        if network.chance(weather.cut) and request.body:
            network.note(f"{name} is cut")
            await network.deliver(request, whole=False)
            raise TransportError("the connection was lost")
        if network.chance(weather.repeated):
            response = await network.deliver_twice(request)
        else:
            response = await network.deliver(request)
        if self.machine.name in network.cut_off or network.chance(weather.answer_lost):
            network.note(f"{name}: the answer {response.status} is lost")
            await asyncio.Event().wait()
        await network.travel()
        if network.chance(weather.answer_cut):
            network.note(f"{name}: the answer {response.status} is cut")
            raise TransportError("the answer ended too early")
        return response


def _forget(task: asyncio.Task[Response]) -> None:
    if not task.cancelled():
        task.exception()
