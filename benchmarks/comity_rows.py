"""What `deployment.py` measures at Comity: each function makes a deployment of its own and returns figures by name."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median

import light
import measure
from arrivals import arrivals
from deployed import LOOPBACK, Loopback, begin, carry_out, loopback, started, untrained
from tap import Tap, tapped

from comity.core.seeds import Seed
from comity.demo.processes import free_port
from comity.wire.digests import blob_of_file
from comity.wire.http import HttpTransport
from comity.wire.messages import PART_BYTES
from comity.wire.transport import Request, TransportError

Figures = Mapping[str, float]
"""Seconds and bytes."""

_SETTLE = 5.0
_MINUTE = 60.0
_WARM = 2
"""Rounds that do not count: in the first the nodes start the processes that compute."""
_REPEATS = 5
_AT_ONCE = 50


@asynccontextmanager
async def federation(parties: int) -> AsyncIterator[Loopback]:
    """A server and so many nodes that know the job of these rows."""
    with tempfile.TemporaryDirectory(prefix="comity-bench-") as folder, loopback(Path(folder)) as here:
        await started(here)
        await here.add_nodes(names(parties), untrained(1))
        yield here


def names(count: int) -> list[str]:
    return [f"party-{number:04d}" for number in range(count)]


async def rounds(parties: int, count: int) -> Figures:
    """Rounds per second without training, the time from a round's last contribution to the next model, and memory."""
    async with federation(parties) as here:
        with arrivals([home.cache for home in here.homes]) as arrived:
            async with here.operator() as client:
                facts, done = await carry_out(client, untrained(_WARM + count), names(parties), here.folder)
        if facts.state != "completed" or any(len(one.parties) < parties for one in done):
            raise RuntimeError(f"the run {facts.state}: {facts.detail}")
        ends = [one.time for one in done]
        return {
            "seconds a round": median(after - before for before, after in pairwise(ends[_WARM - 1 :])),
            "hand-over": median(_hand_overs(here, arrived)[_WARM - 1 :]),
            "peak of the server": measure.peak_resident(here.server),
            "peak of a node": fmean(resident(here.pid(name)) for name in names(parties)),
        }


def _hand_overs(here: Loopback, arrived: Mapping[str, float]) -> list[float]:
    """For each round but the last: seconds from its last contribution to the first node that has the next model whole.

    The former is the time of its record, taken before that was written; the latter is when the node's file of the model
    got its name.
    """
    with closing(sqlite3.connect(f"file:{here.journal}?mode=ro", uri=True)) as journal:
        records = journal.execute("SELECT at, kind, body FROM records ORDER BY seq").fetchall()
    found, last = [], 0.0
    for at, kind, body in records:
        if kind == "contributed":
            last = at
        if kind == "aggregated":
            digest = json.loads(body)["broadcast"]["weights"]["digest"]
            if digest in arrived:
                found.append(arrived[digest] - last)
    return found


async def wire(parties: int, count: int) -> Figures:
    """Bytes per round and party: what a run of `count` rounds more adds, as a forwarder on the way counts them."""
    port = free_port()
    async with _tapped_federation(parties, port) as (here, tap):
        seen = []
        for length in (1, 1, 1 + count):  # the first one also brings what stays at a party
            before = tap.up, tap.down
            async with here.operator() as client:
                await carry_out(client, untrained(length), names(parties), here.folder)
            seen.append((tap.up - before[0], tap.down - before[1]))
    _, (up, down), (more_up, more_down) = seen
    return {"bytes up": (more_up - up) / count / parties, "bytes down": (more_down - down) / count / parties}


@asynccontextmanager
async def _tapped_federation(parties: int, port: int) -> AsyncIterator[tuple[Loopback, Tap]]:
    with tempfile.TemporaryDirectory(prefix="comity-bench-") as folder, loopback(Path(folder), port) as here:
        async with tapped(port, here.port) as tap:
            await started(here)
            await here.add_nodes(names(parties), untrained(1))
            yield here, tap


async def idle(parties: int, seconds: float) -> Figures:
    """What a server and its nodes take that have nothing to do: seconds of a processor in a minute, and memory."""
    async with federation(parties) as here:
        nodes = [here.pid(name) for name in names(parties)]
        await asyncio.sleep(_SETTLE)
        server, each = await asyncio.gather(busy([here.server], seconds), busy(nodes, seconds))
        return {
            "busy server": server,
            "busy node": each / parties,
            "memory of the server": resident(here.server),
            "memory of a node": fmean(map(resident, nodes)),
        }


async def busy(roots: Sequence[int], seconds: float) -> float:
    """Seconds of a processor in a minute, of all processes at or below `roots`."""
    pids = [pid for root in roots for pid in measure.descendants(root)]
    before = sum(map(measure.processor_seconds, pids))
    await asyncio.sleep(seconds)
    return (sum(map(measure.processor_seconds, pids)) - before) * _MINUTE / seconds


def resident(root: int) -> int:
    """Bytes that a process and those below it have resident."""
    return sum(map(measure.resident, measure.descendants(root)))


async def upload(size: int) -> Figures:
    """Bytes a second: uploads of `size` random bytes by a member, beside bodies of the same size to a bare server."""
    with tempfile.TemporaryDirectory(prefix="comity-bench-") as folder, loopback(Path(folder)) as here:
        keys = light.enrolled(here, names(1))
        await started(here)
        [party] = light.parties(here, keys)
        port = free_port()
        files = [str(here.home.path / name) for name in ("server.pem", "server.key")]
        words = [sys.executable, str(Path(__file__).with_name("bare.py")), str(port), *files]
        bare = subprocess.Popen(words)
        transport = HttpTransport(f"https://{LOOPBACK}:{port}", here.identity.authority)
        try:
            await _first_answer(transport)
            plain, signed = [], []
            for repeat in range(_REPEATS):
                file = here.folder / "upload"
                file.write_bytes(Seed.of(repeat).rng().bytes(size))
                plain.append(await _seconds(_bodies(transport, file)))
                # A node knows the digests of its answer before it sends it.
                signed.append(await _seconds(party.session.upload(file, blob_of_file(file))))
            return {"bare": size / median(plain), "uploads": size / median(signed)}
        finally:
            await transport.close()
            await light.leave([party])
            bare.terminate()
            bare.wait()


async def _seconds(work: Awaitable[object]) -> float:
    begun = time.perf_counter()
    await work
    return time.perf_counter() - begun


async def _bodies(transport: HttpTransport, file: Path) -> None:
    """The file's parts, one after another, as they are."""
    with file.open("rb") as source:
        while part := source.read(PART_BYTES):
            await transport.send(Request("PUT", "/", {}, {}, part), timeout=_MINUTE)


async def _first_answer(transport: HttpTransport) -> None:
    end = time.monotonic() + _MINUTE
    while True:
        try:
            await transport.send(Request("GET", "/"), timeout=_MINUTE)
            return
        except TransportError:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.1)


async def crowd(count: int, seconds: float) -> Figures:
    """`count` parties that are connected and idle, and how long it takes until all of them are told of a run."""
    with tempfile.TemporaryDirectory(prefix="comity-bench-") as folder, loopback(Path(folder)) as here:
        keys = light.enrolled(here, names(count))
        await started(here)
        alone = measure.resident(here.server)
        crowd = light.parties(here, keys)
        begun = time.perf_counter()
        waiting: list[asyncio.Task[float]] = []
        for start in range(0, count, _AT_ONCE):
            waiting += [asyncio.create_task(party.wait_for_work()) for party in crowd[start : start + _AT_ONCE]]
            await asyncio.sleep(0.2)
        try:
            await here.until(lambda: _connected(here, count), _MINUTE, f"{count} connections")
            connected = time.perf_counter() - begun
            await asyncio.sleep(_SETTLE)
            idling, memory = await busy([here.server], seconds), measure.resident(here.server)
            async with here.operator() as client:
                submitted = time.perf_counter()
                run = await begin(client, untrained(1), names(count), here.folder)
                told = max(await asyncio.gather(*waiting)) - submitted
                await client.stop(run)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            await light.leave(crowd)
        return {
            "connected": connected,
            "busy server": idling,
            "memory of the server": memory,
            "a connection": (memory - alone) / count,
            "told": told,
        }


async def _connected(here: Loopback, count: int) -> bool:
    """Whether so many connections to the server are established."""
    return measure.connections(here.server) >= count
