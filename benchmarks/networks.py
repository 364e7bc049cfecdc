"""The models of the studies, as functions that worker processes can find by name."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def perceptron(widths: Sequence[int] = (784, 200, 200, 10)) -> nn.Sequential:
    """Fully connected layers with ReLU between them; by default McMahan's 2NN (199,210 parameters)."""
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def softmax(features: int = 784, classes: int = 10) -> nn.Sequential:
    """Multinomial logistic regression that starts at zero, as a convex problem may."""
    linear = nn.Linear(features, classes)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return nn.Sequential(nn.Flatten(), linear)


def cnn() -> nn.Sequential:
    """McMahan's CNN for MNIST (1,663,370 parameters)."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, 10),
    )  # fmt: skip
