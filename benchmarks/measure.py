"""Measuring for the benchmarks: peak memory of a process tree, the machine, versions, tables. Standard library only."""

from __future__ import annotations

import ctypes
import os
import platform
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter, sleep

PROC = Path("/proc")
PR_SET_CHILD_SUBREAPER = 36


def descendants(root: int) -> list[int]:
    """`root` and all processes below it."""
    children: dict[int, list[int]] = {}
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(folder.name))
    found, open_ends = [], [root]
    while open_ends:
        found.append(open_ends.pop())
        open_ends.extend(children.get(found[-1], ()))
    return found


def pss(pid: int) -> int:
    """Bytes of a process's proportional set size: a page shared by n processes counts 1/n in each."""
    with suppress(OSError):
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def resident(pid: int) -> int:
    """Bytes of memory that a process has resident, shared pages counted whole; 0 where it is over."""
    return _status(pid, "VmRSS")


def peak_resident(pid: int) -> int:
    """The most bytes that a process has had resident at a time, shared pages and mapped files counted whole."""
    return _status(pid, "VmHWM")


def _status(pid: int, entry: str) -> int:
    with suppress(OSError):
        for line in (PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith(f"{entry}:"):
                return int(line.split()[1]) * 1024
    return 0


def connections(pid: int) -> int:
    """How many sockets a process has open."""
    links = (os.readlink(file) for file in (PROC / str(pid) / "fd").iterdir())
    return sum(link.startswith("socket:") for link in links)


def processor_seconds(pid: int) -> float:
    """Seconds that the threads of a process which live have had of a processor, to the nanosecond."""
    total = 0
    with suppress(OSError):
        for task in (PROC / str(pid) / "task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


class PeakMemory:
    """Samples the summed PSS of a process tree in a thread and keeps the highest sum, in bytes.

    A sample walks page tables, so the pause after each is at least fifty times as long as the sample took: what is
    measured is disturbed by less than 2 % of one core.
    """

    def __init__(self, root: int, interval: float = 0.1) -> None:
        self.bytes = 0
        self.samples = 0
        self._root = root
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._stop.is_set():
            start = perf_counter()
            self.bytes = max(self.bytes, sum(map(pss, descendants(self._root))))
            self.samples += 1
            self._stop.wait(max(self._interval, 50 * (perf_counter() - start)))

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()


@dataclass(frozen=True)
class Finished:
    """A command that has ended: its exit status (None if it ran out of time), its output's end, seconds, peak bytes."""

    status: int | None
    output: str
    seconds: float
    peak: int


def run(command: Sequence[str], log: Path, env: Mapping[str, str], timeout: float) -> Finished:
    """Run a command to its end, measuring the memory of its process tree.

    Nothing it started outlives the call: orphans are handed to this process, which ends them (and every other child of
    its own).
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    start = perf_counter()
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command, stdout=sink, stderr=sink, stdin=subprocess.DEVNULL, env={**os.environ, **env}
        )
        with PeakMemory(process.pid) as memory:
            try:
                status: int | None = process.wait(timeout)
            except subprocess.TimeoutExpired:
                status = None
    _end([pid for pid in descendants(os.getpid()) if pid != os.getpid()])
    tail = log.read_text(errors="replace")[-2000:]
    return Finished(status, tail, perf_counter() - start, memory.bytes)


def _end(pids: Sequence[int]) -> None:
    """Kill and reap these processes."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in pids:
        for _ in range(100):
            try:
                if os.waitpid(pid, os.WNOHANG)[0]:
                    break
            except ChildProcessError:
                break
            sleep(0.02)


def machine() -> dict[str, str]:
    """What was measured on: processor, cores, memory, system, Python."""
    info = dict(
        (part.strip() for part in line.split(":", 1))
        for line in (PROC / "cpuinfo").read_text().splitlines()
        if ":" in line
    )
    total = int((PROC / "meminfo").read_text().split(None, 2)[1])
    return {
        "processor": info.get("model name", platform.machine()),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{total / 2**20:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def versions(*packages: str) -> dict[str, str]:
    """The installed versions of these distributions; those that are not installed are left out."""
    found = {"python": platform.python_version()}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def commit() -> str:
    """The commit of the work tree, with `+` when tracked files differ from it; empty outside a repository."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=False).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its columns aligned; the first is flush left, the others flush right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(header), line(rule), *map(line, rows)])


def source(started: float, commit: str, packages: Sequence[str]) -> str:
    """Where figures come from that a script which began at `started` (`perf_counter`) has measured."""
    info = machine()
    where = f"{info['processor']}, {info['cores']} cores, {info['memory']}, {info['system']}"
    software = ", ".join(f"{name} {number}" for name, number in versions(*packages).items())
    minutes = (perf_counter() - started) / 60
    today = datetime.now(UTC).date().isoformat()
    return f"`{command(sys.argv)}`, {minutes:.1f} minutes on {where}; commit {commit}; {software}; {today}."


def command(argv: Sequence[str]) -> str:
    """The command line as somebody else would type it: the script from the repository's root, a folder of their own."""
    words = ["python", f"benchmarks/{Path(argv[0]).name}"]
    skip = False
    for word in argv[1:]:
        if skip or word == "--write-docs":
            skip = False
        elif word in ("--data", "--folder", "--json"):
            words += [] if word == "--json" else [word, "FOLDER"]
            skip = True
        else:
            words.append(shlex.quote(word))
    return " ".join(words)


def between(text: str, name: str, body: str) -> str:
    """`text` with what stands between the markers of `name` replaced by `body`. Raises `ValueError` without them."""
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    head, found, rest = text.partition(start)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"no markers {start} … {end}")
    return f"{head}{start}\n\n{body}\n\n{end}{tail}"
