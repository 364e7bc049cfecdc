"""The coefficients of an estimator: their names and shapes, how they start, and the outputs they give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit

Arrays = Mapping[str, NDArray[Any]]


class Coefficients(Protocol):
    """How one family of estimators keeps its model: as named arrays that determine its outputs."""

    def shapes(self) -> list[tuple[str, tuple[int, ...]]]: ...

    def start(self, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]: ...

    def outputs(self, arrays: Arrays, x: NDArray[Any]) -> NDArray[Any]:
        """`[n]` for one output and `[n, outputs]` for more, of features `x` `[n, features]`."""
        ...

    def write(self, estimator: Any, arrays: Arrays) -> None:
        """Put copies of `arrays` into a fitted `estimator`."""
        ...

    def read(self, estimator: Any) -> dict[str, NDArray[Any]]:
        """The arrays of a fitted `estimator`. Raises AttributeError where it has none of that kind."""
        ...


def _column(outputs: NDArray[Any]) -> NDArray[Any]:
    return outputs[:, 0] if outputs.shape[1] == 1 else outputs


@dataclass(frozen=True)
class Linear:
    """`coef_` `[rows, features]` and, where the estimator fits one, `intercept_` `[rows]`; they start at zero.

    `one_against_rest` says that each row is a logistic model of its own; the log of its probability is then the output,
    so that a softmax over the outputs gives scikit-learn's `predict_proba`.
    """

    rows: int
    features: int
    intercept: bool
    one_against_rest: bool = False

    def shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        coefficients: list[tuple[str, tuple[int, ...]]] = [("coef_", (self.rows, self.features))]
        return [*coefficients, ("intercept_", (self.rows,))] if self.intercept else coefficients

    def start(self, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
        return {name: np.zeros(shape, dtype=np.float32) for name, shape in self.shapes()}

    def outputs(self, arrays: Arrays, x: NDArray[Any]) -> NDArray[Any]:
        scores = x @ arrays["coef_"].T
        if self.intercept:
            scores = scores + arrays["intercept_"]
        return log_expit(scores) if self.one_against_rest else _column(scores)

    def write(self, estimator: Any, arrays: Arrays) -> None:
        for name, _ in self.shapes():
            held = np.asarray(getattr(estimator, name))
            setattr(estimator, name, np.array(arrays[name], dtype=held.dtype).reshape(held.shape))

    def read(self, estimator: Any) -> dict[str, NDArray[Any]]:
        return {name: np.reshape(getattr(estimator, name), shape) for name, shape in self.shapes()}


_ACTIVATIONS: Mapping[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "identity": lambda h: h,
    "relu": lambda h: np.maximum(h, 0),
    "tanh": np.tanh,
    "logistic": expit,
}


@dataclass(frozen=True)
class Network:
    """Layers `coefs_.i` `[in, out]` and `intercepts_.i` `[out]`, which start as in scikit-learn.

    That is uniform within √(6 / (in + out)), or √(2 / (in + out)) for logistic activations (Glorot and Bengio 2010).
    """

    units: tuple[int, ...]
    activation: str

    def shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        layers = list(enumerate(pairwise(self.units)))
        return [(f"coefs_.{i}", pair) for i, pair in layers] + [(f"intercepts_.{i}", pair[1:]) for i, pair in layers]

    def start(self, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
        gain = 2.0 if self.activation == "logistic" else 6.0
        bounds = [np.sqrt(gain / sum(pair)) for pair in pairwise(self.units)] * 2
        return {
            name: rng.uniform(-bound, bound, shape).astype(np.float32)
            for (name, shape), bound in zip(self.shapes(), bounds, strict=True)
        }

    def outputs(self, arrays: Arrays, x: NDArray[Any]) -> NDArray[Any]:
        last = len(self.units) - 2
        for i in range(last + 1):
            x = x @ arrays[f"coefs_.{i}"] + arrays[f"intercepts_.{i}"]
            if i < last:
                x = _ACTIVATIONS[self.activation](x)
        return _column(x)

    def write(self, estimator: Any, arrays: Arrays) -> None:
        for name, _ in self.shapes():
            kind, _, layer = name.partition(".")
            # in place: scikit-learn's optimizer holds on to these arrays
            getattr(estimator, kind)[int(layer)][...] = arrays[name]

    def read(self, estimator: Any) -> dict[str, NDArray[Any]]:
        return {name: getattr(estimator, name.split(".")[0])[int(name.split(".")[1])] for name, _ in self.shapes()}
