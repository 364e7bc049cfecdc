"""A deployment of Comity beside one of Flower on this machine: rounds per second, hand-over, bytes, idle cost, memory.

    python benchmarks/deployment.py [--quick] [--rows a,b] [--json PATH] [--write-docs]

Every row makes its own deployments over loopback, and ends every process that it has started. What is measured, and
how, is in `benchmarks/README.md`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import comity_rows as comity
import flower_rows as flower
import measure
from comity_rows import Figures
from environments import FLOWER

DOCS = Path(__file__).resolve().parents[1] / "docs" / "speed.md"
PACKAGES = ("comity", "fastapi", "uvicorn", "aiohttp", "cryptography", "numpy")
MB = 1e6


@dataclass(frozen=True)
class Lengths:
    """How long everything takes: rounds, seconds, bytes, parties."""

    rounds: int = 40
    rounds_of_50: int = 15
    counted: int = 10
    minute: float = 60.0
    upload: int = 1 << 30
    crowd: int = 1000
    flower_rounds: int = 3
    flower_seconds: float = 180.0


QUICK = Lengths(10, 4, 5, 20.0, 1 << 28, 100, 2, 120.0)


@dataclass(frozen=True)
class Row:
    """One measurement: whose it is, and how it is done with the folder of Flower's commands."""

    system: str
    measured: Callable[[Lengths, Path], Awaitable[Figures]]


ROWS: Mapping[str, Row] = {
    "idle": Row("comity", lambda n, _: comity.idle(10, n.minute)),
    "rounds10": Row("comity", lambda n, _: comity.rounds(10, n.rounds)),
    "rounds50": Row("comity", lambda n, _: comity.rounds(50, n.rounds_of_50)),
    "wire": Row("comity", lambda n, _: comity.wire(10, n.counted)),
    "upload": Row("comity", lambda n, _: comity.upload(n.upload)),
    "crowd": Row("comity", lambda n, _: comity.crowd(n.crowd, n.minute)),
    "flower_idle": Row("flower", lambda n, at: flower.idle(10, n.minute, at)),
    "flower10": Row("flower", lambda n, at: flower.rounds(10, n.flower_rounds, at, n.flower_seconds)),
    "flower50": Row("flower", lambda n, at: flower.rounds(50, 1, at, n.flower_seconds)),
}


def side_by_side(found: Mapping[str, Figures]) -> str:
    """The table of both systems."""

    def cells(name: str, ours: str, theirs: str, show: Callable[[float], str], aim: str) -> list[str]:
        def cell(row: str) -> str:
            if row not in found:
                return ""
            return show(found[row][name]) if name in found[row] else "no round completed"

        return [cell(ours), cell(theirs), aim]

    def rate(seconds: float) -> str:
        return f"{1 / seconds:.2f}"

    def thousandths(seconds: float) -> str:
        return f"{1000 * seconds:,.0f}"

    rows = [
        ["rounds per second, 10 parties", *cells("seconds a round", "rounds10", "flower10", rate, "5")],
        ["rounds per second, 50 parties", *cells("seconds a round", "rounds50", "flower50", rate, "1")],
        ["hand-over, 10 parties, ms", *cells("hand-over", "rounds10", "flower10", thousandths, "50")],
        ["hand-over, 50 parties, ms", *cells("hand-over", "rounds50", "flower50", thousandths, "")],
        ["bytes up, a round and party, kB", *cells("bytes up", "wire", "flower10", thousands, "")],
        ["bytes down, a round and party, kB", *cells("bytes down", "wire", "flower10", thousands, "")],
        ["idle server, s of a processor a minute", *cells("busy server", "idle", "flower_idle", seconds, "0.1")],
        ["idle node, s of a processor a minute", *cells("busy node", "idle", "flower_idle", seconds, "0.1")],
        ["idle server, MB", *cells("memory of the server", "idle", "flower_idle", megabytes, "120")],
        ["idle node, MB", *cells("memory of a node", "idle", "flower_idle", megabytes, "60")],
        ["server at its peak, 10 parties, MB", *cells("peak of the server", "rounds10", "flower10", megabytes, "")],
        ["server at its peak, 50 parties, MB", *cells("peak of the server", "rounds50", "flower50", megabytes, "")],
        ["node after the run, with its task, MB", *cells("peak of a node", "rounds10", "flower10", megabytes, "")],
    ]
    return measure.table(["", "Comity", "Flower", "aim"], [row for row in rows if row[1] or row[2]])


def thousands(count: float) -> str:
    return f"{count / 1000:,.0f}"


def megabytes(count: float) -> str:
    return f"{count / MB:,.0f}"


def seconds(count: float) -> str:
    return f"{count:.3f}"


def alone(found: Mapping[str, Figures], lengths: Lengths) -> list[str]:
    """What only Comity is asked: uploads, and a crowd."""
    told = []
    if "upload" in found:
        bare, ours = found["upload"]["bare"], found["upload"]["uploads"]
        told.append(
            f"Uploads of {lengths.upload / MB:,.0f} MB: {ours / MB:.0f} MB/s, which is {ours / bare:.0%} of the "
            f"{bare / MB:.0f} MB/s of bare HTTPS bodies between the same libraries (aim: 70%)."
        )
    if "crowd" in found:
        crowd = found["crowd"]
        told.append(
            f"{lengths.crowd:,} connected idle nodes at one server: {megabytes(crowd['memory of the server'])} MB, "
            f"{crowd['a connection'] / 1000:.0f} kB a node; {crowd['busy server']:.2f} s of a processor a minute, in "
            f"which each asks twice; all of them are told of a run {crowd['told']:.2f} s after it was submitted."
        )
    return told


def report(found: Mapping[str, Figures], failures: Sequence[str], lengths: Lengths, source: str) -> str:
    """All tables, as Markdown."""
    return "\n\n".join([side_by_side(found), *alone(found, lengths), source, *failures])


def arguments() -> argparse.Namespace:
    def names(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := [name for name in chosen if name not in ROWS]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: choose from {', '.join(ROWS)}")
        return chosen

    parser = argparse.ArgumentParser(description="A deployment of Comity beside one of Flower, on loopback.")
    parser.add_argument("--quick", action="store_true", help="a short run of each row")
    parser.add_argument("--rows", type=names, default=list(ROWS), help=", ".join(ROWS))
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--write-docs", action="store_true", help="write the tables into docs/speed.md")
    parser.add_argument("--venvs", type=Path, default=Path("~/.cache/comity-benchmarks"), help="default: %(default)s")
    return parser.parse_args()


def measured(names: Sequence[str], lengths: Lengths, venvs: Path) -> tuple[dict[str, Figures], list[str]]:
    """What each row has found, and why those that have not did not."""
    found: dict[str, Figures] = {}
    failures = []
    for name in names:
        row = ROWS[name]
        try:
            binaries = FLOWER.python(venvs).parent if row.system == "flower" else Path()
            found[name] = asyncio.run(_figures(row, lengths, binaries))
            outcome = ", ".join(f"{what} {value:.4g}" for what, value in found[name].items())
        except Exception as error:  # one row that fails must not cost the others
            outcome = f"failed: {type(error).__name__}: {error}"
            failures.append(f"{name} {outcome}")
        print(f"{name:12} {outcome}", file=sys.stderr, flush=True)
    return found, failures


async def _figures(row: Row, lengths: Lengths, binaries: Path) -> Figures:
    return await row.measured(lengths, binaries)


def main() -> int:
    given, begun, commit = arguments(), perf_counter(), measure.commit()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    lengths = QUICK if given.quick else Lengths()
    found, failures = measured(given.rows, lengths, given.venvs.expanduser().resolve())
    text = report(found, failures, lengths, measure.source(begun, commit, PACKAGES))
    print(text)
    if given.json:
        given.json.write_text(json.dumps({"machine": measure.machine(), "commit": commit, "rows": found}, indent=1))
    if given.write_docs:
        DOCS.write_text(measure.between(DOCS.read_text(), "deployment", text))
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
