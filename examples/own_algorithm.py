"""An algorithm of your own, in a page: FedExP (Jhunjhunwala, Wang and Joshi 2023, arXiv 2301.09604).

The more the parties' changes disagree, the more their mean cancels; FedExP takes a longer step along it then. Each
party sends, beside its change, the squared length of it.

    python examples/own_algorithm.py
    comity explain examples/own_algorithm.py
"""

from dataclasses import dataclass

from torch import nn

import comity as ct


@dataclass(frozen=True, eq=False)
class State:
    weights: object  # [D]


@dataclass(frozen=True)
class FedExP:
    model: ct.torch.Model
    local: ct.LocalSGD
    epsilon: float = 1e-3

    def exchange(self):
        size = self.model.layout.size
        change = ct.Value(size, "the change that local training made to the model")
        square = ct.Value(1, "the squared length of that change")
        return ct.Exchange(
            broadcast={"weights": ct.Value(size, "the global model")}, contribution={"change": change, "square": square}
        )

    def init(self, seed):
        return State(self.model.init(seed.child("model")))

    def broadcast(self, state):
        return ct.Vectors(weights=state.weights)

    def at_party(self, sent, party):
        trained = party.train(sent.weights, self.local)
        square = (trained.change**2).sum(-1)[:, None]  # [K, 1]: a batch of K parties at once
        vectors = ct.Vectors(change=trained.change, square=square)
        return ct.Contribution(vectors, trained.examples, trained.statistics)

    def update(self, state, aggregate: ct.Aggregate):
        mean, square = aggregate.vectors.change, aggregate.vectors.square
        step = square / (2 * ((mean**2).sum() + self.epsilon))
        return State(state.weights + mean * step.clip(1, None))

    def weights(self, state):
        return state.weights


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


data = ct.data.load("digits").split(ct.data.Dirichlet(parties=40, alpha=0.3))
model = ct.torch.Model(network, metrics=["accuracy"])
local = ct.LocalSGD(lr=0.05, epochs=2, batch_size=16)
rounds = ct.Rounds(count=40, cohort=20)
job = ct.Job(FedExP(model, local), rounds, aggregator=ct.Mean(weights="uniform"))
federation = ct.Simulation(data)

if __name__ == "__main__":
    print(job.explain())
    plain = ct.Job(ct.FedAvg(model, local), rounds, aggregator=ct.Mean(weights="uniform"))
    print("\naccuracy on the common test set after 5, 10, 20 and 40 rounds")
    for name, each in (("FedAvg", plain), ("FedExP", job)):
        accuracy = ct.run(each, federation).history.column("accuracy")
        print(f"  {name}  " + "  ".join(f"{accuracy[k - 1]:.1%}" for k in (5, 10, 20, 40)))
