"""FedAvg in BlazeFL: its own FedAvg server and trainers, in each of its three modes (threads, processes, serial)."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path

os.environ.setdefault("TQDM_DISABLE", "1")  # no progress bars

import torch
import torch._dynamo  # PyTorch's optimizers import it at their first step: here once, not in each round's new workers
from blazefl.contrib import (
    FedAvgBaseClientTrainer,
    FedAvgBaseServerHandler,
    FedAvgPartitionType,
    FedAvgProcessPoolClientTrainer,
    FedAvgThreadPoolClientTrainer,
)
from measure import versions
from torch import nn
from torch_common import Batches, network, party_tensors, test_accuracy
from workloads import WORKLOADS, Result, Stopwatch, load_mnist, partition, task

rows = cache(partition)
mnist = cache(load_mnist)


class Selector:
    """Gives BlazeFL the model by name."""

    def select_model(self, model_name: str) -> nn.Module:
        return network(model_name)


class Parties:
    """The partitioned data; it pickles as two names, so that no images go through BlazeFL's task queue."""

    def __init__(self, workload: str, folder: str) -> None:
        self._workload, self._folder = workload, folder

    def get_dataset(self, type_: FedAvgPartitionType, cid: int | None) -> None:
        raise NotImplementedError

    def set_dataset(self, type_: FedAvgPartitionType, cid: int | None, dataset: object) -> None:
        """Nothing to keep: the data do not change."""

    def get_dataloader(
        self, type_: FedAvgPartitionType, cid: int, batch_size: int, generator: torch.Generator | None = None
    ) -> Batches:
        """A party's shuffled batches."""
        workload = WORKLOADS[self._workload]
        x, y = party_tensors(mnist(self._folder), rows(workload)[cid], workload.model)
        return Batches(x, y, batch_size, generator)


def main() -> None:
    given = task(("threads", "processes", "serial"))
    workload = given.workload
    # One thread each: a second one gains nothing on layers this small, and the CNN's parties run two at a time.
    torch.set_num_threads(2 if given.variant == "serial" and workload.model == "cnn" else 1)
    parties = Parties(workload.name, str(given.data))
    mnist(str(given.data)), rows(workload)  # before any fork
    common = {"model_selector": Selector(), "model_name": workload.model, "dataset": parties, "device": "cpu"}
    local = {"num_clients": workload.parties, "epochs": workload.epochs, "batch_size": workload.batch_size, "seed": 0}
    server = FedAvgBaseServerHandler(
        **common,
        global_round=given.rounds,
        num_clients=workload.parties,
        sample_ratio=workload.cohort / workload.parties,
        batch_size=500,
        seed=0,
    )
    local["lr"] = workload.lr
    with tempfile.TemporaryDirectory() as state:
        if given.variant == "threads":
            trainer = FedAvgThreadPoolClientTrainer(**common, **local, num_parallels=2)
        elif given.variant == "processes":
            trainer = FedAvgProcessPoolClientTrainer(**common, **local, num_parallels=2, state_dir=Path(state))
        else:
            trainer = FedAvgBaseClientTrainer(**common, **local)
        watch = Stopwatch()
        while not server.is_stopped():
            cohort = server.sample_clients()
            trainer.local_process(server.downlink_package(), cohort)
            for package in trainer.uplink_package():
                server.load(package)
            watch.tick()
    right = test_accuracy(server.model, mnist(str(given.data)), workload.model)
    Result(watch.seconds, right, versions("blazefl", "torch")).write(given.out)


if __name__ == "__main__":
    main()
