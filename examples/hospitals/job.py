"""The job of the example: logistic regression, who had died by the end of the study.

comity submit job.py --watch
"""

from sklearn.linear_model import SGDClassifier

import comity as ct

model = ct.sklearn.Estimator(
    SGDClassifier(loss="log_loss", alpha=0.001), features=10, classes=2, metrics=["accuracy", "auroc"]
)
local = ct.LocalSGD(lr=0.01, epochs=1, batch_size=1)
job = ct.Job(ct.FedAvg(model, local), ct.Rounds(count=20), seed=7)
federation = ct.Deployment(dataset="patients")
