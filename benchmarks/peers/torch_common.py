"""What the peers that train with PyTorch share: the models, the starting weights, a plain local loop, the accuracy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from workloads import CLASSES, PIXELS, Mnist, Workload, accuracy, features, initial


def network(model: str) -> nn.Sequential:
    """The model with the common starting weights."""
    if model == "softmax":
        net = nn.Sequential(nn.Linear(PIXELS, CLASSES))
    elif model == "2nn":
        net = nn.Sequential(nn.Linear(PIXELS, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, CLASSES))
    else:
        net = nn.Sequential(
            nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, CLASSES),
        )  # fmt: skip
    with torch.no_grad():
        for parameter, array in zip(net.parameters(), initial(model), strict=True):
            parameter.copy_(torch.from_numpy(array))
    return net


def party_tensors(data: Mnist, rows: np.ndarray, model: str) -> tuple[Tensor, Tensor]:
    """A party's features and labels."""
    return torch.from_numpy(features(data.x_train[rows], model)), torch.from_numpy(data.y_train[rows])


class Batches:
    """Shuffled batches of tensors held in memory: a `DataLoader` without its cost per example."""

    def __init__(self, x: Tensor, y: Tensor, batch_size: int, generator: torch.Generator | None = None) -> None:
        self.dataset = range(len(y))
        self._x, self._y, self._size, self._generator = x, y, batch_size, generator

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self._y), generator=self._generator)
        return zip(self._x[order].split(self._size), self._y[order].split(self._size), strict=True)


def train(net: nn.Module, x: Tensor, y: Tensor, workload: Workload) -> None:
    """Local SGD as PyTorch's tutorials write it, over tensors in memory."""
    optimizer = torch.optim.SGD(net.parameters(), lr=workload.lr)
    batches = Batches(x, y, workload.batch_size)
    for _ in range(workload.epochs):
        for inputs, labels in batches:
            optimizer.zero_grad()
            F.cross_entropy(net(inputs), labels).backward()
            optimizer.step()


def test_accuracy(net: nn.Module, data: Mnist, model: str) -> float:
    """The share of right answers on MNIST's test images."""
    with torch.no_grad():
        return accuracy(lambda x: net(torch.from_numpy(x)).argmax(1).numpy(), data, model)
