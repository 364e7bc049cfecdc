"""Estimators of scikit-learn as learners: `ct.sklearn.Estimator(SGDClassifier(), features=30, classes=2)`.

scikit-learn itself is imported when the first estimator is described, not before.
"""

from comity.learners.sklearn.estimator import Estimator

__all__ = ["Estimator"]
