"""Workers that are forked from a process whose libraries have threads of their own do not wait for them."""

import subprocess
import sys

import pytest

SCRIPT = """
import torch
import comity as ct

torch.set_num_threads(4)
torch.randn(600, 600) @ torch.randn(600, 600)
torch.zeros(1 << 22).add_(1).sum()

data = ct.data.load("digits").split(ct.data.IID(parties=6), seed=1)
model = ct.torch.Model(torch.nn.Linear, arguments={"in_features": 64, "out_features": 10})
job = ct.Job(ct.FedAvg(model, ct.LocalSGD(lr=0.1, batch_size=10)), ct.Rounds(count=2))
for _ in range(2):
    print(ct.run(job, ct.Simulation(data, engine="workers", workers=2)).ending)
"""


def test_a_run_ends_after_the_parent_has_computed_on_several_threads() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split() == ["completed"] * 2, done.stderr
