"""FedNova where parties take unequal numbers of steps (Wang et al. 2020, arXiv 2007.07481, table 1).

16 parties, Dirichlet(0.1) over labels, so that sizes differ too; in every round each party runs 2, 3, 4 or 5 epochs, at
random. The learning rate falls along a cosine, so that what is compared is where the programs come to rest and not the
noise of their steps (the paper's falls by 10 twice). The paper trains VGG-11 on CIFAR-10; here it is logistic
regression on 6,000 images of Fashion-MNIST.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import networks
from study import Options, Study, load, mean_sd, options

import comity as ct
from comity.core.arrays import Array
from comity.core.contribution import Aggregate, Contribution, Exchange
from comity.core.seeds import Seed
from comity.core.vectors import Vectors
from comity.programs.party import Party

PARTIES = 16
IMAGES = 6000
LAST = 5
"""Accuracies are means over the last so many rounds."""


@dataclass(frozen=True)
class UnequalEpochs:
    """A program whose parties run `least` to `most` epochs of a plan of `most`, drawn anew in every round."""

    program: Any
    least: int = 2
    most: int = 5

    @property
    def model(self) -> Any:
        return self.program.model

    def exchange(self) -> Exchange:
        return self.program.exchange()  # type: ignore[no-any-return]  # any program

    def init(self, seed: Seed) -> Any:
        return self.program.init(seed)

    def broadcast(self, state: Any) -> Vectors:
        return self.program.broadcast(state)  # type: ignore[no-any-return]  # any program

    def at_party(self, sent: Vectors, party: Party) -> Contribution:
        drawn = [int(seed.child("epochs").rng().integers(self.least, self.most + 1)) for seed in party.seeds]
        budgets = [epochs / self.most for epochs in drawn]
        return self.program.at_party(sent, replace(party, budgets=budgets))  # type: ignore[no-any-return]  # any program

    def update(self, state: Any, aggregate: Aggregate) -> Any:
        return self.program.update(state, aggregate)

    def weights(self, state: Any) -> Array:
        return self.program.weights(state)


def programs(lr: float, rounds: int) -> dict[str, Any]:
    """What is compared, by name."""
    model = ct.torch.Model(networks.softmax)
    local = ct.LocalSGD(lr=lr, epochs=5, batch_size=32, schedule=ct.schedules.Cosine(rounds))
    return {
        "FedAvg": ct.FedAvg(model, local),
        "FedProx, mu = 0.1": ct.FedProx(model, local, mu=0.1),
        "FedNova": ct.FedNova(model, local),
    }


def accuracies(program: Any, data: ct.data.Parties, rounds: int, seed: int, asked: Options) -> list[float]:
    """Test accuracies over a run in which everyone takes part, one party after another: their sizes are too unequal."""
    job = ct.Job(UnequalEpochs(program), ct.Rounds(count=rounds), seed=seed)
    return ct.run(job, ct.Simulation(data, engine="workers", workers=asked.workers)).history.column("accuracy")


def main() -> None:
    asked = options(__doc__ or "", seeds=5)
    seeds = range(2 if asked.quick else asked.seeds)
    rounds, rates = (20, (0.1,)) if asked.quick else (60, (0.03, 0.1))
    study = Study("fednova_unequal_steps", asked, ("lr", *programs(0.1, rounds), "FedNova − FedAvg"))
    dataset = load("fashion_mnist", asked)
    few = replace(dataset, train=dataset.train.take(slice(IMAGES)))
    splits = {seed: few.split(ct.data.Dirichlet(PARTIES, alpha=0.1), seed=seed, heldout=0.0) for seed in seeds}
    for lr in rates:
        final: dict[str, list[float]] = {}
        for title, program in programs(lr, rounds).items():
            courses = [accuracies(program, splits[seed], rounds, seed, asked) for seed in seeds]
            final[title] = [sum(course[-LAST:]) / LAST for course in courses]
            study.note(f"lr {lr:g} {title}: {mean_sd(final[title], scale=100)}")
            study.results.append({"lr": lr, "program": title, "courses": courses})
        gains = [nova - avg for nova, avg in zip(final["FedNova"], final["FedAvg"], strict=True)]
        cells = [mean_sd(values, scale=100) for values in (*final.values(), gains)]
        study.rows.append([f"{lr:g}", *cells])
        study.save()
    study.publish([f"Test accuracy in %, mean of the last {LAST} of {rounds} rounds, over {len(seeds)} seeds."])


if __name__ == "__main__":
    main()
