"""Parties that want different things: a shared body, and a head of its own at every party.

Each party has three of the ten digits. A head that never leaves the party can specialise on them, while the layers
below still learn from everyone (FedPer: Arivazhagan et al. 2019, arXiv 1912.00818).

    python examples/personal_heads.py
    comity run examples/personal_heads.py
"""

from collections import OrderedDict

from torch import nn

import comity as ct


def network() -> nn.Module:
    body = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
    return nn.Sequential(OrderedDict(body=body, head=nn.Linear(64, 10)))


def job_with(local: list[str]) -> ct.Job:
    model = ct.torch.Model(network, metrics=["accuracy"], local=local)
    plan = ct.LocalSGD(lr=0.1, epochs=2, batch_size=16)
    return ct.Job(ct.FedAvg(model, plan), ct.Rounds(count=25))


data = ct.data.load("digits").split(ct.data.LabelCount(parties=30, labels=3), heldout=0.3)
job = job_with(local=["head.*"])
federation = ct.Simulation(data)

if __name__ == "__main__":
    print("accuracy on the parties' own held-out digits")
    for name, each in (("everything shared", job_with(local=[])), ("a head of its own", job)):
        run = ct.run(each, federation)
        spread = run.evaluate().spread("accuracy")
        sent = each.explain().sent_bytes / 1000
        print(
            f"  {name}: mean {spread.mean:.1%}, worst tenth {spread.worst_tenth:.1%}; {sent:.1f} kB a party and round"
        )
