"""Confinement where a system allows no namespaces: limits hold all the same, and what is missing is said."""

import json
import subprocess
import sys
from typing import Any

WITHOUT = """
import json, resource
from comity.node import confinement

def refused():
    raise PermissionError("not here")

confinement._unshare = refused
missing = confinement.confine(confinement.Cage(memory_mb=512, file_mb=3))
limits = {name: resource.getrlimit(getattr(resource, name))[1] for name in dir(resource) if name.startswith("RLIMIT_")}
print(json.dumps([missing, limits]))
"""


def confined() -> tuple[list[str], dict[str, int]]:
    ended = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True, timeout=60)
    found: Any = json.loads(ended.stdout)
    return found[0], found[1]


def test_what_the_system_does_not_allow_is_named() -> None:
    missing, _ = confined()
    assert missing == ["own namespaces", "hidden folders"]


def test_limits_hold_in_any_case() -> None:
    _, limits = confined()
    assert limits["RLIMIT_DATA"] == 512 << 20
    assert limits["RLIMIT_FSIZE"] == 3 << 20
    assert limits["RLIMIT_CORE"] == 0
    assert 0 < limits["RLIMIT_NPROC"] <= 4096
    assert limits["RLIMIT_AS"] > 0
