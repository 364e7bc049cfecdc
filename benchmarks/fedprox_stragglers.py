"""FedProx under stragglers: partial work kept or thrown away (Li et al. 2020, arXiv 1812.06127, figure 1).

Fashion-MNIST over 1,000 parties of two labels each, logistic regression, 10 parties a round, E = 20, batches
of 10. A party straggles in a round with probability 0, 0.5 or 0.9 and then has done a share of its work, uniform in
(0, 1], when the round closes. FedAvg throws that away; FedProx keeps it and adds the proximal term. Whoever straggles,
the cohorts and the batches are the same for all three programs, as in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import networks
from study import Options, Study, load, mean_sd, options

import comity as ct
from comity.core.arrays import Array
from comity.core.contribution import Aggregate, Contribution, Exchange
from comity.core.errors import LearnerError
from comity.core.seeds import Seed
from comity.core.vectors import Vectors
from comity.programs.party import Party


@dataclass(frozen=True)
class WithoutStragglers:
    """A program in which a party that does not finish its work contributes nothing.

    Its seat stays empty: a contribution that is refused is not replaced by another party's. A round in which everyone
    straggles is drawn again, which favours this program a little.
    """

    program: ct.FedAvg

    @property
    def model(self) -> Any:
        return self.program.model

    def exchange(self) -> Exchange:
        return self.program.exchange()

    def init(self, seed: Seed) -> Any:
        return self.program.init(seed)

    def broadcast(self, state: Any) -> Vectors:
        return self.program.broadcast(state)

    def at_party(self, sent: Vectors, party: Party) -> Contribution:
        if min(party.budgets) < 1:
            raise LearnerError("it did not finish its work in time", where="round", mend="keep partial work")
        return self.program.at_party(sent, party)

    def update(self, state: Any, aggregate: Aggregate) -> Any:
        return self.program.update(state, aggregate)

    def weights(self, state: Any) -> Array:
        return self.program.weights(state)


def programs(lr: float, mu: float) -> dict[str, Any]:
    """What is compared, by name."""
    model = ct.torch.Model(networks.softmax)
    local = ct.LocalSGD(lr=lr, epochs=20, batch_size=10)
    return {
        "FedAvg, drops": WithoutStragglers(ct.FedAvg(model, local)),
        "FedAvg, keeps (mu = 0)": ct.FedAvg(model, local),
        f"FedProx, mu = {mu:g}": ct.FedProx(model, local, mu=mu),
    }


def course(program: Any, share: float, data: ct.data.Parties, rounds: int, seed: int, asked: Options) -> list[float]:
    """Test accuracies over a run."""
    job = ct.Job(program, ct.Rounds(count=rounds, cohort=10, attempts=200), evaluate_every=2, seed=seed)
    run = ct.run(job, ct.Simulation(data, ct.Devices(stragglers=share), workers=asked.workers))
    return run.history.column("accuracy")


def summary(courses: Sequence[Sequence[float]]) -> str:
    """The mean accuracy over the last half of the run, over seeds: single rounds of so uneven cohorts say little."""
    return mean_sd([final(course) for course in courses], digits=1, scale=100)


def final(course: Sequence[float]) -> float:
    half = course[len(course) // 2 :]
    return sum(half) / len(half)


def main() -> None:
    asked = options(__doc__ or "")
    rounds, shares = (30, (0.0, 0.9)) if asked.quick else (100, (0.0, 0.5, 0.9))
    seeds = range(1 if asked.quick else asked.seeds)
    study = Study("fedprox_stragglers", asked, ("stragglers", *programs(0.03, 1.0)))
    dataset = load("fashion_mnist", asked)
    splits = {seed: dataset.split(ct.data.LabelCount(1000, labels=2), seed=seed, heldout=0.0) for seed in seeds}
    for share in shares:
        row = [f"{share:.0%}"]
        for title, program in programs(0.03, 1.0).items():
            courses = [course(program, share, splits[seed], rounds, seed, asked) for seed in seeds]
            row.append(summary(courses))
            study.note(f"{share:.0%} {title}: {row[-1]}")
            study.results.append({"stragglers": share, "program": title, "courses": courses})
        study.rows.append(row)
        study.save()
    study.publish([f"Test accuracy in %, mean of the last half of {rounds} rounds, over {len(seeds)} seeds."])


if __name__ == "__main__":
    main()
