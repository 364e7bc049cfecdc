"""When parties differ: SCAFFOLD's control variates against plain averaging, on digits with two labels a party.

Local training pulls each model towards the party's own two digits. SCAFFOLD (Karimireddy et al. 2020, arXiv
1910.06378) corrects every local step for that pull, at twice the bytes a round.

    python examples/scaffold_vs_fedavg.py
"""

from itertools import pairwise

from torch import nn

import comity as ct


def network() -> nn.Module:
    return nn.Linear(64, 10)


data = ct.data.load("digits").split(ct.data.Shards(parties=20, shards_per_party=2))
model = ct.torch.Model(network, metrics=["accuracy"])
local = ct.LocalSGD(lr=0.1, epochs=20, batch_size=16)
rounds = ct.Rounds(count=60, cohort=10)
programs = {"FedAvg": ct.FedAvg(model, local), "SCAFFOLD": ct.Scaffold(model, local)}
federation = ct.Simulation(data)
job = ct.Job(programs["SCAFFOLD"], rounds)

if __name__ == "__main__":
    runs = {name: ct.run(ct.Job(program, rounds), federation) for name, program in programs.items()}
    print("accuracy on the common test set, and the share of rounds in which it fell")
    for name, run in runs.items():
        accuracy = run.history.column("accuracy")
        fell = sum(after < before for before, after in pairwise(accuracy)) / (len(accuracy) - 1)
        shown = "  ".join(f"{accuracy[k - 1]:.1%}" for k in (5, 10, 20, 40, 60))
        print(f"  {name:<9} after 5, 10, 20, 40, 60 rounds: {shown};  fell in {fell:.0%}")
    ct.plot_histories({name: run.history for name, run in runs.items()}, path="scaffold_vs_fedavg.png")
    print("curves in scaffold_vs_fedavg.png")
