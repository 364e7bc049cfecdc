"""Data of your own: a data frame with a party column, and a folder with one CSV file for each party.

python examples/own_data.py
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from torch import nn

import comity as ct


def shops(count: int = 12, visits: int = 80) -> pd.DataFrame:
    """Invented visits to shops: whether something was bought, by what is seen of the visitor."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "shop": np.repeat([f"shop-{k:02d}" for k in range(count)], visits),
            "minutes": rng.gamma(2.0, 6.0, count * visits),
            "returning": rng.integers(0, 2, count * visits),
            "came_by": rng.choice(["foot", "bus", "car"], count * visits),
        }
    )
    score = 0.15 * frame["minutes"] + frame["returning"] + (frame["came_by"] == "car") - 3
    frame["bought"] = (rng.random(len(frame)) < 1 / (1 + np.exp(-score))).map({True: "yes", False: "no"})
    return frame


def job_for(features: int) -> ct.Job:
    model = ct.torch.Model(nn.Linear, arguments={"in_features": features, "out_features": 2}, metrics=["accuracy"])
    return ct.Job(ct.FedAvg(model, ct.LocalSGD(lr=0.3, epochs=2, batch_size=16)), ct.Rounds(count=20))


def from_frame(frame: pd.DataFrame) -> None:
    dataset = ct.data.from_frame(frame, target="bought", party="shop", test=0.2)
    print("features:", ", ".join(dataset.features), "  labels:", ", ".join(dataset.labels))
    run = ct.run(job_for(len(dataset.features)), ct.Simulation(dataset.split(ct.data.Natural("shop"))))
    print(f"from the data frame: {run.history[-1].test['accuracy']:.1%} on the common test set")


def from_folder(frame: pd.DataFrame) -> None:
    with TemporaryDirectory() as folder:
        for shop, rows in frame.groupby("shop"):
            rows.drop(columns="shop").to_csv(Path(folder) / f"{shop}.csv", index=False)
        # What numbers and categories mean is agreed on beforehand, from a public sample, for nobody sees all the data.
        encoder = ct.data.Encoder.fit(shops(count=1).drop(columns=["shop", "bought"]))
        data = ct.data.from_folder(folder, target="bought", labels=["no", "yes"], encoder=encoder)
        run = ct.run(job_for(len(encoder.features)), ct.Simulation(data))
        print(f"from the folder: {run.evaluate().pooled['accuracy']:.1%} on the parties' own held-out visits")


if __name__ == "__main__":
    visits = shops()
    print(visits.head(3).to_string(index=False), "\n")
    from_frame(visits)
    from_folder(visits)
