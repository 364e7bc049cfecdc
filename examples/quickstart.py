"""The first run: 40 parties train one model on digits that stay where they are.

comity run examples/quickstart.py
python examples/quickstart.py
"""

from torch import nn

import comity as ct


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))


data = ct.data.load("digits").split(ct.data.Dirichlet(parties=40, alpha=0.3))
model = ct.torch.Model(network, metrics=["accuracy"])
local = ct.LocalSGD(lr=0.3, epochs=2, batch_size=16)
job = ct.Job(program=ct.FedAvg(model, local), rounds=ct.Rounds(count=50, cohort=20))
federation = ct.Simulation(data)

if __name__ == "__main__":
    print(job.explain())
    run = ct.run(job, federation, progress=True)
    print(f"{run.history[-1].test['accuracy']:.1%} on the common test set")
    print(f"over the parties' own held-out digits: {run.evaluate().spread('accuracy')}")
