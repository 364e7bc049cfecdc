"""`ct.Deployment`: the public name, and what is missing where its libraries are."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
for name in ("pydantic", "aiohttp", "cryptography"):
    sys.modules[name] = None
import comity as ct
kind = ct.Deployment
try:
    kind("https://study.example:8443")
except ct.ComityError as error:
    print(error)
"""


def test_without_its_libraries_the_name_is_there_and_using_it_says_what_to_install() -> None:
    ended = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert 'pip install "comity[node]"' in ended.stdout
