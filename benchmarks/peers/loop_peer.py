"""FedAvg as a short hand-written PyTorch loop: autograd, one resident model in each of two processes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import two_processes
from measure import versions
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch_common import network, party_tensors, test_accuracy, train
from workloads import Mnist, Result, Workload, load_mnist, partition, task


class AutogradTrainer:
    """Party after party on one model whose parameters are views of one vector."""

    def __init__(self, workload: Workload, data: Mnist) -> None:
        self._workload, self._data = workload, data
        self._rows = partition(workload)
        self._net = network(workload.model)
        self._flat = parameters_to_vector(self._net.parameters()).detach().clone()
        vector_to_parameters(self._flat, self._net.parameters())

    def __call__(self, weights: Tensor, parties: Sequence[int], seed: int, total: Tensor) -> None:
        torch.manual_seed(seed)
        for party in parties:
            self._flat.copy_(weights)
            x, y = party_tensors(self._data, self._rows[party], self._workload.model)
            train(self._net, x, y, self._workload)
            total.add_(self._flat, alpha=len(y))


def main() -> None:
    given = task(("processes",))
    workload, data = given.workload, load_mnist(given.data)
    net = network(workload.model)
    weights, seconds = two_processes.run(
        workload,
        [len(rows) for rows in partition(workload)],
        lambda: AutogradTrainer(workload, data),
        parameters_to_vector(net.parameters()).detach(),
        given.rounds,
    )
    vector_to_parameters(weights, net.parameters())
    Result(seconds, test_accuracy(net, data, workload.model), versions("torch")).write(given.out)


if __name__ == "__main__":
    main()
