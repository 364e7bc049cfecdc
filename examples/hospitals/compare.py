"""Set what the federation has learnt beside training alone and training on pooled records: python compare.py DIR

Only an example can do this: it reads all four files. DIR/data holds them, DIR/run what `comity submit` has left.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from job import job
from safetensors.numpy import load_file
from sklearn.metrics import roc_auc_score

import comity as ct


def trained(x: np.ndarray, y: np.ndarray) -> Mapping[str, np.ndarray]:
    """The same training without a federation: one party with these patients."""
    alone = ct.data.from_arrays(x, y).split(ct.data.IID(parties=1), heldout=0.0)
    return ct.run(job, ct.Simulation(alone)).model.arrays()


def auroc(model: Mapping[str, np.ndarray], x: np.ndarray, y: np.ndarray) -> float:
    return float(roc_auc_score(y, x @ model["coef_"][0] + model["intercept_"][0]))


def main(folder: Path) -> None:
    parties = ct.data.from_folder(folder / "data", target="status", labels=("alive", "dead"))
    hospitals = {name: parties[name] for name in parties.ids}
    train = {name: (own.train.features(), own.train.labels()) for name, own in hospitals.items()}
    heldout = {name: (own.heldout.features(), own.heldout.labels()) for name, own in hospitals.items()}
    everyone = tuple(np.concatenate(rows) for rows in zip(*heldout.values(), strict=True))

    federated = load_file(folder / "run" / "model.safetensors")
    pooled = trained(*(np.concatenate(rows) for rows in zip(*train.values(), strict=True)))
    alone = {name: trained(*rows) for name, rows in train.items()}

    print("Area under the ROC curve, on patients that nobody trained on\n")
    print(f"{'':<10}{'trained on':>12}{'federated':>12}{'pooled':>12}{'alone':>12}{'alone, on all':>16}")
    for name, rows in heldout.items():
        values = f"{auroc(federated, *rows):>12.3f}{auroc(pooled, *rows):>12.3f}{auroc(alone[name], *rows):>12.3f}"
        print(f"{name:<10}{len(train[name][1]):>12,}{values}{auroc(alone[name], *everyone):>16.3f}")
    total = sum(len(labels) for _, labels in train.values())
    print(f"{'all':<10}{total:>12,}{auroc(federated, *everyone):>12.3f}{auroc(pooled, *everyone):>12.3f}")

    simulated = ct.run(job, ct.Simulation(parties, engine="resident")).model.arrays()
    same = all(np.array_equal(federated[name], simulated[name]) for name in simulated)
    print(f"\nThe model is {'' if same else 'not '}that of a simulation with the same four files, bit for bit.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
