"""Small modules, data and an explicit autograd loop that the trainers are held against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import comity.learners.torch as ct
from comity.core.seeds import Seed
from comity.data.examples import Affine, Examples
from comity.learners.base import Work
from comity.learners.plan import Correction, LocalAdam, LocalAdamW, LocalPlan, LocalSGD
from comity.learners.torch.batches import order

FEATURES, CLASSES = 12, 4


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, 8), nn.ReLU(), nn.Linear(8, CLASSES))


def make_examples(count: int, seed: int = 0, shape: tuple[int, ...] = (FEATURES,), classes: int = CLASSES) -> Examples:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, *shape)).astype(np.float32)
    return Examples(x, rng.integers(0, classes, count))


def make_work(
    model: ct.Model, sizes: Sequence[int] = (23,), plan: LocalPlan | None = None, shape: tuple[int, ...] = (FEATURES,)
) -> Work:
    """Work for parties of given sizes that share one table of stored bytes."""
    rng = np.random.default_rng(1)
    x = rng.integers(0, 256, size=(sum(sizes), *shape)).astype(np.uint8)
    y = rng.integers(0, CLASSES, size=sum(sizes))
    ends = np.cumsum(sizes)
    parties = [
        Examples(x, y, np.arange(end - size, end), Affine(1 / 64.0, -2.0))
        for size, end in zip(sizes, ends, strict=True)
    ]
    return Work(
        weights=model.init(Seed.of(1)),
        examples=parties,
        plan=plan or LocalSGD(lr=0.1, batch_size=5),
        seeds=[Seed.of(2).child("party", index=index) for index in range(len(sizes))],
        local=model.init_local(Seed.of(1)) if model.layout.local_size else None,
    )


def optimizer_of(plan: LocalPlan, parameters: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    match plan:
        case LocalAdamW():
            return torch.optim.AdamW(parameters, lr=lr, betas=plan.betas, eps=plan.eps, weight_decay=plan.weight_decay)
        case LocalAdam():
            return torch.optim.Adam(parameters, lr=lr, betas=plan.betas, eps=plan.eps, weight_decay=plan.weight_decay)
        case LocalSGD():
            return torch.optim.SGD(
                parameters, lr=lr, momentum=plan.momentum, nesterov=plan.nesterov, weight_decay=plan.weight_decay
            )
        case _:
            raise AssertionError(plan)


def autograd_loop(
    module: nn.Module,
    model: ct.Model,
    work: Work,
    party: int = 0,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = F.cross_entropy,
) -> tuple[dict[str, np.ndarray], float]:
    """One party's training as a user of torch would write it: the arrays at the end and the mean training loss."""
    arrays = {name: torch.from_numpy(np.array(array)) for name, array in model.export(work.weights).items()}
    module.load_state_dict(arrays)
    module.train()
    plan, examples = work.plan, work.examples[party]
    lr = plan.lr * plan.schedule.factor(work.round)
    optimizer = optimizer_of(plan, list(module.parameters()), lr)
    x, y = torch.from_numpy(examples.features()), torch.from_numpy(examples.labels())
    size = min(plan.batch_size or len(x), len(x))
    anchor, drift = (
        None if v is None else model.layout.unpack(torch.from_numpy(np.asarray(v)))
        for v in (work.correction.anchor, work.correction.drift)
    )
    remaining, epoch, total, seen = plan.batches(len(x), work.budget(party)), 0, 0.0, 0
    torch.manual_seed(work.seeds[party].child("dropout").integer())
    while remaining:
        rows = order(work.seeds[party], epoch, len(x)) if size < len(x) else np.arange(len(x))
        for start in range(0, len(x), size):
            if not remaining:
                break
            batch = torch.from_numpy(rows[start : start + size])
            optimizer.zero_grad()
            value = loss(module(x[batch]), y[batch])
            value.backward()
            with torch.no_grad():
                for name, parameter in module.named_parameters():
                    if anchor is not None and work.correction.mu:
                        parameter.grad += work.correction.mu * (parameter - anchor[name])
                    if drift is not None:
                        parameter.grad += drift[name]
            if plan.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(module.parameters(), plan.clip_norm)
            optimizer.step()
            total, seen, remaining = total + value.item() * len(batch), seen + len(batch), remaining - 1
        epoch += 1
    return {name: array.detach().numpy().copy() for name, array in module.state_dict().items()}, total / seen


PLANS: dict[str, LocalPlan] = {
    "sgd": LocalSGD(lr=0.1, batch_size=5),
    "two epochs": LocalSGD(lr=0.1, batch_size=5, epochs=2),
    "steps over the epoch": LocalSGD(lr=0.1, batch_size=5, steps=7),
    "full batch": LocalSGD(lr=0.1, epochs=3),
    "weight decay": LocalSGD(lr=0.1, batch_size=5, weight_decay=0.05),
    "momentum": LocalSGD(lr=0.1, batch_size=5, momentum=0.9, weight_decay=0.01),
    "nesterov": LocalSGD(lr=0.1, batch_size=5, momentum=0.9, nesterov=True),
    "clip": LocalSGD(lr=0.1, batch_size=5, clip_norm=0.3),
    "adam": LocalAdam(lr=0.01, batch_size=5, weight_decay=0.02),
    "adamw": LocalAdamW(lr=0.01, batch_size=5, clip_norm=0.5),
}


def random_correction(model: ct.Model, kind: str) -> Correction:
    rng = np.random.default_rng(3)
    anchor, drift = (rng.normal(size=model.layout.size).astype(np.float32) * 0.1 for _ in range(2))
    return {
        "none": Correction(),
        "proximal": Correction(mu=0.3, anchor=anchor),
        "drift": Correction(drift=drift),
        "both": Correction(mu=0.3, anchor=anchor, drift=drift),
    }[kind]


@pytest.fixture
def global_state() -> object:
    """Torch's global state as a caller sees it."""
    return lambda: (torch.get_rng_state().tolist(), torch.get_num_threads(), torch.get_default_dtype())


__all__ = ["PLANS", "autograd_loop", "make_examples", "make_work", "perceptron", "random_correction", "replace"]
