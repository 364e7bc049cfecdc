"""Clients that begin and do not go on: each is cut off, and everybody else is served meanwhile.

The quick tests speak to uvicorn in this process with bounds of a fraction of a second; the long one to a real server
with the bounds that it has.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from comity.demo.processes import Processes
from comity.server import protocol
from comity.server.protocol import BoundedProtocol
from support.deployments import World
from support.live import serve, until

HEAD = b"GET /v1/about HTTP/1.1\r\nhost: comity.test\r\n"
BODY = b"POST /v1/enrolments HTTP/1.1\r\nhost: comity.test\r\ncontent-length: 1000\r\n\r\n"


@contextlib.asynccontextmanager
async def served(app: Any) -> AsyncIterator[int]:
    """An application on a port of loopback."""
    settings = uvicorn.Config(
        app, host="127.0.0.1", port=0, http=BoundedProtocol, lifespan="off", log_config=None, access_log=False
    )
    server = uvicorn.Server(settings)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """The status of a whole, quick request."""
    writer.write(HEAD + b"\r\n")
    status = int((await reader.readline()).split()[1])
    size = 0
    while (line := await reader.readline()) != b"\r\n":
        name, _, value = line.partition(b":")
        size = int(value) if name.lower() == b"content-length" else size
    await reader.readexactly(size)
    return status


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    for name in ("HEAD_SECONDS", "BODY_SECONDS", "REST_SECONDS", "ANSWER_SECONDS"):
        monkeypatch.setattr(protocol, name, 0.3)
    world = World(tmp_path, now=time.time)
    world.journal().close()
    return world


class TestSlowRequests:
    """CWE-400, "slowloris": a connection that costs its client nothing must not cost the server a place for ever."""

    @pytest.mark.parametrize(
        ("beginning", "drop"),
        [
            (b"", b""),
            (b"", b"\r\n"),
            (b"GET /v1", b"x"),
            (HEAD, b"x-more: 1\r\n"),
            (BODY, b""),
            (BODY, b"{"),
            (HEAD + b"\r\n", b"\r\n"),
            (HEAD + b"content-length: 1000\r\n\r\n", b"x"),
        ],
        ids=[
            "nothing at all",
            "empty lines for ever",
            "a request line without an end",
            "header fields without an end",
            "no body",
            "a body by drops",
            "an answered request, then empty lines for ever",
            "an answered request whose body comes by drops",
        ],
    )
    def test_a_request_that_does_not_come_is_cut_off_in_time(self, beginning: bytes, drop: bytes, world: World) -> None:
        async def cut() -> None:
            async with served(world.serve().app) as port:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(beginning)
                began = time.monotonic()

                async def dripping() -> None:
                    while True:
                        await asyncio.sleep(0.05)
                        writer.write(drop)

                drops = asyncio.create_task(dripping()) if drop else None
                with contextlib.suppress(ConnectionError):
                    await asyncio.wait_for(reader.read(-1), 5)
                assert time.monotonic() - began > 0.2
                if drops is not None:
                    drops.cancel()
                fresh = await asyncio.open_connection("127.0.0.1", port)
                assert await answer(*fresh) == 200
                fresh[1].close()
                writer.close()

        asyncio.run(cut())

    def test_an_idle_connection_between_requests_is_kept(self, world: World) -> None:
        async def statuses() -> list[int]:
            async with served(world.serve().app) as port:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                found = []
                for _ in range(3):
                    found.append(await answer(reader, writer))
                    await asyncio.sleep(0.5)
                writer.close()
                return found

        assert asyncio.run(statuses()) == [200, 200, 200]


class TestLongHeads:
    """CWE-770: header fields are read before anybody is known, so their size is bounded."""

    @pytest.mark.parametrize(
        "piece", [b"x-more: " + b"1" * 1000 + b"\r\n", b"1" * 1000], ids=["many fields", "one field without an end"]
    )
    def test_a_head_without_an_end_is_cut_off_at_its_bound(
        self, piece: bytes, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(protocol, "HEAD_SECONDS", 30.0)

        async def sent() -> int:
            async with served(world.serve().app) as port:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(HEAD + (b"" if piece.endswith(b"\n") else b"x-more: "))
                taken = 0
                with contextlib.suppress(ConnectionError):
                    while taken < 10_000_000:
                        writer.write(piece)
                        await writer.drain()
                        await asyncio.sleep(0)
                        taken += len(piece)
                writer.close()
                return taken

        assert asyncio.run(sent()) < 5_000_000

    def test_an_ordinary_head_with_many_fields_is_read(self, world: World) -> None:
        async def status() -> bytes:
            async with served(world.serve().app) as port:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(HEAD + b"x-more: 1\r\n" * 2000 + b"connection: close\r\n\r\n")
                line = await reader.readline()
                writer.close()
                return line

        assert b"200" in asyncio.run(status())


class TestAnswersThatAreNotTaken:
    """CWE-400, slow read: an answer that nobody takes is not kept for ever."""

    def test_a_client_that_does_not_read_is_cut_off(self, world: World) -> None:
        ended = asyncio.Event()

        async def large(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": bytes(32 << 20)})
            ended.set()

        async def cut() -> None:
            async with served(large) as port:
                _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
                writer.write(HEAD + b"\r\n")
                await asyncio.wait_for(ended.wait(), 20)
                writer.close()

        asyncio.run(cut())


@pytest.mark.long
class TestFlood:
    """A real server with TLS, and many connections of each kind that do not go on."""

    def test_all_are_cut_off_and_others_are_served_meanwhile(self, tmp_path: Path) -> None:
        with Processes(tmp_path) as processes:
            live = serve(tmp_path, processes)
            until(lambda: live.asks("nodes", "list").exit_code == 0)
            port = next(int(line.split("=")[1]) for line in toml(live.folder) if line.startswith("port"))
            lasted = asyncio.run(flood(port))
            assert live.asks("nodes", "list").exit_code == 0
        assert max(lasted["handshake"]) < 75
        assert max(lasted["silent"]) < 30
        assert max(lasted["head"]) < 30


def toml(folder: Path) -> list[str]:
    return (folder / "server" / "server.toml").read_text().splitlines()


async def flood(port: int, each: int = 40) -> dict[str, list[float]]:
    """How long the server held connections of each kind, while whole requests were answered at once."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE

    async def held(begin: Callable[[asyncio.StreamWriter], Awaitable[None]], secure: bool) -> float:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting if secure else None)
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            await begin(writer)
            await asyncio.wait_for(reader.read(-1), 100)
        writer.close()
        return time.monotonic() - began

    async def nothing(writer: asyncio.StreamWriter) -> None:
        return None

    async def head(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b"x: 1\r\n")
                await writer.drain()
                await asyncio.sleep(2)

    kinds = {"handshake": (nothing, False), "silent": (nothing, True), "head": (head, True)}
    tasks = {name: [asyncio.create_task(held(*kind)) for _ in range(each)] for name, kind in kinds.items()}
    for _ in range(5):
        await asyncio.sleep(1)
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
        assert await answer(reader, writer) == 200
        assert time.monotonic() - began < 2
        writer.close()
    return {name: list(await asyncio.gather(*waiting)) for name, waiting in tasks.items()}
