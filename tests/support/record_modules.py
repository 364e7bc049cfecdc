"""Small modules and losses that record-level privacy is held against, with what a record of each looks like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

CLASSES = 4


def softmax(width: int = 6) -> nn.Module:
    return nn.Linear(width, CLASSES)


def mlp(width: int = 6) -> nn.Module:
    return nn.Sequential(nn.Linear(width, 7), nn.Tanh(), nn.Linear(7, CLASSES, bias=False))


def grouped_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(16, CLASSES),
    )  # fmt: skip


def plain_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, stride=2), nn.ReLU(), nn.Conv2d(3, 5, 2, dilation=1, bias=False), nn.ReLU(),
        nn.Flatten(), nn.Linear(5, CLASSES),
    )  # fmt: skip


class Positions(nn.Module):
    """Linear layers at every position of a record, whose outputs are averaged over positions."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(6, 5), nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(torch.tanh(self.inner(x))).mean(1)


class Tied(nn.Module):
    """Two layers that share their weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, CLASSES)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.second(torch.tanh(self.first(x)))))


class Twice(nn.Module):
    """One layer that is applied twice."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(6, 6), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.inner(torch.tanh(self.inner(x)))))


class InPlace(nn.Module):
    """A layer whose output is overwritten by the activation after it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 7), nn.ReLU(inplace=True), nn.Linear(7, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Recurrent(nn.Module):
    """A recurrent layer."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.LSTM(6, 5, batch_first=True), nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)[0][:, -1])


class Branching(nn.Module):
    """Control flow that depends on values, which `vmap` cannot map."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x if x.mean() > 0 else -2 * x)


class Aside(nn.Module):
    """A linear layer whose weight is also used without calling it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + torch.tanh(x @ self.linear.weight.t())


class Mixing(nn.Module):
    """A linear layer on features from which the mean over the batch is taken away."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x - 0.5 * x.mean(0, keepdim=True))


class MixingInTraining(Mixing):
    """The same in training mode only."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.training else self.linear(x)


class Counting(nn.Module):
    """A linear layer that keeps the running sum of its inputs in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, CLASSES)
        self.register_buffer("seen", torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        self.seen.add_(x.detach().sum(0))
        return self.linear(x)


@dataclass(frozen=True)
class Kind:
    """A module, the shape of one record, and the way its gradients are expected to be computed."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    rung: str


KINDS = {
    "softmax": Kind(softmax, (6,), "ghost clipping"),
    "mlp": Kind(mlp, (6,), "ghost clipping"),
    "plain cnn": Kind(plain_cnn, (2, 4, 4), "ghost clipping"),
    "positions": Kind(Positions, (3, 6), "ghost clipping"),
    "cnn with GroupNorm": Kind(grouped_cnn, (2, 4, 4), "(GroupNorm) is neither linear nor a convolution"),
    "tied": Kind(Tied, (6,), "layers share parameters"),
    "twice": Kind(Twice, (6,), "a layer is applied twice"),
    "in place": Kind(InPlace, (6,), "ghost clipping"),
    "recurrent": Kind(Recurrent, (3, 6), "(LSTM) is neither linear nor a convolution"),
    "branching": Kind(Branching, (6,), "gradients one by one"),
    "aside": Kind(Aside, (6,), "no ghost clipping"),
    "mixing": Kind(Mixing, (6,), "ghost clipping"),
    "mixing in training": Kind(MixingInTraining, (6,), "ghost clipping"),
}
