"""The data sets that scikit-learn ships."""

from __future__ import annotations

from typing import Any

import numpy as np

from comity.core.errors import MissingDependency
from comity.core.seeds import Seed
from comity.data.arrays import set_aside
from comity.data.card import Card
from comity.data.dataset import Dataset
from comity.data.examples import Affine, Examples

_TEST = 0.2


def load_bundled(card: Card, seed: Seed) -> Dataset:
    """Digits as pixels of 0 … 1; measurements standardised over the training examples; a stratified fifth as test."""
    bunch = _fetch(card.name)
    y = np.asarray(bunch.target)
    y = y.astype(np.int64) if card.classes else y.astype(np.float32)
    names = tuple(str(name) for name in bunch.feature_names)
    labels = tuple(str(name) for name in bunch.target_names) if card.classes else ()
    if card.name == "digits":
        train = Examples(np.asarray(bunch.data).astype(np.uint8), y, affine=Affine(1 / 16))
    else:
        train = Examples(np.asarray(bunch.data).astype(np.float32), y)
    data = set_aside(Dataset(card, train, features=names, labels=labels), _TEST, seed)
    return data if card.name == "digits" else data.normalised()


def _fetch(name: str) -> Any:
    try:
        from sklearn import datasets
    except ImportError as error:
        raise MissingDependency.of("scikit-learn", "sklearn", f"the data set {name!r}") from error
    return getattr(datasets, f"load_{name}")()
