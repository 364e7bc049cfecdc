"""Tasks computed in processes of their own: one for each run, warm between its rounds, killed where it oversteps."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakValueDictionary

from comity.node.confinement import Cage
from comity.node.data import DataRegistry
from comity.node.entries import Entry
from comity.node.home import NodeHome
from comity.node.seal_key import SealKey, key_file
from comity.wire.messages import Refused

_ANSWER_BYTES = 8 << 20
_START_SECONDS = 60.0
_LAST_SECONDS = 1.0
_WARM = 8
_NOT_APART = (
    "the job brings code, or may call that of installed packages, which this node's system cannot keep from its keys; "
    'the owner can allow unprivileged user namespaces there, or accept that by isolation = "optional" in node.toml'
)
_OUT_OF_MEMORY = ("MemoryError", "allocate memory")


@dataclass(frozen=True)
class Limits:
    """What a task may take: seconds by the clock, the memory of each of its processes (see `Cage`), a file's size."""

    seconds: float = 3600.0
    memory_mb: int = 4096
    file_mb: int = 4096


@dataclass(frozen=True)
class TaskSpec:
    """One party's part in one round of one run, with everything that it needs as files.

    `data` is the data set as `described` describes it; `counted` says whether an earlier contribution of this party is
    part of the model; results are left in the new folder `into`.
    """

    run: str
    lease: int
    round: int
    party: str
    manifest: Path
    source: Path | None
    data: Mapping[str, Any]
    broadcast: Mapping[str, Path]
    memory: Path | None
    counted: bool
    into: Path
    packages: Sequence[str] = ()
    budget: float = 1.0
    limits: Limits = Limits()

    @property
    def foreign(self) -> bool:
        """Whether it may run other code than Comity's: its own, or that of packages with arguments of its choice."""
        return self.source is not None or bool(self.packages)


@dataclass(frozen=True)
class TaskResult:
    """A contribution, its vectors and memory in files of their own; or why there is none."""

    vectors: Path | None = None
    memory: Path | None = None
    weight: float = 0.0
    metrics: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    seconds: float = 0.0
    refusal: Refused | None = None

    @classmethod
    def failed(cls, detail: str) -> TaskResult:
        return cls(refusal=Refused(reason="error", detail=detail[:2000]))


def described(entry: Entry, key: SealKey | None) -> dict[str, Any]:
    """A registered data set for the process that reads it, with the key of its file and of no other.

    That key goes through the process's pipe and nowhere else. Raises `DataError` where `key` does not open the file.
    """
    from comity.node.sealing import file_key

    node = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(entry).items()}
    return {"entry": node, "key": None if key is None else file_key(entry.path, key, entry.name).secret.hex()}


class Executor(Protocol):
    """Computes tasks; what a task does wrong is a result, and cancelling `run` ends the task."""

    async def run(self, task: TaskSpec) -> TaskResult: ...

    async def close(self) -> None: ...


class ChildExecutor:
    """Computes tasks in child processes, confined as `confinement` says, with a clean environment.

    `note` is told what a process lacks of its confinement; only tasks of nothing but Comity's own code are then
    given to it, unless the node's settings say `isolation = "optional"`. A process that has had nothing to do for
    `idle` seconds is ended.
    """

    def __init__(self, home: NodeHome, note: Callable[[str, Mapping[str, Any]], None], *, idle: float = 120.0) -> None:
        self.home = home
        self._note = note
        self._idle = idle
        self._children: dict[str, _Child] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def run(self, task: TaskSpec) -> TaskResult:
        async with self._locks.setdefault(task.run, asyncio.Lock()):
            child = self._children.pop(task.run, None)
            if child is None or not child.fits(task):
                if child is not None:
                    await child.end()
                child = await self._start(task)
            self._children[task.run] = child
            if child.missing and task.foreign and self.home.config.isolation == "required":
                await self._end(task.run)
                return TaskResult(refusal=Refused(reason="policy", detail=_NOT_APART))
            return await self._ask(child, task)

    async def close(self) -> None:
        for run in list(self._children):
            await self._end(run)

    async def _ask(self, child: _Child, task: TaskSpec) -> TaskResult:
        child.stay()
        whole = False
        try:
            async with asyncio.timeout(task.limits.seconds):
                answer = await child.ask(task)
            result = _result(answer, task)
            whole = True
        except TimeoutError:
            return TaskResult.failed(
                f"the task took longer than {task.limits.seconds:g} seconds, which is this node's limit; raise "
                "`seconds` in policy.toml, or do less in a round"
            )
        except (EOFError, ValueError, OSError):
            return TaskResult.failed(_ended(await child.ending(), task.limits))
        finally:
            if not whole:
                await self._end(task.run)
        child.leave_after(self._idle, lambda: self._let_go(task.run, child))
        return result

    async def _start(self, task: TaskSpec) -> _Child:
        """A new process, in place of the one that has waited longest where there are many."""
        waiting = [run for run in self._children if not self._busy(run)]
        if len(self._children) >= _WARM and waiting:
            await self._end(waiting[0])
        child = await _Child.start(self.home, task)
        if child.missing:
            self._note("confinement", {"run": task.run, "missing": child.missing})
        return child

    def _busy(self, run: str) -> bool:
        return run in self._locks and self._locks[run].locked()

    def _let_go(self, run: str, child: _Child) -> None:
        """End a process that has idled; nobody waits for it."""
        if self._children.get(run) is child and not self._busy(run):
            del self._children[run]
            child.kill()

    async def _end(self, run: str) -> None:
        child = self._children.pop(run, None)
        if child is not None:
            await child.end()


class _Child:
    """A process and what it was started with."""

    def __init__(self, process: asyncio.subprocess.Process, given: Any, missing: list[str]) -> None:
        self.process = process
        self.given = given
        self.missing = missing
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    async def start(cls, home: NodeHome, task: TaskSpec) -> _Child:
        scratch, cage = _cage(home, task)
        with open(scratch / "stderr.log", "ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-m", "comity.node.task", json.dumps(asdict(cage))),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                cwd=scratch,
                env=_environment(scratch),
                start_new_session=True,
                limit=_ANSWER_BYTES,
            )
        child = cls(process, _given(task), [])
        try:
            async with asyncio.timeout(_START_SECONDS):
                hello = await child._line()
            child.missing = [str(what) for what in hello["missing"]]
        except (TimeoutError, EOFError, ValueError, KeyError):
            await child.end()
            raise OSError(f"the process for tasks did not start; {scratch / 'stderr.log'} may say why") from None
        except BaseException:
            await child.end()
            raise
        return child

    def fits(self, task: TaskSpec) -> bool:
        """Whether the process runs, and was confined as `task` wants it."""
        return self.process.returncode is None and self.given == _given(task)

    async def ask(self, task: TaskSpec) -> dict[str, Any]:
        """The answer to a task. Raises `EOFError` where the process has ended, `ValueError` where it is no answer."""
        assert self.process.stdin is not None
        self.process.stdin.write((json.dumps(_order(task)) + "\n").encode())
        with contextlib.suppress(ConnectionError):
            await self.process.stdin.drain()
        return await self._line()

    async def _line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        try:
            answer = json.loads(line)
        except RecursionError:
            raise ValueError("nested without end") from None
        if not isinstance(answer, dict):
            raise ValueError("no object")
        return answer

    def stay(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def leave_after(self, seconds: float, leave: Callable[[], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, leave)

    def kill(self) -> None:
        self.stay()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    async def ending(self) -> int:
        """How a process ends that has closed its pipe or written nonsense to it; it is not waited for long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                return await self.process.wait()
        await self.end()
        return 0

    async def end(self) -> None:
        """Kill the process and all that it has started; without namespaces, all but what has left its group."""
        self.kill()
        await self.process.wait()


def _given(task: TaskSpec) -> Any:
    """What a process cannot change once it runs."""
    return task.limits.memory_mb, task.limits.file_mb, task.source, tuple(task.packages), dict(task.data)


def _cage(home: NodeHome, task: TaskSpec) -> tuple[Path, Cage]:
    """The scratch folder of the task's run, and how its process is confined.

    Hidden are the node's folder and the keys of sealed data, which lie elsewhere.
    """
    scratch = home.scratch / task.run
    read = [home.cache, home.runs / task.run, home.memory / task.run]
    for folder in (scratch, *read):
        folder.mkdir(parents=True, exist_ok=True)
    inside = home.path.resolve()
    files = [Path(task.data["entry"][name] or "/").resolve() for name in ("path", "encoder")]
    read += [file for file in files if inside in file.parents]
    keys = [key_file(entry.key or "") for entry in DataRegistry(home.path).entries()]
    apart = {str(key.resolve()) for key in keys if key is not None and key.is_file()}
    return scratch, Cage(
        memory_mb=task.limits.memory_mb,
        file_mb=task.limits.file_mb,
        hide=[str(inside), *sorted(apart)],
        read=[str(path.resolve()) for path in read],
        write=[str(scratch.resolve())],
    )


def _environment(scratch: Path) -> dict[str, str]:
    """Nothing of the node's own: where to write, and one thread to compute on."""
    folder = str(scratch)
    return {"HOME": folder, "TMPDIR": folder, "PATH": os.defpath, "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}


def _order(task: TaskSpec) -> dict[str, Any]:
    return {
        "manifest": str(task.manifest),
        "source": task.source and str(task.source),
        "packages": list(task.packages),
        "party": task.party,
        "data": dict(task.data),
        "round": task.round,
        "lease": task.lease,
        "budget": task.budget,
        "broadcast": {name: str(path) for name, path in task.broadcast.items()},
        "memory": task.memory and str(task.memory),
        "counted": task.counted,
        "into": str(task.into),
        "seconds": task.limits.seconds,
    }


def _result(answer: Mapping[str, Any], task: TaskSpec) -> TaskResult:
    """The answer, believed as little as code of others deserves. Raises `ValueError`."""
    if answer.get("ok") is not True:
        refusal = Refused(reason=answer.get("reason", "error"), detail=answer.get("detail", ""))
        if refusal.reason == "error" and any(word in refusal.detail for word in _OUT_OF_MEMORY):
            return TaskResult.failed(f"{_memory_mend(task.limits)}: {refusal.detail}")
        return TaskResult(refusal=refusal)
    try:
        memory = answer["memory"]
        return TaskResult(
            vectors=_plain(task.into / "vectors.safetensors"),
            memory=None if memory is None else _plain(task.into / "memory.safetensors"),
            weight=float(answer["weight"]),
            metrics={str(name): tuple(float(sum) for sum in sums) for name, sums in answer["metrics"].items()},
            seconds=float(answer["seconds"]),
        )
    except (KeyError, TypeError, AttributeError, OverflowError, OSError) as error:
        raise ValueError("a malformed answer") from error


def _plain(file: Path) -> Path:
    """The file, which is one of its own: a link could lead what the task may not see out of the node."""
    facts = os.lstat(file)
    if not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1 or file.parent.is_symlink():
        raise ValueError(f"{file.name} is no plain file")
    return file


def _ended(code: int, limits: Limits) -> str:
    """Why a process has ended in the middle of a task, and what helps."""
    number = -code if code < 0 else code - 128
    if number == signal.SIGXCPU:
        return f"the task took longer than {limits.seconds:g} seconds of a processor; raise `seconds` in policy.toml"
    if number == signal.SIGKILL:
        return f"the task's process was killed; {_memory_mend(limits)}"
    if number in set(signal.Signals):
        return f"the task's process was ended by {signal.Signals(number).name}; {_memory_mend(limits)}"
    return f"the task's process gave no answer that can be read (exit status {code})"


def _memory_mend(limits: Limits) -> str:
    few = f"where {limits.memory_mb} MB of memory are too few"
    return f"{few}, raise `memory_mb` in policy.toml or free memory on this machine"
