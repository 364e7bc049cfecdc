"""`ct.Deployment`: the public name, and what is missing where its libraries are."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

import comity as ct
from comity.deployment import client, following
from support.quadratic import Quadratic

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


class Nobody:
    """A conversation in which a run has been begun."""

    membership = SimpleNamespace(deployment="study")

    def __init__(self, *_: Any) -> None: ...

    async def __aenter__(self) -> Nobody:
        return self

    async def __aexit__(self, *_: Any) -> None: ...

    async def submit(self, *_: Any) -> SimpleNamespace:
        return SimpleNamespace(id="aa" * 8)


class Watches:
    def __init__(self) -> None:
        self.told: list[str] = []

    def on_start(self, job: ct.Job, note: str) -> None:
        self.told.append(note)

    def on_round(self, record: Any) -> None: ...

    def on_end(self, ending: str) -> None:
        self.told.append(ending)


def test_who_watches_is_told_of_the_end_also_when_the_watching_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken_off(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "Client", Nobody)
    monkeypatch.setattr(following, "follow", broken_off)
    watches = Watches()
    job = ct.Job(ct.FedAvg(Quadratic(), ct.LocalSGD(lr=0.1)), ct.Rounds(count=2))
    with pytest.raises(KeyboardInterrupt):
        ct.run(job, ct.Deployment(), callbacks=[watches])
    assert watches.told == [f"deployment study, run {'aa' * 8}", "interrupted"]
