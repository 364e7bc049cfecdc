"""The command `comity` as a process, and a small job file for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

JOB = '''
"""Linear regression by a function of one's own; REST is how long a party rests at each visit, in seconds."""

import os
import time

import comity as ct
import numpy as np


def start(rng):
    return {"slope": rng.normal(size=3)}


def fit(weights, x, y, plan, rng):
    time.sleep(float(os.environ.get("REST", "0")))
    for batch in np.array_split(rng.permutation(len(x)), 4):
        weights["slope"] -= plan.lr * x[batch].T @ (x[batch] @ weights["slope"] - y[batch]) / len(batch)
    return weights


def predict(weights, x):
    return x @ weights["slope"]


def loss(outputs, y):
    return (outputs - y) ** 2


rng = np.random.default_rng(0)
x = rng.normal(size=(200, 3))
y = x @ np.array([1.0, -2.0, 0.5]) + rng.normal(scale=0.1, size=200)
data = ct.data.from_arrays(x, y, test=0.2).split(ct.data.IID(parties=8))

model = ct.Function(start, fit, predict, loss, metrics=["rmse"])
job = ct.Job(ct.FedAvg(model, ct.LocalSGD(lr=0.2)), ct.Rounds(count=12, cohort=4))
federation = ct.Simulation(data, engine="resident")
'''


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-c", "from comity.cli import main; main()", *map(str, words)]


def environment(**variables: str) -> dict[str, str]:
    return os.environ | {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"} | variables


def comity(*words: str | Path, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end in `folder`."""
    return subprocess.run(
        command(*words), cwd=folder, env=environment(**variables), capture_output=True, text=True, timeout=120
    )


def parse(command: Any, arguments: list[str], name: str) -> None:
    """Parse `arguments` as the command line would, down to the last subcommand; raises where something is unknown."""
    if arguments in (["--help"], ["--version"]):
        return
    if hasattr(command, "commands"):
        inner = command.get_command(None, arguments[0])
        if inner is None:
            raise KeyError(arguments[0])
        parse(inner, arguments[1:], f"{name} {arguments[0]}")
    else:
        command.make_context(name, list(arguments))
