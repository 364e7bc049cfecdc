"""FedAvg with the local step written out by hand, without autograd: what the fastest PyTorch here can do.

The weight update is fused into the weight-gradient product, `W.addmm_(d.T, h, alpha=-lr)`; pooling runs in
channels_last; the first convolution is an im2col product; softmax regression trains all parties of a worker at once,
padded and masked. One single-threaded party after another otherwise, in each of two processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import two_processes
from measure import versions
from torch import Tensor
from torch.nn import functional as F
from torch_common import party_tensors
from workloads import CLASSES, PIXELS, SHAPES, Mnist, Result, Workload, accuracy, initial, load_mnist, partition, task

aten = torch.ops.aten


def views(flat: Tensor, model: str) -> list[Tensor]:
    """The model's arrays as views of one vector; the CNN's filters are laid out channels_last."""
    parts = flat.split([int(np.prod(shape)) for shape in SHAPES[model]])
    arrays = [part.view(shape) for part, shape in zip(parts, SHAPES[model], strict=True)]
    if model == "cnn":
        arrays[0] = parts[0].view(32, 25)
        arrays[2] = parts[2].view(64, 5, 5, 32).permute(0, 3, 1, 2)
    return arrays


def start(model: str) -> Tensor:
    """The common starting weights in this layout: the CNN's first dense layer reads (row, column, channel)."""
    arrays = [torch.from_numpy(array) for array in initial(model)]
    flat = torch.empty(sum(array.numel() for array in arrays))
    if model == "cnn":
        arrays[0] = arrays[0].view(32, 25)
        arrays[4] = arrays[4].view(512, 64, 7, 7).permute(0, 2, 3, 1).reshape(512, 3136)
    for view, array in zip(views(flat, model), arrays, strict=True):
        view.copy_(array)
    return flat


def error(logits: Tensor, onehot: Tensor) -> Tensor:
    """The gradient of the summed cross-entropy with respect to the logits."""
    return torch.softmax(logits, -1).sub_(onehot)


def dense_sgd(weight: Tensor, bias: Tensor, d: Tensor, h: Tensor, lr: float) -> None:
    """One SGD step of a dense layer, from the gradient at its output and its input."""
    weight.addmm_(d.T, h, alpha=-lr)
    bias.sub_(d.sum(0), alpha=lr)


def two_layers(arrays: list[Tensor], x: Tensor, onehot: Tensor, lr: float) -> None:
    """One SGD step of the 2NN."""
    w1, b1, w2, b2, w3, b3 = arrays
    lr /= len(x)
    h1 = torch.addmm(b1, x, w1.T).relu_()
    h2 = torch.addmm(b2, h1, w2.T).relu_()
    d3 = error(torch.addmm(b3, h2, w3.T), onehot)
    d2 = aten.threshold_backward(d3 @ w3, h2, 0)
    d1 = aten.threshold_backward(d2 @ w2, h1, 0)
    dense_sgd(w3, b3, d3, h2, lr)
    dense_sgd(w2, b2, d2, h1, lr)
    dense_sgd(w1, b1, d1, x, lr)


def patches(x: Tensor) -> Tensor:
    """`[n · 28 · 28, 25]`: the pixels that each output of the first convolution sees (im2col)."""
    padded = F.pad(x, (2, 2, 2, 2))
    return padded.as_strided((len(x), 28, 28, 5, 5), (1024, 32, 1, 32, 1)).reshape(-1, 25)


def convolved(arrays: list[Tensor], x: Tensor) -> tuple[Tensor, ...]:
    """The forward pass of the CNN. Rectifying after pooling gives the same values on a quarter of them."""
    w1, b1, w2, b2, w3, b3, w4, b4 = arrays
    columns = patches(x)
    c1 = torch.addmm(b1, columns, w1.T).view(len(x), 28, 28, 32).permute(0, 3, 1, 2)
    p1, i1 = aten.max_pool2d_with_indices(c1, [2, 2])
    h1 = p1.relu_()
    c2 = torch.conv2d(h1, w2, b2, padding=2)
    p2, i2 = aten.max_pool2d_with_indices(c2, [2, 2])
    h2 = p2.relu_().permute(0, 2, 3, 1).reshape(len(x), 3136)
    h3 = torch.addmm(b3, h2, w3.T).relu_()
    return columns, c1, i1, h1, c2, i2, h2, h3, torch.addmm(b4, h3, w4.T)


def convolutional(arrays: list[Tensor], x: Tensor, onehot: Tensor, lr: float) -> None:
    """One SGD step of the CNN."""
    w1, b1, w2, b2, w3, b3, w4, b4 = arrays
    lr /= len(x)
    columns, c1, i1, h1, c2, i2, h2, h3, logits = convolved(arrays, x)
    d4 = error(logits, onehot)
    d3 = aten.threshold_backward(d4 @ w4, h3, 0)
    flat = aten.threshold_backward(d3 @ w3, h2, 0)
    dense_sgd(w4, b4, d4, h3, lr)
    dense_sgd(w3, b3, d3, h2, lr)
    pool = [2, 2], [2, 2], [0, 0], [1, 1], False
    dp2 = flat.view(len(x), 7, 7, 64).permute(0, 3, 1, 2)
    d2 = aten.max_pool2d_with_indices_backward(dp2, c2, *pool, i2)
    dh1, dw2, db2 = aten.convolution_backward(
        d2, h1, w2, [64], [1, 1], [2, 2], [1, 1], False, [0, 0], 1, [True, True, True]
    )
    w2.sub_(dw2, alpha=lr)
    b2.sub_(db2, alpha=lr)
    d1 = aten.max_pool2d_with_indices_backward(aten.threshold_backward(dh1, h1, 0), c1, *pool, i1)
    dense_sgd(w1, b1, d1.permute(0, 2, 3, 1).reshape(-1, 32), columns, lr)


class StepTrainer:
    """Party after party on resident arrays."""

    def __init__(self, workload: Workload, data: Mnist) -> None:
        self._workload, self._data, self._rows = workload, data, partition(workload)
        self._flat = torch.empty(len(start(workload.model)))
        self._arrays = views(self._flat, workload.model)
        self._step = convolutional if workload.model == "cnn" else two_layers

    def _batches(self, party: int) -> Iterator[tuple[Tensor, Tensor]]:
        x, y = party_tensors(self._data, self._rows[party], self._workload.model)
        onehot = F.one_hot(y, CLASSES).float()
        for _ in range(self._workload.epochs):
            order = torch.randperm(len(y))
            size = self._workload.batch_size
            yield from zip(x[order].split(size), onehot[order].split(size), strict=True)

    @torch.inference_mode()
    def __call__(self, weights: Tensor, parties: Sequence[int], seed: int, total: Tensor) -> None:
        torch.manual_seed(seed)
        for party in parties:
            self._flat.copy_(weights)
            for x, onehot in self._batches(party):
                self._step(self._arrays, x, onehot, self._workload.lr)
            total.add_(self._flat, alpha=len(self._rows[party]))


class StackedTrainer:
    """Softmax regression of many parties at once: `[K, 10, 784]` weights, batches padded and masked."""

    def __init__(self, workload: Workload, data: Mnist) -> None:
        self._workload, self._data, self._rows = workload, data, partition(workload)

    @torch.inference_mode()
    def __call__(self, weights: Tensor, parties: Sequence[int], seed: int, total: Tensor) -> None:
        # The parties come largest first, so those that still have batches are always the first few.
        random, size = np.random.default_rng(seed), self._workload.batch_size
        counts = np.array([len(self._rows[party]) for party in parties])
        steps = -(-counts // size)
        rows = np.zeros((len(parties), steps[0] * size), np.int64)
        for row, party in zip(rows, parties, strict=True):
            row[: len(self._rows[party])] = random.permutation(self._rows[party])
        inside = np.arange(rows.shape[1]) < counts[:, None]
        batch = np.minimum(counts[:, None] - np.arange(steps[0]) * size, size).clip(1).repeat(size, axis=1)
        rate = torch.from_numpy((inside / batch).astype(np.float32))[:, :, None]
        x = torch.from_numpy(self._data.x_train[rows].reshape(*rows.shape, PIXELS)).float().div_(255)
        onehot = F.one_hot(torch.from_numpy(self._data.y_train[rows]), CLASSES).float()
        weight, bias = (array.repeat(len(parties), *[1] * array.dim()) for array in views(weights, "softmax"))
        for _ in range(self._workload.epochs):
            for step in range(steps[0]):
                now, live = slice(step * size, (step + 1) * size), int((steps > step).sum())
                inputs = x[:live, now]
                logits = torch.baddbmm(bias[:live, None], inputs, weight[:live].transpose(1, 2))
                d = error(logits, onehot[:live, now]).mul_(rate[:live, now])
                weight[:live].baddbmm_(d.transpose(1, 2), inputs, alpha=-self._workload.lr)
                bias[:live].sub_(d.sum(1), alpha=self._workload.lr)
        shares = torch.from_numpy(counts.astype(np.float32))
        views(total, "softmax")[0].view(-1).add_(shares @ weight.flatten(1))
        views(total, "softmax")[1].add_(shares @ bias)


def predict(flat: Tensor, model: str, x: np.ndarray) -> np.ndarray:
    """The classes of features."""
    arrays, h = views(flat, model), torch.from_numpy(x)
    if model == "cnn":
        return convolved(arrays, h)[-1].argmax(1).numpy()
    for weight, bias in zip(arrays[:-2:2], arrays[1:-2:2], strict=True):
        h = torch.addmm(bias, h, weight.T).relu_()
    return torch.addmm(arrays[-1], h, arrays[-2].T).argmax(1).numpy()


def main() -> None:
    given = task(("processes",))
    workload, data = given.workload, load_mnist(given.data)
    trainer = StackedTrainer if workload.model == "softmax" else StepTrainer
    weights, seconds = two_processes.run(
        workload,
        [len(rows) for rows in partition(workload)],
        lambda: trainer(workload, data),
        start(workload.model),
        given.rounds,
    )
    right = accuracy(lambda x: predict(weights, workload.model, x), data, workload.model)
    Result(seconds, right, versions("torch")).write(given.out)


if __name__ == "__main__":
    main()
