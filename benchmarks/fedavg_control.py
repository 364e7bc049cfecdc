"""FedAvg in Comity beside FedAvg as a plain PyTorch loop that shares no code with it: rounds to 97 % on MNIST.

Comity needs fewer rounds than the published rows of `parity_fedavg.py` at the best learning rate. This control says
whether that is Comity's doing: the same parties, model, rates and stopping rule, in forty lines of autograd.
"""

from __future__ import annotations

from collections.abc import Iterator

import networks
import numpy as np
import torch
from parity_fedavg import BY_NAME, Row, rounds
from study import Study, crossing, load, options
from torch.nn.functional import cross_entropy

import comity as ct

ROWS = ("2nn-iid-c10-b10", "2nn-noniid-c10-b10")
RATES = (0.1, 0.2)
HEADER = ("row", "learning rate", "paper, at its best rate", "plain PyTorch loop", "Comity", "Comity ÷ loop")


def tensors(examples: ct.data.Examples) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(np.array(examples.features())), torch.from_numpy(np.array(examples.labels()))


def train(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, lr: float, batch: int) -> None:
    """One epoch of SGD in a random order."""
    optimizer = torch.optim.SGD(model.parameters(), lr)
    for chosen in torch.randperm(len(y)).split(batch):
        optimizer.zero_grad()
        cross_entropy(model(x[chosen]), y[chosen]).backward()
        optimizer.step()


def accuracies(row: Row, lr: float, data: ct.data.Parties) -> Iterator[float]:
    """Test accuracy after each round of FedAvg."""
    parties = [tensors(data[name].train) for name in data.ids]
    assert data.test is not None
    assert row.batch is not None
    test = tensors(data.test)
    model = networks.perceptron()
    center = [p.detach().clone() for p in model.parameters()]
    while True:
        chosen = torch.randperm(len(parties))[: row.cohort].tolist()
        examples = sum(len(parties[k][1]) for k in chosen)
        mean = [torch.zeros_like(p) for p in center]
        for k in chosen:
            put(model, center)
            train(model, *parties[k], lr, row.batch)
            for total, p in zip(mean, model.parameters(), strict=True):
                total += p.detach() * (len(parties[k][1]) / examples)
        center = mean
        put(model, center)
        with torch.no_grad():
            yield (model(test[0]).argmax(1) == test[1]).float().mean().item()


def put(model: torch.nn.Module, weights: list[torch.Tensor]) -> None:
    with torch.no_grad():
        for p, value in zip(model.parameters(), weights, strict=True):
            p.copy_(value)


def loop_rounds(row: Row, lr: float, cap: int, seed: int, data: ct.data.Parties) -> float | None:
    """Rounds to the target of the plain loop; None where `cap` rounds do not reach it."""
    torch.manual_seed(seed)
    curve: list[float] = []
    for value in accuracies(row, lr, data):
        curve.append(value)
        if value >= row.target or len(curve) == cap:
            return crossing(range(1, len(curve) + 1), curve, row.target)
    return None


def text(needed: list[float | None], cap: int) -> str:
    reached = [value for value in needed if value is not None]
    if len(reached) < len(needed):
        return f"> {cap} ({len(needed) - len(reached)} of {len(needed)} seeds)"
    return f"{np.mean(reached):.0f} ({min(reached):.0f}–{max(reached):.0f})"


def main() -> None:
    asked = options(__doc__ or "", seeds=3, rows=ROWS)
    mnist = load("mnist", asked)
    data = {
        True: mnist.split(ct.data.IID(100), seed=0, heldout=0.0),
        False: mnist.split(ct.data.Shards(100, 2), seed=0, heldout=0.0),
    }
    study = Study("fedavg_control", asked, HEADER)
    for name in asked.rows or (ROWS[:1] if asked.quick else ROWS):
        row = BY_NAME[name]
        for lr in RATES:
            seeds, cap = range(1 if asked.quick else asked.seeds), row.paper
            plain = [loop_rounds(row, lr, cap, seed, data[row.iid]) for seed in seeds]
            ours = [rounds(row, lr, cap, seed, data[row.iid], asked) for seed in seeds]
            both = [a for a in plain if a is not None], [b for b in ours if b is not None]
            ratio = f"{np.mean(both[1]) / np.mean(both[0]):.2f}" if all(both) else "–"
            study.rows.append([name, f"{lr:g}", f"{row.paper}", text(plain, cap), text(ours, cap), ratio])
            study.results.append({"row": name, "lr": lr, "loop": plain, "comity": ours})
            study.note(" | ".join(map(str, study.rows[-1])))
    study.publish([])


if __name__ == "__main__":
    main()
