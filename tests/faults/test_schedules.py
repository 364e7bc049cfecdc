"""Whatever fails and in whatever order: the run ends, nothing acknowledged is lost, and the model is the right one.

Each schedule is drawn from its number. To see one again: `PYTHONPATH=tests python -m support.faultsim NUMBER`.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from comity.node.memory import PartyMemory
from comity.server.liverun import LiveRun
from comity.store.nonces import NoncesInMemory
from comity.wire.messages import Verdict
from support.faultsim.judge import faults
from support.faultsim.plan import plan
from support.faultsim.stage import Template, play
from support.virtual_time import run_virtually

CHUNK = 20
CHUNKS = 100
QUICK = 12


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return Template.make(tmp_path_factory.mktemp("template"))


@pytest.fixture
def disks() -> Iterator[Path]:
    """Where the machines have their disks: in memory where the system lets us, for schedules make many small files."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def _no_logs() -> Iterator[None]:
    """What servers log of the faults that are made on purpose would hide what is wrong."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def found(seed: int, template: Template, folder: Path) -> list[str]:
    """What is wrong with the schedule of this number."""
    disks = folder / str(seed)
    wrong = list(faults(run_virtually(play(plan(seed), template, disks))))
    shutil.rmtree(disks)
    return wrong


def all_found(seeds: range, template: Template, folder: Path) -> dict[int, list[str]]:
    return {seed: wrong for seed in seeds if (wrong := found(seed, template, folder))}


def test_some_schedules(template: Template, disks: Path) -> None:
    assert all_found(range(QUICK), template, disks) == {}


@pytest.mark.schedules
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_many_schedules(chunk: int, template: Template, disks: Path) -> None:
    first = QUICK + chunk * CHUNK
    assert all_found(range(first, first + CHUNK), template, disks) == {}


@pytest.mark.schedules
def test_a_schedule_is_the_same_in_every_process() -> None:
    def told(hashes: str) -> str:
        command = [sys.executable, "-m", "support.faultsim", "94"]
        variables = os.environ | {"PYTHONPATH": "tests", "PYTHONHASHSEED": hashes}
        return subprocess.run(command, capture_output=True, text=True, env=variables, timeout=120).stdout

    once = told("1")
    assert once.splitlines()[-1] == "none"
    assert once == told("2")


def lets_repeated_requests_in(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(NoncesInMemory, "use", lambda *_: True)


def remembers_what_has_not_counted(patch: pytest.MonkeyPatch) -> None:
    def latest(self: PartyMemory, run: str, lease: int | None) -> Path | None:
        files = sorted((self.folder / run).glob("*.safetensors"), key=lambda file: int(file.stem))
        return files[-1] if files else None

    patch.setattr(PartyMemory, "of", latest)


def tells_that_everything_counts(patch: pytest.MonkeyPatch) -> None:
    verdict = LiveRun.verdict

    def generous(self: LiveRun, party: str, lease: int) -> Any:
        return verdict(self, party, lease) and ("", Verdict(accepted=True))

    patch.setattr(LiveRun, "verdict", generous)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lets_repeated_requests_in, "taken twice"),
        (remembers_what_has_not_counted, "something else than it computes"),
        (tells_that_everything_counts, "the journal does not know"),
    ],
)
def test_faults_that_are_planted_are_found(
    fault: Any, words: str, template: Template, disks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a few dozen schedules, so that two thousand say something."""
    fault(monkeypatch)
    assert any(words in wrong for seed in range(60) for wrong in found(seed, template, disks))
