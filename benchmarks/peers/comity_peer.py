"""FedAvg in Comity, end to end: sampling, local training with its loss, aggregation, the history."""

from __future__ import annotations

import numpy as np
import torch
from measure import versions
from torch_common import network, test_accuracy
from workloads import Mnist, Result, Workload, load_mnist, partition, task

import comity as ct


def federation(workload: Workload, data: Mnist) -> ct.data.Parties:
    """The common partition; images stay uint8. No test set, since no peer evaluates within its rounds."""
    party = np.full(len(data.y_train), -1)
    for number, rows in enumerate(partition(workload)):
        party[rows] = number
    used = slice(None) if (party >= 0).all() else party >= 0
    images, labels = data.x_train[used], data.y_train[used]
    images = images.reshape((len(images), 1, 28, 28) if workload.model == "cnn" else (len(images), -1))
    whole = ct.data.from_arrays(images, labels, party=party[used], classes=10)
    return whole.split(ct.data.Natural(), heldout=0.0)


def main() -> None:
    given = task(("auto",))
    workload, data = given.workload, load_mnist(given.data)
    job = ct.Job(
        program=ct.FedAvg(
            model=ct.torch.Model(network, arguments={"model": workload.model}, metrics=()),
            local=ct.LocalSGD(lr=workload.lr, epochs=workload.epochs, batch_size=workload.batch_size),
        ),
        aggregator=ct.Mean(),
        rounds=ct.Rounds(count=given.rounds, cohort=workload.cohort),
    )
    run = ct.run(job, ct.Simulation(federation(workload, data), engine=given.variant, workers=2))
    net = network(workload.model)
    net.load_state_dict({name: torch.from_numpy(array) for name, array in run.model.arrays().items()})
    seconds = [record.seconds for record in run.history]
    Result(seconds, test_accuracy(net, data, workload.model), versions("comity", "torch")).write(given.out)


if __name__ == "__main__":
    main()
