"""Metrics as additive statistics: summed over parties they give the pooled value, one party's alone give its own.

A metric maps outputs and targets to a row of numbers whose *sum* over examples (and so over batches, parties and
secure sums) is all that its value needs. Accuracy is `[correct, count]`, F1 a confusion matrix, AUROC two histograms
of scores.
"""

from comity.learners.metrics.auroc import AUROC
from comity.learners.metrics.base import Metric
from comity.learners.metrics.classification import F1, Accuracy, LogLoss, Perplexity, Precision, Recall, TopK
from comity.learners.metrics.names import resolve
from comity.learners.metrics.regression import MAE, R2, RMSE
from comity.learners.torchmetrics import Torchmetric

__all__ = [
    "AUROC",
    "F1",
    "MAE",
    "R2",
    "RMSE",
    "Accuracy",
    "LogLoss",
    "Metric",
    "Perplexity",
    "Precision",
    "Recall",
    "TopK",
    "Torchmetric",
    "resolve",
]
