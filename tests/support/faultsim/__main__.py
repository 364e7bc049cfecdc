"""Play one schedule again and tell what happened: `PYTHONPATH=tests python -m support.faultsim SEED`."""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path

from comity.store.journal import Journal
from support.faultsim.judge import faults
from support.faultsim.plan import plan
from support.faultsim.stage import RUN, Stage, Template, play
from support.virtual_time import run_virtually


def main(seed: int) -> int:
    logging.disable(logging.CRITICAL)
    drawn = plan(seed)
    with tempfile.TemporaryDirectory() as name:
        template, folder = Path(name, "template"), Path(name, "schedule")
        template.mkdir()
        stage = run_virtually(play(drawn, Template.make(template), folder))
        found = list(faults(stage))
        lines = [f"schedule {seed}: {drawn.job.program}, {drawn.job.rounds}", str(drawn.weather), *stage.trace]
        lines += ["the journal:", *_journal(stage), "faults:", *(found or ["none"])]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if found else 0


def _journal(stage: Stage) -> list[str]:
    journal = Journal.open(f"sqlite:///{stage.server_folder / 'journal.db'}")
    shown = ("party", "lease", "round", "reason", "detail")
    told = [
        f"{record.seq:4} {record.kind} { ({name: record.body[name] for name in shown if name in record.body}) }"
        for record in journal.records(RUN)
    ]
    journal.close()
    return told


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
