"""What `deployment.py` measures at Flower: a SuperLink and SuperNodes that do the same as Comity in `comity_rows`."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median

from comity_rows import Figures, busy, resident
from no_training import PARAMETERS
from superlink import SuperLink, superlink
from tap import Tap, tapped

from comity.demo.processes import free_port

_START = 5.0
_A_NODE = 0.5
"""Seconds that are waited for each SuperNode to start before anything is measured."""
_LOOK = 0.05


@asynccontextmanager
async def federation(nodes: int, binaries: Path) -> AsyncIterator[tuple[SuperLink, Tap]]:
    """A SuperLink and so many SuperNodes that have had time to register."""
    port = free_port()
    scratch = tempfile.TemporaryDirectory(prefix="flower-bench-", ignore_cleanup_errors=True)
    with scratch as folder, superlink(Path(folder), binaries) as here:
        async with tapped(port, here.port) as tap:
            await asyncio.sleep(_START)
            here.add_nodes(nodes, port)
            await asyncio.sleep(_START + _A_NODE * nodes)
            yield here, tap


async def idle(nodes: int, seconds: float, binaries: Path) -> Figures:
    """Seconds of a processor in a minute, and memory, with the processes that Flower starts beside each."""
    async with federation(nodes, binaries) as (here, _):
        pids = [node.pid for node in here.nodes]
        server, each = await asyncio.gather(busy([here.link.pid], seconds), busy(pids, seconds))
        return {
            "busy server": server,
            "busy node": each / nodes,
            "memory of the server": resident(here.link.pid),
            "memory of a node": fmean(map(resident, pids)),
        }


async def rounds(nodes: int, count: int, binaries: Path, limit: float) -> Figures:
    """As `comity_rows.rounds` and `comity_rows.wire` of one run; no figures where no round ends within `limit` seconds.

    The first round does not count where there are more. The hand-over is from the last client's answer to the first
    client's call of the next round.
    """
    async with federation(nodes, binaries) as (here, tap):
        here.run(count, PARAMETERS)
        passed: list[tuple[int, int]] = []
        end = time.monotonic() + limit

        def ended() -> bool:
            while len(passed) < len(here.ends()):
                passed.append((tap.up, tap.down))
            return len(passed) > count

        peak = 0
        while not ended() and time.monotonic() < end:
            peak = max(peak, resident(here.link.pid))
            await asyncio.sleep(_LOOK)
        ends = here.ends()
        if len(ends) < 2:
            return {"peak of the server": peak, "peak of a node": fmean(resident(node.pid) for node in here.nodes)}
        first = min(1, len(ends) - 2)
        done = len(ends) - 1 - first
        up, down = (passed[-1][way] - passed[first][way] for way in (0, 1))
        return {
            "seconds a round": median(after - before for before, after in pairwise(ends[first:])),
            "bytes up": up / done / nodes,
            "bytes down": down / done / nodes,
            "peak of the server": peak,
            "peak of a node": fmean(resident(node.pid) for node in here.nodes),
            **_hand_over(here.calls()),
        }


def _hand_over(calls: Sequence[dict[str, float]]) -> Figures:
    numbers = sorted({call["round"] for call in calls})
    gaps = [
        min(call["called"] for call in calls if call["round"] == after)
        - max(call["answered"] for call in calls if call["round"] == before)
        for before, after in pairwise(numbers)
    ]
    return {"hand-over": median(gaps)} if gaps else {}
