"""Nodes on this machine: their folders, a job with source of its own, and a server that lies in a dictionary."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from comity.cli import jobfile
from comity.jobs.job import Job
from comity.node.data import DataRegistry
from comity.node.entries import Entry
from comity.node.home import NodeConfig, NodeHome
from comity.wire.client import ProblemError
from comity.wire.digests import blob_of, sha256, source_digest
from comity.wire.messages import (
    Ask,
    Assignment,
    Blob,
    Contributed,
    JobText,
    Problem,
    Refused,
    Source,
    Verdict,
    Work,
)
from comity.wire.transport import TransportError

RUN = "00000000000000aa"

ALLOW = '[[allow]]\nprogram = ["FedAvg", "Scaffold"]\ndatasets = ["digits"]\nsource = "approved"\n'

SOURCE = """
import torch

import comity as ct


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(64, 16)
        self.outer = torch.nn.Linear(16, 10)

    def forward(self, x):
        return self.outer(torch.relu(self.inner(x)))


model = ct.torch.Model(Net, loss="cross_entropy", metrics=["accuracy"])
job = ct.Job(ct.PROGRAM(model, ct.LocalSGD(lr=0.1, epochs=1, batch_size=16)), ct.Rounds(count=3), seed=3)
federation = ct.Deployment("this line fails on every machine but the submitter's", undefined)
"""

PLAIN = '''
"""A job in which parties do what EXTRA says before they train by a function."""

import numpy as np

import comity as ct


def start(rng):
    return {"slope": rng.normal(size=64)}


def fit(weights, x, y, plan, rng):
    EXTRA
    weights["slope"] -= plan.lr * x.T @ (x @ weights["slope"] - y) / len(x)
    return weights


def predict(weights, x):
    return x @ weights["slope"]


def loss(outputs, y):
    return (outputs - y) ** 2


job = ct.Job(ct.FedAvg(ct.Function(start, fit, predict, loss), ct.LocalSGD(lr=0.01)), ct.Rounds(count=2))
'''


def job_of(text: str, folder: Path) -> Job:
    """The job of a source text, as its submitter makes it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "job.py"
    path.write_text("\n".join(line for line in text.splitlines() if not line.startswith("federation")))
    return jobfile.load(path).job


def a_home(folder: Path, name: str = "party-0", *, rows: int = 60, first: int = 0, policy: str = ALLOW) -> NodeHome:
    """A node that has joined, with a slice of the digits as its data."""
    from sklearn.datasets import load_digits

    home = NodeHome(folder / name)
    home.create()
    # The code that these jobs bring is the tests' own; what becomes of others' is for tests that say so.
    home.write(
        NodeConfig(name=name, address="https://server.test", deployment="d", registrar="r", isolation="optional")
    )
    home.policy_file.write_text(policy)
    digits = load_digits()
    chosen = slice(first, first + rows)
    x, y = (digits.data[chosen] / 16).astype(np.float32), digits.target[chosen].astype(np.int64)
    np.savez(home.path / "digits.npz", x_train=x, y_train=y)
    DataRegistry(home.path).add(Entry("digits", home.path / "digits.npz"))
    return home


@dataclass(eq=False)
class InMemory:
    """The server as one node sees it: what it has assigned, and what came back. It is a `Session` as well."""

    job: Job
    source: Mapping[str, str] | None = None
    open: dict[int, Assignment] = field(default_factory=dict)
    answers: dict[int, Contributed | Refused] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    uploaded: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    away: bool = False
    run: str = RUN

    def __post_init__(self) -> None:
        self.changed = asyncio.Event()

    def assign(self, lease: int, *, round: int = 0, counted: int | None = None, state: Any = None) -> Assignment:
        state = self.job.program.init(self.job.root_seed) if state is None else state
        broadcast = {}
        for name, vector in self.job.program.broadcast(state).items():
            content = save({name: np.asarray(vector)})
            broadcast[name] = blob_of(content)
            self.blobs[broadcast[name].digest] = content
        assignment = Assignment(
            run=self.run,
            job=self.job.id,
            dataset="digits",
            lease=lease,
            round=round,
            attempt=0,
            expires=None,
            broadcast=broadcast,
            counted=counted,
        )
        self.open[lease] = assignment
        self.changed.set()
        return assignment

    def withdraw(self, lease: int) -> None:
        del self.open[lease]
        self.changed.set()

    async def answered(self, lease: int, seconds: float = 120.0) -> Contributed | Refused:
        async with asyncio.timeout(seconds):
            while lease not in self.answers:
                await asyncio.sleep(0.01)
        return self.answers[lease]

    async def call(
        self, method: str, path: str, message: Any = None, expect: Any = None, query: Any = None, timeout: float = 30.0
    ) -> Any:
        self.calls.append((method, path))
        await asyncio.sleep(0)
        if self.away:
            raise TransportError("no connection")
        if path == "/v1/work":
            return await self._work(message)
        if path == f"/v1/runs/{self.run}/job":
            source = None if self.source is None else source_digest(self.source)
            return JobText(manifest=self.job.to_json(), source=source, submitter="ada", parties=3)
        if path == f"/v1/runs/{self.run}/source" and self.source is not None:
            return Source(files=dict(self.source))
        return self._answer(path, message)

    async def _work(self, ask: Ask) -> Work:
        if {(self.run, lease) for lease in self.open} == set(ask.open):
            self.changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ask.wait):
                    await self.changed.wait()
        return Work(open=tuple(self.open.values()))

    def _answer(self, path: str, message: Any) -> Verdict:
        lease = int(path.split("/")[-2])
        if lease not in self.open:
            raise ProblemError(404, Problem(title="not found", detail="there is no such lease"))
        assert path.split("/")[-1] == ("refusal" if isinstance(message, Refused) else "contribution")
        if isinstance(message, Contributed):
            assert message.vectors.digest in self.uploaded
        self.answers[lease] = message
        self.withdraw(lease)
        return Verdict(accepted=isinstance(message, Contributed))

    async def upload(self, source: bytes | Path, known: Blob | None = None) -> Blob:
        self.calls.append(("PUT", "parts"))
        if self.away:
            raise TransportError("no connection")
        content = source.read_bytes() if isinstance(source, Path) else source
        self.uploaded[sha256(content)] = content
        return blob_of(content)

    async def download(self, path: str, blob: Blob, into: Path) -> None:
        self.calls.append(("GET", path))
        if self.away:
            raise TransportError("no connection")
        into.write_bytes(self.blobs[blob.digest])

    async def close(self) -> None:
        """Nothing is held."""


def logged(home: NodeHome, kind: str) -> list[dict[str, Any]]:
    """The facts of all entries of a kind in a node's log."""
    entries = [json.loads(line) for line in home.log_file.read_text().splitlines()] if home.log_file.exists() else []
    return [entry["facts"] for entry in entries if entry["kind"] == kind]


def write_vectors(vectors: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """Each vector as the file that a node would have received."""
    files = {name: folder / f"{name}.received" for name in vectors}
    for name, vector in vectors.items():
        files[name].write_bytes(save({name: np.asarray(vector)}))
    return files
