"""Play one schedule again and tell what happened: `PYTHONPATH=tests python -m support.faultsim SEED`."""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

from comity.store.journal import Journal
from comity.store.rows import Record
from support.faultsim.judge import faults
from support.faultsim.plan import plan
from support.faultsim.stage import Stage, Template, play
from support.virtual_time import run_virtually


def main(seed: int) -> int:
    logging.disable(logging.CRITICAL)
    drawn = plan(seed)
    with tempfile.TemporaryDirectory() as name:
        template, folder = Path(name, "template"), Path(name, "schedule")
        template.mkdir()
        stage = run_virtually(play(drawn, Template.make(template), folder))
        found = list(faults(stage))
        lines = [f"schedule {seed}", str(drawn.weather)]
        lines += [f"run {run}: {job.program}, {job.rounds}" for run, job in drawn.jobs.items()]
        lines += [*stage.trace, "the journal:", *_journal(stage), "faults:", *(found or ["none"])]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if found else 0


def _journal(stage: Stage) -> list[str]:
    journal = Journal.open(f"sqlite:///{stage.server_folder / 'journal.db'}")
    told = [_line(record) for run in stage.plan.jobs for record in journal.records(run)]
    journal.close()
    return told


def _line(record: Record) -> str:
    body: Any = record.body
    shown = {name: body[name] for name in ("party", "lease", "round", "reason", "detail") if name in body}
    return f"{record.run} {record.seq:4} {record.kind} {shown}"


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
