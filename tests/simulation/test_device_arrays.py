"""Vectors that live on a device: the server's half runs on the learner's own arrays, wherever they are.

No accelerator is needed: tensors on the CPU take the way that tensors on a GPU take.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import comity as ct

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from comity.learners.torch.resident import ResidentTrainer  # noqa: E402

DATA = ct.data.load("digits").split(ct.data.Dirichlet(parties=8, alpha=0.5), seed=1)
PLAN = ct.LocalSGD(lr=0.1, epochs=1, batch_size=16)


class Net(torch.nn.Module):  # type: ignore[misc,name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Linear(64, 16)
        self.head = torch.nn.Linear(16, 10)

    def forward(self, x: Any) -> Any:
        return self.head(torch.relu(self.body(x)))


MODEL = ct.torch.Model(Net)
PROGRAMS = [
    ct.FedAvg(MODEL, PLAN),
    ct.FedYogi(MODEL, PLAN),
    ct.FedProx(MODEL, PLAN, mu=0.1),
    ct.Scaffold(MODEL, PLAN),
    ct.FedNova(MODEL, PLAN),
    ct.FedDyn(MODEL, PLAN, alpha=0.1),
    ct.FedAvg(ct.torch.Model(Net, local=("head.*",)), PLAN),
]


@pytest.fixture
def on_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ResidentTrainer, "place", lambda self, array: torch.tensor(array))


def carry_out(program: Any, engine: Any, **options: Any) -> ct.Run:
    aggregator = ct.Mean() if isinstance(program, ct.FedNova) else ct.Clip(5.0) >> ct.Mean()
    job = ct.Job(program, ct.Rounds(count=3, cohort=5), aggregator, seed=2)
    return ct.run(job, ct.Simulation(DATA, engine=engine), **options)


@pytest.mark.parametrize("engine", ["resident", "batched"])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: type(program).__name__)
def test_tensors_give_what_arrays_give(program: Any, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = carry_out(program, engine)
    monkeypatch.setattr(ResidentTrainer, "place", lambda self, array: torch.tensor(array))
    found = carry_out(program, engine)
    assert found.history.rejections() == []
    assert np.abs(found.model.vector - expected.model.vector).max() < 1e-5
    assert found.evaluate().pooled["loss"] == pytest.approx(expected.evaluate().pooled["loss"], abs=1e-4)
    kept = [array for memory in found.party_memory.values() for array in memory.values()]
    assert all(isinstance(array, torch.Tensor) for array in kept)


@pytest.mark.usefixtures("on_device")
def test_a_run_on_tensors_is_resumed_to_the_same_bytes(tmp_path: Path) -> None:
    class Cut(Exception): ...

    class AfterTwo:
        def on_start(self, job: Any, note: str) -> None: ...

        def on_round(self, record: Any) -> None:
            if record.round == 2:
                raise Cut

        def on_end(self, ending: str) -> None: ...

    program = ct.Scaffold(MODEL, PLAN)
    whole = carry_out(program, "resident")
    with pytest.raises(Cut):
        carry_out(program, "resident", folder=tmp_path, checkpoint_every=1, callbacks=[AfterTwo()])
    resumed = carry_out(program, "resident", folder=tmp_path, resume=True)
    assert whole.model.vector.tobytes() == resumed.model.vector.tobytes()
