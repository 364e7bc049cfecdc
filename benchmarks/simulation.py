"""Comity beside other simulators and beside hand-written PyTorch: seconds per round and peak memory.

    python benchmarks/simulation.py --data FOLDER [--quick] [--peers a,b] [--workloads a,b] [--json PATH]

FOLDER holds the four IDX files of MNIST. Every peer runs in a virtual environment of its own, on the same data, model
and steps; runs of different peers are interleaved. What is compared with what is in `benchmarks/README.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

import environments as env
import measure
from environments import Environment
from workloads import DEFAULT, WORKLOADS, Result, Workload

HERE = Path(__file__).resolve().parent
REFERENCE = "comity"
SECONDS_A_RUN = 1200.0


@dataclass(frozen=True)
class Variant:
    """One way to run a peer: the mode its script is asked for, in an environment."""

    mode: str
    environment: Environment
    label: str = ""

    @property
    def name(self) -> str:
        return self.label or self.mode


@dataclass(frozen=True)
class Peer:
    """What Comity is compared with. Of its variants the fastest on a workload is the one that counts there."""

    name: str
    title: str
    variants: tuple[Variant, ...]


PEERS = {
    peer.name: peer
    for peer in (
        Peer("comity", "Comity", (Variant("auto", env.COMITY),)),
        Peer("step", "hand-written step", (Variant("processes", env.HAND),)),
        Peer("loop", "autograd loop", (Variant("processes", env.HAND),)),
        Peer("flower", "Flower", (Variant("ray", env.FLOWER),)),
        Peer("pfl", "pfl", (Variant("processes", env.PFL), Variant("serial", env.PFL))),
        Peer("blazefl", "BlazeFL", tuple(Variant(mode, env.BLAZEFL) for mode in ("threads", "processes", "serial"))),
        Peer("fedjax", "FedJAX", (Variant("jit", env.FEDJAX, "JAX 0.10"), Variant("jit", env.FEDJAX_2024, "JAX 0.4"))),
    )
}


@dataclass(frozen=True)
class Run:
    """One process of one peer on one workload; `error` is empty where it succeeded."""

    peer: str
    variant: str
    workload: str
    warmup: float = 0.0
    seconds: list[float] = field(default_factory=list)
    accuracy: float = 0.0
    peak_bytes: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    error: str = ""


def prepare(peers: Sequence[Peer], venvs: Path) -> dict[str, Path | str]:
    """The interpreter of every environment that these peers need, or why there is none."""
    found: dict[str, Path | str] = {}
    for environment in (variant.environment for peer in peers for variant in peer.variants):
        if environment.name not in found:
            try:
                found[environment.name] = environment.python(venvs)
            except RuntimeError as reason:
                found[environment.name] = str(reason)
    return found


def execute(peer: Peer, variant: Variant, workload: Workload, rounds: int, data: Path, python: Path | str) -> Run:
    """Run a peer's script once and read what it measured; `python` is a text where there is no environment for it."""
    if isinstance(python, str):
        return Run(peer.name, variant.name, workload.name, error=python)
    with tempfile.TemporaryDirectory() as folder:
        out, log = Path(folder) / "result.json", Path(folder) / "log.txt"
        done = measure.run(
            [
                str(python), str(HERE / "peers" / f"{peer.name}_peer.py"), "--workload", workload.name,
                "--variant", variant.mode, "--rounds", str(rounds + 1), "--data", str(data), "--json", str(out),
            ],
            log,
            {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE / "peers")])},
            SECONDS_A_RUN,
        )  # fmt: skip
        if done.status != 0 or not out.exists():
            how = "ran out of time" if done.status is None else f"ended with status {done.status}"
            return Run(peer.name, variant.name, workload.name, error=f"{how}:\n{done.output}")
        result = Result.read(out)
    warmup, *seconds = result.seconds
    return Run(
        peer.name, variant.name, workload.name, warmup, seconds, result.accuracy, done.peak, result.versions
    )  # fmt: skip


def plan(peers: Sequence[Peer], workloads: Sequence[Workload], passes: int) -> Iterator[tuple[Peer, Variant, Workload]]:
    """Every variant of every peer on every workload, `passes` times; each pass starts with another one."""
    pairs = [(peer, variant) for peer in peers for variant in peer.variants]
    for turn in range(passes):
        start = turn * len(pairs) // passes
        for workload in workloads:
            for peer, variant in pairs[start:] + pairs[:start]:
                yield peer, variant, workload


@dataclass(frozen=True)
class Cell:
    """A peer on a workload: its fastest variant, over all passes."""

    variant: str
    seconds: float
    peak_bytes: int
    accuracy: float


def best(runs: Sequence[Run], peer: str, workload: str) -> Cell | None:
    """The fastest variant by the median over all its measured rounds; None where no run succeeded."""
    cells = []
    for variant in dict.fromkeys(run.variant for run in runs if run.peer == peer):
        mine = [r for r in runs if (r.peer, r.variant, r.workload) == (peer, variant, workload) and not r.error]
        if mine:
            seconds = median(second for run in mine for second in run.seconds)
            cells.append(Cell(variant, seconds, max(run.peak_bytes for run in mine), mine[0].accuracy))
    return min(cells, key=lambda cell: cell.seconds, default=None)


def used_versions(runs: Sequence[Run]) -> str:
    """The versions that these runs reported; several of one package where variants differ."""
    found: dict[str, dict[str, None]] = {}
    for package, version in (item for run in runs for item in run.versions.items()):
        found.setdefault(package, {})[version] = None
    return ", ".join(f"{package} {' and '.join(numbers)}" for package, numbers in found.items())


def report(runs: Sequence[Run], peers: Sequence[Peer], workloads: Sequence[Workload]) -> str:
    """All tables, as Markdown."""
    cells = {(p.name, w.name): best(runs, p.name, w.name) for p in peers for w in workloads}

    def grid(value: Callable[[Peer, Workload, Cell], str]) -> str:
        rows = [
            [w.name, *("–" if (cell := cells[p.name, w.name]) is None else value(p, w, cell) for p in peers)]
            for w in workloads
        ]
        return measure.table(["", *(p.title for p in peers)], rows)

    def ratio(peer: Peer, workload: Workload, cell: Cell) -> str:
        own = cells.get((REFERENCE, workload.name))
        return "–" if own is None else f"{cell.seconds / own.seconds:.2f}"

    sections = [("Seconds per round (median after one round to warm up)", grid(lambda p, w, c: f"{c.seconds:.4f}"))]
    if any(peer.name == REFERENCE for peer in peers):
        sections.append(("Times Comity's seconds (above 1: slower than Comity)", grid(ratio)))
    sections += [
        ("Peak memory in MB (PSS summed over the process tree)", grid(lambda p, w, c: f"{c.peak_bytes / 1e6:.0f}")),
        ("Accuracy on MNIST's test images after the last round", grid(lambda p, w, c: f"{c.accuracy:.3f}")),
        ("Variant taken", grid(lambda p, w, c: c.variant)),
    ]
    machine = ", ".join(f"{key} {value}" for key, value in measure.machine().items())
    software = "; ".join(f"{p.title}: {used_versions([run for run in runs if run.peer == p.name])}" for p in peers)
    failures = [f"{r.peer} ({r.variant}) on {r.workload}: {r.error}" for r in runs if r.error]
    body = "\n\n".join(f"**{title}**\n\n{text}" for title, text in sections)
    return "\n\n".join([body, f"Machine: {machine}.", f"Commit {measure.commit()}. {software}.", *failures])


def arguments() -> argparse.Namespace:
    """The command line."""

    def names(known: Sequence[str]) -> Callable[[str], list[str]]:
        def parse(text: str) -> list[str]:
            chosen = text.split(",")
            if unknown := [name for name in chosen if name not in known]:
                raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: choose from {', '.join(known)}")
            return chosen

        return parse

    parser = argparse.ArgumentParser(description="Comity beside other simulators: seconds per round and peak memory.")
    parser.add_argument("--data", type=Path, required=True, help="a folder with the four IDX files of MNIST")
    parser.add_argument("--quick", action="store_true", help="one short pass instead of three")
    parser.add_argument("--peers", type=names(list(PEERS)), default=list(PEERS), help=", ".join(PEERS))
    parser.add_argument("--workloads", type=names(list(WORKLOADS)), default=list(DEFAULT), help=", ".join(WORKLOADS))
    parser.add_argument("--json", type=Path, help="write every run to this file")
    parser.add_argument("--venvs", type=Path, default=Path("~/.cache/comity-benchmarks"), help="default: %(default)s")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    peers, workloads = [PEERS[name] for name in given.peers], [WORKLOADS[name] for name in given.workloads]
    pythons = prepare(peers, given.venvs.expanduser().resolve())
    runs: list[Run] = []
    for peer, variant, workload in plan(peers, workloads, 1 if given.quick else 3):
        rounds = workload.quick_rounds if given.quick else workload.rounds
        python = pythons[variant.environment.name]
        run = execute(peer, variant, workload, rounds, given.data.resolve(), python)
        outcome = run.error or f"{median(run.seconds):.4f} s a round, {run.peak_bytes / 1e6:.0f} MB"
        print(f"{workload.name:15} {peer.name:8} {variant.name:10} {outcome}", file=sys.stderr, flush=True)
        runs.append(run)
    print(report(runs, peers, workloads))
    if given.json:
        record = {"machine": measure.machine(), "commit": measure.commit(), "runs": [asdict(run) for run in runs]}
        given.json.write_text(json.dumps(record, indent=1))
    return int(any(run.error for run in runs))


if __name__ == "__main__":
    sys.exit(main())
