"""Processes that are killed, and disks that are full: what was acknowledged is there, and nothing is there by half."""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from comity.store.blobs import Blobs
from comity.store.errors import StorageFull
from comity.store.journal import Journal
from support.journals import RUN, a_record, begun

APPEND = """
import sys
from comity.store.journal import Journal
from comity.store.rows import Record

journal = Journal.open(sys.argv[1])
while True:
    version = journal.run("00000000000000aa").version
    body = {"seq": version + 1, "filler": "x" * (version * 37 % 9000)}
    pair = [Record("00000000000000aa", version + 1 + i, 1.0, "counted", body) for i in range(2)]
    if journal.append("00000000000000aa", version, pair, ("running", str(version + 2))):
        print(version + 2, flush=True)
"""

STORE = """
import hashlib, os, sys
from comity.store.blobs import Blobs

blobs = Blobs.open(sys.argv[1])
while True:
    data = os.urandom(1 << 19)
    digest = hashlib.sha256(data).hexdigest()
    blobs.put_part("north", digest, data)
    print(digest, flush=True)
"""


def killed(script: str, target: str, lines: int, delay: float) -> list[str]:
    """What the process had acknowledged when it was killed, `delay` seconds after so many lines."""
    with subprocess.Popen([sys.executable, "-c", script, target], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(lines)]
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        said += process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL
    return [line.strip() for line in said if line.endswith("\n")]


@pytest.mark.long
def test_a_killed_process_loses_no_record_that_it_acknowledged(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/journal.db"
    journal = Journal.open(url)
    begun(journal)
    journal.close()
    moments = random.Random(7)
    for kill in range(5):
        said = killed(APPEND, url, 3 + kill, moments.uniform(0.0, 0.01))
        journal = Journal.open(url)
        records, row = journal.records(RUN), journal.run(RUN)
        journal.close()
        assert row is not None
        assert len(records) >= int(said[-1])
        assert [record.seq for record in records] == list(range(1, len(records) + 1))
        assert (row.version, row.detail) == (len(records), str(len(records)))
        assert len(records) % 2 == 1, "two records that are appended together are both there, or neither"


def test_a_killed_process_loses_no_part_that_it_acknowledged_and_leaves_no_half(tmp_path: Path) -> None:
    moments = random.Random(8)
    for _ in range(3):
        said = killed(STORE, str(tmp_path / "blobs"), 2, moments.uniform(0.0, 0.02))
        blobs = Blobs.open(tmp_path / "blobs")
        assert blobs.missing("north", said) == []
        for part in blobs.each():
            assert hashlib.sha256(blobs.part("north", part.digest)).hexdigest() == part.digest


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """Writing beyond `size` fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_part_that_does_not_fit_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    blobs = Blobs.open(tmp_path)
    data = os.urandom(300_000)
    name = hashlib.sha256(data).hexdigest()
    with files_no_larger_than(100_000), pytest.raises(StorageFull, match="space"):
        blobs.put_part("north", name, data)
    assert blobs.missing("north", [name]) == [name]
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    blobs.put_part("north", name, data)
    assert blobs.part("north", name) == data


def test_a_record_that_does_not_fit_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    journal = Journal.open(f"sqlite:///{tmp_path}/journal.db")
    before = begun(journal)
    with files_no_larger_than(400_000), pytest.raises(StorageFull, match="space"):
        journal.append(RUN, 1, [a_record(2), a_record(3, body="x" * 1_000_000)], ("failed", "no"))
    found = journal.run(RUN)
    assert found is not None
    assert (found.version, found.state) == (1, before.state)
    assert journal.append(RUN, 1, [a_record(2)])
    journal.close()
    journal = Journal.open(f"sqlite:///{tmp_path}/journal.db")
    assert journal.records(RUN, 1) == [a_record(2)]
    journal.close()


FILL = """
import hashlib, json, os, sys
from comity.store.blobs import Blobs
from comity.store.errors import StorageFull
from comity.store.journal import Journal
from support.journals import RUN, a_record, begun

folder = sys.argv[1]
journal, blobs = Journal.open(f"sqlite:///{folder}/journal.db"), Blobs.open(f"{folder}/blobs")
begun(journal)
facts = {"records": 1, "parts": []}

def whole(part):
    return hashlib.sha256(blobs.part("north", part.digest)).hexdigest() == part.digest

def append():
    after = facts["records"]
    return journal.append(RUN, after, [a_record(after + 1, body="y" * 20_000)])

try:
    while True:
        data = os.urandom(200_000)
        digest = hashlib.sha256(data).hexdigest()
        blobs.put_part("north", digest, data)
        facts["parts"].append(digest)
except StorageFull:
    facts["blobs"] = "full"
try:
    while True:
        facts["records"] += append()
except StorageFull:
    facts["journal"] = "full"
facts["read"] = [len(journal.records(RUN)), journal.run(RUN).version]
facts["listed"] = [part.digest for part in blobs.each() if whole(part)]
facts["drafts"] = os.listdir(f"{folder}/blobs/.drafts")
blobs.drop("north", facts["parts"][:2])
facts["again"] = append()
print(json.dumps(facts))
"""


def test_a_full_disk_is_told_and_takes_again_once_there_is_room(tmp_path: Path) -> None:
    mount = f'mount -t tmpfs -o size=4m none "{tmp_path}"'
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "sh", "-c", mount], check=False).returncode:
        pytest.skip("a small disk cannot be mounted here (unshare -rm)")
    command = ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$@"', "sh", sys.executable, "-c", FILL, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["blobs"], facts["journal"], facts["again"]) == ("full", "full", True)
    assert facts["read"] == [facts["records"]] * 2
    assert sorted(facts["listed"]) == sorted(facts["parts"])
    assert facts["drafts"] == []
