"""Server optimizers: adaptive, momentum, plain (Reddi et al. 2020, arXiv 2003.00295, table 1).

5,000 images of Fashion-MNIST over 100 parties, Dirichlet(0.1), one hidden layer of 100, 10 parties a round, E = 1,
batches of 10. As in the paper the learning rates of the parties and of the server are tuned together over a grid for
each optimizer. The grid is searched on one seed and the figures come from others. The paper has seven larger tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import networks
from study import Options, Study, load, mean_sd, options

import comity as ct
from comity.programs.optim import ServerOptimizer

PARTY_RATES = (0.03, 0.1)
IMAGES = 5_000
TEST_IMAGES = 5_000


@dataclass(frozen=True)
class Server:
    """A server optimizer up to its learning rate, the rates to try, and what the paper has for CIFAR-10."""

    name: str
    make: Callable[[float], ServerOptimizer]
    rates: Sequence[float]
    paper: float


SERVERS = (
    Server("FedAvg", lambda lr: ct.optim.SGD(lr), (0.3, 1.0, 3.0), 72.8),
    Server("FedAvgM", lambda lr: ct.optim.SGD(lr, momentum=0.9), (0.1, 0.3, 1.0), 77.4),
    Server("FedAdagrad", lambda lr: ct.optim.Adagrad(lr), (0.01, 0.03, 0.1), 73.1),
    Server("FedAdam", lambda lr: ct.optim.Adam(lr), (0.003, 0.01, 0.03), 77.4),
    Server("FedYogi", lambda lr: ct.optim.Yogi(lr), (0.003, 0.01, 0.03), 78.0),
)


def accuracy(
    server: ServerOptimizer, lr: float, data: ct.data.Parties, rounds: int, seed: int, asked: Options
) -> float:
    """Test accuracy, the mean over the last fifth of the rounds."""
    local = ct.LocalSGD(lr=lr, epochs=1, batch_size=10)
    program = ct.FedAvg(ct.torch.Model(partial(networks.perceptron, (784, 100, 10))), local, server)
    job = ct.Job(program, ct.Rounds(count=rounds, cohort=10), evaluate_every=max(rounds // 50, 1), seed=seed)
    course = ct.run(job, ct.Simulation(data, workers=asked.workers)).history.column("accuracy")
    last = course[-max(len(course) // 5, 1) :]
    return sum(last) / len(last)


def split(dataset: ct.data.Dataset, seed: int) -> ct.data.Parties:
    return dataset.split(ct.data.Dirichlet(100, alpha=0.1), seed=seed, heldout=0.0)


def tuned(
    server: Server, data: ct.data.Parties, rounds: int, seed: int, asked: Options
) -> Mapping[tuple[float, float], float]:
    """Accuracy for every pair of rates (of the parties, of the server)."""
    party_rates = PARTY_RATES[:1] if asked.quick else PARTY_RATES
    rates = server.rates[1:2] if asked.quick else server.rates
    return {
        (lr, rate): accuracy(server.make(rate), lr, data, rounds, seed, asked)
        for lr, rate in product(party_rates, rates)
    }


def main() -> None:
    asked = options(__doc__ or "")
    rounds = 30 if asked.quick else 150
    seeds = range(1 if asked.quick else asked.seeds)
    study = Study("fedopt_servers", asked, ("server", "accuracy", "lr of parties", "lr of server", "paper, CIFAR-10"))
    dataset = load("fashion_mnist", asked)
    assert dataset.test is not None
    few = replace(dataset, train=dataset.train.take(slice(IMAGES)), test=dataset.test.take(slice(TEST_IMAGES)))
    for server in SERVERS:
        grid = tuned(server, split(few, len(seeds)), rounds, len(seeds), asked)
        lr, rate = max(grid, key=lambda pair: grid[pair])
        final = [accuracy(server.make(rate), lr, split(few, seed), rounds, seed, asked) for seed in seeds]
        study.note(f"{server.name}: {mean_sd(final, scale=100)} with {lr:g}, {rate:g}; {grid}")
        study.rows.append([server.name, mean_sd(final, scale=100), f"{lr:g}", f"{rate:g}", f"{server.paper:g}"])
        pairs = [{"lr": a, "server": b, "accuracy": value} for (a, b), value in grid.items()]
        study.results.append({"server": server.name, "lr": lr, "server_lr": rate, "accuracy": final, "grid": pairs})
        study.save()
    study.publish([f"Test accuracy in %, mean of the last fifth of {rounds} rounds, over {len(seeds)} seeds."])


if __name__ == "__main__":
    main()
