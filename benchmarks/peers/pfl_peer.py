"""FedAvg in pfl (pfl-research): its PyTorch model and simulated backend, in two processes as its guide says, or one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import ExitStack

from measure import versions
from workloads import Result, Stopwatch, Workload, load_mnist, partition, task

VARIANTS = ("processes", "serial")


def free_addresses(count: int) -> str:
    """Addresses on this machine that nothing listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("localhost", 0))
        return ",".join(f"localhost:{each.getsockname()[1]}" for each in sockets)


def train(workload: Workload, rounds: int, folder: str) -> tuple[list[float], float]:
    """Run pfl in this process, which may be one of two."""
    import numpy as np
    import torch
    from pfl.aggregate.simulate import SimulatedBackend
    from pfl.aggregate.weighting import WeightByDatapoints
    from pfl.algorithm.base import NNAlgorithmParams
    from pfl.algorithm.federated_averaging import FederatedAveraging
    from pfl.callback.base import TrainingProcessCallback
    from pfl.data.federated_dataset import FederatedDataset
    from pfl.data.pytorch import PyTorchTensorDataset
    from pfl.data.sampling import get_user_sampler
    from pfl.hyperparam import NNEvalHyperParams, NNTrainHyperParams
    from pfl.metrics import Metrics, Weighted
    from pfl.model.pytorch import PyTorchModel
    from torch.nn import functional as F
    from torch_common import network, party_tensors, test_accuracy

    torch.set_num_threads(1)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - pfl draws cohorts from NumPy's global generator, alike in all processes
    data, rows = load_mnist(folder), partition(workload)
    watch = Stopwatch()

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network(workload.model)

        def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return F.cross_entropy(self.net(x), y)

        @torch.no_grad()
        def metrics(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, Weighted]:
            return {"loss": Weighted(self.loss(x, y).item() * len(y), len(y))}

    class Ticks(TrainingProcessCallback):
        def after_central_iteration(self, aggregate_metrics, model, *, central_iteration):
            watch.tick()
            return False, Metrics()

    def dataset(user: int) -> PyTorchTensorDataset:
        x, y = party_tensors(data, rows[user], workload.model)
        order = torch.randperm(len(y))
        return PyTorchTensorDataset((x[order], y[order]), user_id=str(user))

    def federation() -> FederatedDataset:
        sampler = get_user_sampler("random", range(workload.parties))
        return FederatedDataset(dataset, sampler, {user: len(row) for user, row in enumerate(rows)})

    net = Net()
    FederatedAveraging().run(
        NNAlgorithmParams(
            central_num_iterations=rounds,
            evaluation_frequency=rounds + 1,
            train_cohort_size=workload.cohort,
            val_cohort_size=0,
        ),
        SimulatedBackend(federation(), federation(), [WeightByDatapoints()]),
        PyTorchModel(net, torch.optim.SGD, torch.optim.SGD(net.parameters(), lr=1.0)),
        NNTrainHyperParams(
            local_learning_rate=workload.lr,
            local_num_epochs=workload.epochs,
            local_batch_size=workload.batch_size,
        ),
        NNEvalHyperParams(local_batch_size=None),
        callbacks=[Ticks()],
        send_metrics_to_platform=False,
    )
    return watch.seconds, test_accuracy(net.net, data, workload.model)


def main() -> None:
    given = task(VARIANTS)
    second = None
    if given.variant == "processes" and "PFL_WORKER_RANK" not in os.environ:
        os.environ["PFL_WORKER_ADDRESSES"] = free_addresses(2)
        second = subprocess.Popen([sys.executable, *sys.argv], env={**os.environ, "PFL_WORKER_RANK": "1"})
        os.environ["PFL_WORKER_RANK"] = "0"
    seconds, right = train(given.workload, given.rounds, str(given.data))
    if os.environ.get("PFL_WORKER_RANK", "0") == "0":
        Result(seconds, right, versions("pfl", "torch")).write(given.out)
    if second is not None:
        second.wait()


if __name__ == "__main__":
    main()
