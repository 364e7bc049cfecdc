"""A model of gigabytes through a real server: its peak memory, the time, and how long nobody else is answered.

    python benchmarks/large_model.py --folder FOLDER [--quick] [--json PATH] [--write-docs]

FOLDER is emptied of what was written to it; the largest case needs 51 GB there. Parties are light: sessions,
signatures, downloads and uploads are real, and what they contribute is drawn from a seed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from time import perf_counter

import light
import measure
import numpy as np
from deployed import DATASET, NAME, Loopback, loopback, started
from large_vectors import Drawn, header, moved, stored_chunk
from light import LightParty

import comity as ct
from comity.core import manifest
from comity.core.layout import Layout
from comity.core.seeds import Seed
from comity.deployment.client import Client
from comity.jobs.job import Job
from comity.learners.described import Described
from comity.wire.client import Session
from comity.wire.http import HttpTransport
from comity.wire.messages import Contributed, RoundFacts, RunFacts, Submit

DOCS = Path(__file__).resolve().parents[1] / "docs" / "speed.md"
PACKAGES = ("comity", "fastapi", "uvicorn", "aiohttp", "numpy", "obstore")
GB = 1e9
_LOOKS = 5
"""So many chunks of the new model are compared with what they should be."""
_PATIENCE = 1800.0
_AT_ONCE = 3
"""So many parties have a whole model on this machine's disk at a time."""


@dataclass(frozen=True)
class Case:
    size: int
    parties: int


FULL = tuple(
    Case(*case) for case in [(250_000_000, 3), (250_000_000, 6), (250_000_000, 12), (750_000_000, 3), (750_000_000, 6)]
)
QUICK = (Case(300_000_000, 3), Case(300_000_000, 6))


@dataclass
class Result:
    """Bytes and seconds; `stalls` are the longest waits for an answer of `/healthz` by what was going on."""

    case: Case
    before: int = 0
    peak: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    stalls: dict[str, float] = field(default_factory=dict)


async def measured(case: Case, folder: Path) -> Result:
    """One round. Raises `RuntimeError` where the model is not the weighted mean, number for number."""
    names = [f"party-{number:02d}" for number in range(case.parties)]
    with loopback(folder) as here:
        keys = light.enrolled(here, names)
        await started(here)
        result = Result(case, before=measure.resident(here.server))
        pulse, beats = _pulse(here)
        parties = light.parties(here, keys)
        marks = {"begin": time.time()}
        try:
            async with here.operator() as client:
                run = await _submitted(here, case, names)
                marks["submit"] = time.time()
                turns = asyncio.Semaphore(_AT_ONCE)
                given = await asyncio.gather(*(_take_part(p, run, case, here, turns) for p in parties))
                marks["transfer"] = time.time()
                await _contribute(given)
                marks["contributions"] = time.time()
                facts, [done] = await _ended(client, run)
                marks["aggregation"] = time.time()
                result.peak = measure.peak_resident(here.server)
                await _check(client, facts, done, case, here.folder)
        finally:
            pulse.terminate()
            pulse.wait()
            await light.leave(parties)
        times = list(marks.items())
        answers = [tuple(map(float, line.split())) for line in beats.read_text().splitlines()]
        for (_, since), (name, until) in pairwise(times):
            result.seconds[name] = until - since
            during = [took for asked, took in answers if asked < until and asked + took > since]
            result.stalls[name] = max(during, default=0.0)
        return result


def _pulse(here: Loopback) -> tuple[subprocess.Popen[bytes], Path]:
    authority, beats = here.folder / "authority.pem", here.folder / "pulse.txt"
    authority.write_text(here.identity.authority or "")
    words = [sys.executable, str(Path(__file__).with_name("pulse.py")), here.address, str(authority)]
    with beats.open("wb") as out:
        return subprocess.Popen(words, stdout=out), beats


def _start(case: Case) -> Drawn:
    return Drawn(Seed.of(0).child("start"), case.size)


def _change(case: Case, party: str) -> Drawn:
    return Drawn(Seed.of(0).child("change", party=party), case.size)


def _weight(party: str) -> float:
    return 100.0 + int(party.rpartition("-")[2])


async def _submitted(here: Loopback, case: Case, names: Sequence[str]) -> str:
    """Submit a job with a model of which there is only the layout, and a first state that was drawn."""
    layout = Layout.build([("weights", (case.size,), "float32", "shared")])
    job = Job(ct.FedAvg(Described(layout), ct.LocalSGD(lr=0.1, epochs=1)), ct.Rounds(count=1), seed=1)
    transport = HttpTransport(here.address, here.identity.authority)
    session = Session(transport, here.identity.signing_key(), NAME, time.time)
    file = here.folder / "start"
    try:
        await _write(file, _start(case))
        start = await session.upload(file)
        file.unlink()
        wish = Submit(
            run=secrets.token_hex(8),
            manifest=job.to_json(),
            layout=manifest.canonical(manifest.encode(layout)),
            start=start,
            dataset=DATASET,
            nodes=tuple(names),
        )
        facts = await session.call("POST", "/v1/runs", wish, RunFacts, timeout=_PATIENCE)
    finally:
        await session.close()
    assert facts is not None
    return facts.id


async def _write(file: Path, vector: Drawn) -> None:
    with file.open("wb") as sink:
        sink.write(header(vector.size))
        for number in range(vector.chunks):
            sink.write(vector.chunk(number).tobytes())
            await asyncio.sleep(0)


@dataclass(frozen=True)
class Prepared:
    """A contribution whose vectors are at the server."""

    party: LightParty
    run: str
    lease: int
    given: Contributed
    present: asyncio.Task[None]


async def _take_part(party: LightParty, run: str, case: Case, here: Loopback, turns: asyncio.Semaphore) -> Prepared:
    """Download the model, and upload what this party would contribute."""
    assignment = await party.assignment(run)
    present = asyncio.create_task(party.stay(assignment))
    file = here.folder / party.name
    async with turns:
        blob = assignment.broadcast["weights"]
        await party.session.download(f"/v1/runs/{run}/blobs/{blob.digest}", blob, file)
        file.unlink()
        await _write(file, _change(case, party.name))
        vectors = await party.session.upload(file)
        file.unlink()
    given = Contributed(vectors=vectors, weight=_weight(party.name), metrics={"loss": (1.0, 1.0)})
    return Prepared(party, run, assignment.lease, given, present)


async def _contribute(prepared: Sequence[Prepared]) -> None:
    for one in prepared:
        verdict = await one.party.contribute(one.run, one.lease, one.given)
        one.present.cancel()
        with suppress(asyncio.CancelledError):
            await one.present
        if not verdict.accepted:
            raise RuntimeError(f"{one.party.name} was refused: {verdict.reason}: {verdict.detail}")


async def _ended(client: Client, run: str) -> tuple[RunFacts, Sequence[RoundFacts]]:
    while True:
        answer = await client.watch(run, 1)
        if answer.run.state != "running":
            return answer.run, (await client.watch(run, wait=False)).rounds


async def _check(client: Client, facts: RunFacts, done: RoundFacts, case: Case, folder: Path) -> None:
    file = folder / "model"
    await client.state(facts, file)
    start, changes = _start(case), [_change(case, party) for party in done.parties]
    for number in random.sample(range(start.chunks), min(_LOOKS, start.chunks)):
        expected = moved(start.chunk(number), [change.chunk(number) for change in changes], done.weights)
        if not np.array_equal(stored_chunk(file, case.size, number), expected):
            raise RuntimeError(f"chunk {number} of the new model is not the weighted mean")
    file.unlink()


def report(results: Sequence[Result], source: str) -> str:
    heading = ["model", "parties", "peak, MB", "times the model"]
    heading += ["submit, s", "transfer, s", "contributions, s", "new model, s", "longest stall, s"]
    rows = []
    for result in results:
        size = 4 * result.case.size
        phases = [f"{result.seconds[name]:.0f}" for name in ("submit", "transfer", "contributions", "aggregation")]
        stall, when = max((seconds, name) for name, seconds in result.stalls.items())
        peak = [f"{result.peak / 1e6:,.0f}", f"{result.peak / size:.2f}"]
        rows.append([f"{size / GB:.1f} GB", str(result.case.parties), *peak, *phases, f"{stall:.1f} ({when})"])
    return f"{measure.table(heading, rows)}\n\n{source}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A model of gigabytes through a real server.")
    parser.add_argument("--folder", type=Path, required=True, help="where 51 GB are free")
    parser.add_argument("--quick", action="store_true", help="1.2 GB with three and six parties")
    parser.add_argument(
        "--case", nargs=2, type=int, action="append", metavar=("ENTRIES", "PARTIES"), help="this case alone; repeatable"
    )
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--write-docs", action="store_true", help="write the table into docs/speed.md")
    return parser.parse_args()


def main() -> int:
    given, begun, commit = arguments(), perf_counter(), measure.commit()
    cases = tuple(Case(*case) for case in given.case) if given.case else QUICK if given.quick else FULL
    results = []
    for case in cases:
        needed = (min(case.parties, _AT_ONCE) + case.parties + 8) * 4 * case.size
        if shutil.disk_usage(given.folder).free < needed:
            print(f"{case} needs {needed / GB:.0f} GB in {given.folder}; left out", file=sys.stderr)
            continue
        with tempfile.TemporaryDirectory(prefix="comity-large-", dir=given.folder) as folder:
            # The server's own temporary files, too: large vectors are mapped from there.
            os.environ["TMPDIR"] = folder
            results.append(asyncio.run(measured(case, Path(folder))))
        print(results[-1], file=sys.stderr, flush=True)
    text = report(results, measure.source(begun, commit, PACKAGES))
    print(text)
    if given.json:
        given.json.write_text(json.dumps([asdict(result) for result in results], indent=1))
    if given.write_docs:
        DOCS.write_text(measure.between(DOCS.read_text(), "large models", text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
