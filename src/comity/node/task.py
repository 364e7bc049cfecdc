"""The process in which tasks are computed: `python -I -m comity.node.task CAGE`, one JSON object a line on its pipes.

It says first which protections it lacks, `{"missing": […]}`. Then each line on standard input is a task (what
`child.ChildExecutor` writes), and each gets one line back:

- `{"ok": true, "vectors": path, "weight": w, "metrics": {name: [sums]}, "seconds": s, "memory": path or null}`, or
- `{"ok": false, "reason": "error" | "no_data" | "data", "detail": text}`.

What it computes is what `PartySide` computes in a simulation for the same party, round and data, bit for bit. It is
confined before it imports anything that a job could influence, and the code of a job can write to neither pipe by
accident: standard output is redirected to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from time import perf_counter
from typing import IO, TYPE_CHECKING, Any

from comity.node.confinement import Cage, confine, limit_time

if TYPE_CHECKING:
    from comity.data.examples import PartyData
    from comity.node.entries import Entry
    from comity.simulation.party_side import PartySide

_MOST_DETAIL = 2000


def main() -> None:
    """Confine this process, then answer tasks until standard input ends."""
    missing = confine(Cage(**json.loads(sys.argv[1])))
    orders, answers = _own_pipes()
    sys.dont_write_bytecode = True
    answers.write(json.dumps({"missing": missing}) + "\n")
    answers.flush()
    tasks = Tasks()
    for line in orders:
        answers.write(json.dumps(tasks.answer(json.loads(line))) + "\n")
        answers.flush()


def _own_pipes() -> tuple[IO[str], IO[str]]:
    """Standard input and output under numbers of their own; the usual ones lead to nothing and to standard error."""
    orders, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return os.fdopen(orders, "r", encoding="utf-8"), os.fdopen(answers, "w", encoding="utf-8")


class Tasks:
    """Computes the tasks of one job after another; the job and the data of the last one stay loaded."""

    def __init__(self) -> None:
        self._key: Any = None
        self._side: PartySide | None = None

    def answer(self, task: dict[str, Any]) -> dict[str, Any]:
        """Whatever goes wrong in the job, its source or the data is an answer."""
        limit_time(task["seconds"])
        try:
            return self._compute(task)
        except (Exception, SystemExit) as error:
            from comity.simulation.party_side import failure_of

            failure = failure_of(error)
            return _refusal(failure.reason.value, failure.detail)

    def _compute(self, task: dict[str, Any]) -> dict[str, Any]:
        from pathlib import Path

        from comity.node.exchange import read_broadcast, read_memory, write_answer
        from comity.simulation.tasks import Task

        side = self._prepared(task)
        started = perf_counter()
        sent = read_broadcast(side, task["broadcast"])
        kept = read_memory(side, task["memory"], counted=task["counted"])
        asked = Task(task["party"], task["lease"], task["round"], task["budget"], kept)
        [batch] = side.answer(sent, [asked])
        if (fault := batch.fault(0)) is not None:
            return _refusal(fault.reason.value, fault.detail)
        return {"ok": True, **write_answer(batch, kept, Path(task["into"])), "seconds": perf_counter() - started}

    def _prepared(self, task: dict[str, Any]) -> PartySide:
        key = [task[name] for name in ("manifest", "source", "packages", "party", "data")]
        if self._side is None or self._key != key:
            self._side, self._key = _side(task), key
        return self._side


def _side(task: dict[str, Any]) -> PartySide:
    from pathlib import Path

    from comity.learners.base import Hardware
    from comity.learners.worker import enter_worker
    from comity.node.objects import read_job
    from comity.simulation.party_side import PartySide

    source = task["source"] and Path(task["source"])
    job = read_job(Path(task["manifest"]).read_text("utf-8"), source, task["packages"])
    side = PartySide(job, _OneParty(task["party"], _load(task["data"])), Hardware())
    enter_worker()
    return side


def _load(data: dict[str, Any]) -> PartyData:
    """The data set that `described` describes."""
    from comity.node.loading import load
    from comity.node.seal_key import FileKey

    key = data["key"] and FileKey(bytes.fromhex(data["key"]))
    return load(_entry(data["entry"]), key or None)


def _entry(node: dict[str, Any]) -> Entry:
    from pathlib import Path

    from comity.node.entries import Entry

    paths = {name: node[name] and Path(node[name]) for name in ("path", "encoder")}
    lists = {name: node[name] if node[name] is None else tuple(node[name]) for name in ("features", "labels")}
    return Entry(**{**node, **paths, **lists})


class _OneParty:
    """The population as a party sees it: itself."""

    test = None

    def __init__(self, name: str, data: PartyData) -> None:
        self.ids = (name,)
        self._data = data

    def __len__(self) -> int:
        return 1

    def __getitem__(self, party: str) -> PartyData:
        return self._data


def _refusal(reason: str, detail: str) -> dict[str, Any]:
    """A failure as it is told: of the reasons that a party can have, in words that fit a message."""
    named = {"no data": "no_data", "data": "data"}.get(reason)
    if named is None and reason != "error":
        detail = f"{reason}: {detail}"
    text = detail.encode("utf-8", "replace").decode()
    return {"ok": False, "reason": named or "error", "detail": text[:_MOST_DETAIL]}


if __name__ == "__main__":
    main()
