"""Eighteen hospitals predict who dies within a year, and no patient's record leaves its hospital.

The NCCTG lung cancer data (Loprinzi et al. 1994) come from 18 institutions with 1 to 24 patients to train on: too few
for a model of one's own. Needs: pip install "comity[datasets,sklearn]"

    python examples/hospitals_lung_cancer.py
    comity run examples/hospitals_lung_cancer.py
"""

from statistics import fmean, stdev

import comity as ct

try:
    dataset = ct.data.load("lung_cancer")
    from sklearn.linear_model import SGDClassifier
except (ct.ComityError, ImportError) as error:
    raise SystemExit(f"skipped: {error}") from None


def job_for(dataset: ct.data.Dataset) -> ct.Job:
    """Logistic regression, one step for each patient."""
    estimator = SGDClassifier(loss="log_loss", alpha=0.1)
    features = len(dataset.features)
    model = ct.sklearn.Estimator(estimator, features=features, classes=2, metrics=["accuracy", "auroc"])
    program = ct.FedAvg(model, ct.LocalSGD(lr=0.01, epochs=1, batch_size=1))
    return ct.Job(program, ct.Rounds(count=15), evaluate_every=15)


data = dataset.split(ct.data.Natural("institution"), heldout=0.0)
job = job_for(dataset)
federation = ct.Simulation(data, engine="resident")

if __name__ == "__main__":
    print(data.describe())
    run = ct.run(job, federation)
    print("\nThe largest coefficients on standardised features (above 0 speaks for death within a year):")
    coefficients = run.model.arrays()["coef_"][0]
    for name, value in sorted(zip(dataset.features, coefficients, strict=True), key=lambda pair: -abs(pair[1]))[:5]:
        print(f"  {value:+.2f}  {name}")
    print("\nArea under the ROC curve on patients of all hospitals that nobody trained on, over 8 random test sets:")
    for name, partition in (("federated", ct.data.Natural()), ("pooled", ct.data.IID(parties=1))):
        values = []
        for seed in range(8):
            drawn = ct.data.load("lung_cancer", seed=seed)
            where = ct.Simulation(drawn.split(partition, heldout=0.0), engine="resident")
            values.append(ct.run(job_for(drawn), where).history[-1].test["auroc"])
        print(f"  {name:<9}  mean {fmean(values):.2f}, standard deviation {stdev(values):.2f}")
    print("Little can be told from so few patients; the federation loses nothing here against pooling their records.")
