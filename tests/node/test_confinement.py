"""Confinement where a system allows no namespaces: limits are set all the same, and what is missing is said."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from comity.node import confinement
from comity.node.confinement import HIDDEN, can_isolate

WITHOUT = """
import json, resource
from comity.node import confinement

def refused():
    raise PermissionError("not here")

confinement._unshare = refused
missing = confinement.confine(confinement.Cage(memory_mb=512, file_mb=3))
limits = {name: resource.getrlimit(getattr(resource, name))[1] for name in dir(resource) if name.startswith("RLIMIT_")}
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps([missing, limits, status["NoNewPrivs"].strip()]))
"""

LASTING = """
from comity.node.confinement import limit_time

limit_time(0.1)
while True:
    pass
"""

WITH = """
import json, pathlib, sys
from comity.node import confinement

folder, file, seen = (pathlib.Path(name) for name in sys.argv[1:4])
confinement._MOUNT_SETATTR = int(sys.argv[4])
missing = confinement.confine(confinement.Cage(hide=[str(folder), str(file)], read=[str(seen)]))
print(json.dumps([missing, sorted(path.name for path in folder.iterdir()), file.read_text(), seen.read_text()]))
"""
NO_SUCH_CALL = 100_000


def confined() -> tuple[list[str], dict[str, int], str]:
    ended = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True, timeout=60)
    found: Any = json.loads(ended.stdout)
    return found[0], found[1], found[2]


def test_what_the_system_does_not_allow_is_named() -> None:
    missing, _, _ = confined()
    assert missing == ["own namespaces", "hidden folders"]


@pytest.mark.skipif(sys.platform != "linux", reason="a flag of Linux")
def test_no_program_gets_more_rights_in_any_case() -> None:
    _, _, no_new_privileges = confined()
    assert no_new_privileges == "1"


def test_a_process_that_computes_too_long_is_ended_by_a_signal() -> None:
    ended = subprocess.run([sys.executable, "-c", LASTING], check=False, timeout=60)
    assert ended.returncode == -signal.SIGXCPU


def hidden(tmp_path: Path, call: int) -> tuple[list[str], list[str], str, str]:
    """What a process lacks that should see `job.json` and nothing else; what it sees in its folder, a key, the job."""
    folder, file = tmp_path / "node", tmp_path / "seal.key"
    folder.mkdir()
    (folder / "signing.pem").write_text("secret")
    (folder / "job.json").write_text("a job")
    file.write_text("secret")
    arguments = [sys.executable, "-c", WITH, str(folder), str(file), str(folder / "job.json"), str(call)]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=60)
    missing, listed, key, seen = json.loads(ended.stdout)
    return missing, listed, key, seen


def test_keys_are_hidden_where_this_system_is_said_to_allow_it(tmp_path: Path) -> None:
    missing, listed, key, seen = hidden(tmp_path, confinement._MOUNT_SETATTR)
    assert can_isolate() == (not missing)
    assert (listed, key) == ((["job.json"], "") if can_isolate() else (["job.json", "signing.pem"], "secret"))
    assert seen == "a job"


def test_a_kernel_that_can_hide_only_a_part_hides_nothing_and_it_is_said(tmp_path: Path) -> None:
    missing, listed, key, seen = hidden(tmp_path, NO_SUCH_CALL)
    assert HIDDEN in missing
    assert (listed, key, seen) == (["job.json", "signing.pem"], "secret", "a job")


def test_limits_are_set_in_any_case() -> None:
    _, limits, _ = confined()
    assert limits["RLIMIT_DATA"] == 512 << 20
    assert limits["RLIMIT_FSIZE"] == 3 << 20
    assert limits["RLIMIT_CORE"] == 0
    assert 0 < limits["RLIMIT_NPROC"] <= 4096
    assert limits["RLIMIT_AS"] > 0
