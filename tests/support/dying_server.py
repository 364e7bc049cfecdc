"""A server that is killed at each of its writes: `python -m support.dying_server DIR DEATHS`.

It is the code of `comity server start DIR`, which sends itself SIGKILL at every write the first time it comes to it:
a transaction of the journal just before it is committed and, when it comes to it again, just after; a part of a blob
once its draft is written and, when it comes to it again, once the part is there. Each death is a line of the file
DEATHS, written before it. Then the server is started again, until a SIGTERM ends it.

A write is known by what it writes (`record 7`, `audit enrolled`), so one that is decided anew after a death counts as
the same. The processes are forked from one that has imported the code and opened nothing: an interpreter that starts
a hundred times would take minutes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Engine, event
from sqlalchemy.engine.default import DefaultDialect

from comity.server.config import read
from comity.server.process import serve
from comity.store import drafts

When = Literal["before", "after"]


@dataclass(frozen=True)
class Death:
    """At which write, on which side of it, and the kinds of the run's records that it writes."""

    write: str
    when: When
    kinds: tuple[str, ...] = ()


def deaths(file: Path) -> list[Death]:
    """What is written in the file so far, in order."""
    lines = file.read_text().splitlines() if file.exists() else []
    return [Death(line["write"], line["when"], tuple(line["kinds"])) for line in map(json.loads, lines)]


@dataclass
class Fate:
    """Where this process still has to die."""

    file: Path
    suffered: set[tuple[str, When]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.suffered |= {(death.write, death.when) for death in deaths(self.file)}

    def meet(self, write: str, when: When, kinds: tuple[str, ...] = ()) -> None:
        """Die, unless this has happened before."""
        if (write, when) in self.suffered:
            return
        with self.file.open("a") as lines:
            lines.write(json.dumps({"write": write, "when": when, "kinds": kinds}) + "\n")
        os.kill(os.getpid(), signal.SIGKILL)


def arm(fate: Fate) -> None:
    """From now on every write of this process is one to die at."""
    commit: Callable[[Any, Any], None] = DefaultDialect.do_commit
    move = drafts.move_file

    @event.listens_for(Engine, "begin")
    def began(connection: Any) -> None:
        connection.info["wrote"] = []

    @event.listens_for(Engine, "before_execute")
    def wrote(connection: Any, clause: Any, several: Any, one: Any, options: Any) -> None:
        if getattr(clause, "is_dml", False):
            connection.info["wrote"] += [_statement(clause, values) for values in several or [one]]

    def committed(dialect: Any, connection: Any) -> None:
        statements = sorted(connection.info.pop("wrote", []))
        kinds = tuple(kind for _, _, kind in statements if kind)
        for _, name, _ in statements[:1]:
            fate.meet(name, "before", kinds)
        commit(dialect, connection)
        for _, name, _ in statements[:1]:
            fate.meet(name, "after", kinds)

    def moved(draft: Path, target: Path) -> None:
        name = f"part {target.parent.name}/{target.name}"
        fate.meet(name, "before")
        move(draft, target)
        fate.meet(name, "after")

    DefaultDialect.do_commit = committed
    drafts.move_file = moved


def _statement(clause: Any, values: Any) -> tuple[int, str, str]:
    """What a statement writes, before it how much that tells of its transaction, and the kind of a record."""
    given = {**clause.compile().params, **values}
    match clause.table.name:
        case "records":
            return given["seq"], f"record {given['run']} {given['seq']}", given["kind"]
        case "audit":
            return _FIRST_OF_OTHERS, f"audit {given['action']}", ""
        case name:
            columns = " ".join(sorted(set(given) & set(clause.table.c.keys())))
            rank = _FIRST_OF_OTHERS + (name in ("runs", "audit_head"))
            return rank, f"{clause.__visit_name__} {name} {given.get('name_1', '')} {columns}", ""


_FIRST_OF_OTHERS = 1 << 62
"""No record has this number: a transaction is called by the first record that it writes, if there is one."""


def main(folder: Path, file: Path) -> None:
    """Start the server, and again whenever it was killed."""
    child, told = 0, False

    def end(number: int, frame: object) -> None:
        nonlocal told
        told = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    while not told:
        # A signal that came before `child` is known would end nobody.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        child = os.fork()
        if not child:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            arm(Fate(file))
            serve(folder, read(folder, {}))
            os._exit(0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
            sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
