"""What an estimator of scikit-learn is as a learner: its class, its parameters, and its coefficients as a vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from comity.core.arrays import Array, to_numpy
from comity.core.errors import ConfigError, LearnerError, MissingDependency
from comity.core.layout import Layout
from comity.core.seeds import Seed
from comity.learners.base import Hardware, Trainer
from comity.learners.metrics import resolve
from comity.learners.plan import LocalPlan
from comity.learners.records import refuse_record_privacy

if TYPE_CHECKING:
    from comity.learners.sklearn.coefficients import Coefficients

Mode: TypeAlias = Literal["partial_fit", "refit"]


@dataclass(frozen=True)
class Estimator:
    """A linear model or a multi-layer perceptron of scikit-learn, whose coefficients are what travels.

    `estimator` is an estimator (`SGDClassifier(loss="log_loss")`) or its class with `parameters`; either way the class
    and its plain parameters are kept, without `random_state`, which the run's seed replaces. `features` is the number
    of features of an example. A classifier needs `classes`, the number C of labels 0 … C − 1, of which a party may
    lack any; a regressor may have several `outputs`. `metrics` are names and objects of `ct.metrics`.

    `mode="partial_fit"` follows the local plan. `SGDClassifier`, `SGDRegressor` and `Perceptron` take one step of size
    lr for each example, in an order that is drawn anew for each pass: the plan must be `LocalSGD` with `batch_size=1`.
    `MLPClassifier` and `MLPRegressor` take one step for each batch, by `LocalSGD` (with momentum and Nesterov) or
    `LocalAdam`. The rate and the optimizer of the plan replace the estimator's own; weight decay is the estimator's
    `alpha`. Corrections (FedProx, SCAFFOLD, FedDyn) are exact for steps without momentum.

    `mode="refit"` calls `fit` on the party's examples, which counts as one step and takes nothing from the plan. It
    starts from the received coefficients where the estimator has `warm_start`. Rows of classes that a party lacks stay
    as received; of two classes present the difference of their rows becomes the party's; with one, nothing changes.

    Outputs are the estimator's decision scores, read as logits (`SGDClassifier(loss="log_loss")` with more than two
    classes: the logs of its probabilities), so `"loss"` is the log-loss also where an estimator trains on another; for
    regressors it is the mean squared error. Training reports it after the last step, on the party's training examples.

    Raises `ConfigError` for what does not fit together.
    """

    estimator: Any
    parameters: Mapping[str, Any] = field(default_factory=dict)
    features: int = field(kw_only=True)
    classes: int | None = field(kw_only=True, default=None)
    outputs: int = field(kw_only=True, default=1)
    mode: Mode = field(kw_only=True, default="partial_fit")
    metrics: Sequence[Any] = field(kw_only=True, default=())

    def __post_init__(self) -> None:
        made = _made(self.estimator, self.parameters)
        object.__setattr__(self, "estimator", type(made))
        object.__setattr__(self, "parameters", _plain(made))
        object.__setattr__(self, "metrics", resolve(self.metrics))
        self._check_targets(made)
        self._check_mode(made)

    @property
    def title(self) -> str:
        return f"sklearn.Estimator({self.estimator.__name__})"

    @property
    def is_network(self) -> bool:
        return "hidden_layer_sizes" in self.parameters

    @cached_property
    def coefficients(self) -> Coefficients:
        """The family that the estimator belongs to, by its parameters."""
        from comity.learners.sklearn.coefficients import Linear, Network

        rows = self.outputs if self.classes is None else 1 if self.classes == 2 else self.classes
        if self.is_network:
            hidden = self.parameters["hidden_layer_sizes"]
            units = (self.features, *(hidden if isinstance(hidden, tuple) else (hidden,)), rows)
            return Network(units, self.parameters["activation"])
        logistic = self.classes is not None and rows > 1 and self.parameters.get("loss") == "log_loss"
        return Linear(rows, self.features, bool(self.parameters.get("fit_intercept", True)), logistic)

    @cached_property
    def layout(self) -> Layout:
        return Layout.build([(name, shape, "float32", "shared") for name, shape in self.coefficients.shapes()])

    def init(self, seed: Seed) -> NDArray[np.float32]:
        """Zeros for linear models; for networks random layers, as scikit-learn starts them."""
        vector: NDArray[np.float32] = self.layout.pack(self.coefficients.start(seed.rng()))
        return vector

    def init_local(self, seed: Seed) -> NDArray[np.float32]:
        return np.zeros(0, dtype=np.float32)

    def export(self, weights: Array) -> Mapping[str, NDArray[np.generic]]:
        """scikit-learn's own names: `coef_`, `intercept_`, or `coefs_.0`, `intercepts_.0` and so on."""
        return {name: np.array(view) for name, view in self.layout.unpack(to_numpy(weights)).items()}

    def check(self, plan: LocalPlan, *, corrected: bool) -> None:
        from comity.learners.sklearn.refit import check_refit
        from comity.learners.sklearn.stepping import check_plan

        refuse_record_privacy(plan, self.title)
        (check_refit if self.mode == "refit" else check_plan)(self, plan, corrected=corrected)

    def batchable(self, plan: LocalPlan) -> str | None:
        return "scikit-learn trains one estimator at a time"

    def prefers_batched(self, hardware: Hardware) -> tuple[bool, str]:
        return False, "scikit-learn trains one estimator at a time"

    def build(self, hardware: Hardware, *, batched: bool = False) -> Trainer:
        from comity.learners.sklearn.trainer import EstimatorTrainer

        if batched:
            raise LearnerError("scikit-learn trains one estimator at a time", where=self.title)
        if hardware.device != "cpu" or hardware.precision != "float32":
            raise LearnerError(
                f"scikit-learn computes on the CPU in float32, not on {hardware.device} in {hardware.precision}",
                where=self.title,
                mend='use device="cpu" and precision="float32"',
            )
        return EstimatorTrainer(self)

    def fresh(self, **changes: Any) -> Any:
        """A new estimator with the parameters, those of `changes` replaced where it has them."""
        made = self.estimator(**self.parameters)
        known = made.get_params(deep=False)
        return made.set_params(**{name: value for name, value in changes.items() if name in known})

    def _check_targets(self, made: Any) -> None:
        from sklearn.base import is_classifier

        if self.features < 1:
            raise ConfigError(f"features is {self.features}", where=f"{self.title}.features", mend="give 1 or more")
        if is_classifier(made) and (self.classes is None or self.classes < 2):
            raise ConfigError(
                f"a classifier with classes={self.classes}",
                where=f"{self.title}.classes",
                mend="give classes=2 or more",
            )
        if not is_classifier(made) and self.classes is not None:
            raise ConfigError("a regressor with classes", where=f"{self.title}.classes", mend="leave classes out")
        if self.outputs < 1 or (self.outputs > 1 and (self.classes is not None or "eta0" in self.parameters)):
            raise ConfigError(
                f"outputs is {self.outputs}",
                where=f"{self.title}.outputs",
                mend="several outputs are for LinearRegression, Ridge and MLPRegressor; classifiers have classes",
            )

    def _check_mode(self, made: Any) -> None:
        where = f"{self.title}.mode"
        if self.mode not in ("partial_fit", "refit"):
            raise ConfigError(f"mode is {self.mode!r}", where=where, mend='give "partial_fit" or "refit"')
        if self.mode == "refit":
            if self.is_network:
                raise ConfigError("a network cannot be refitted", where=where, mend='use mode="partial_fit"')
            return
        if not hasattr(made, "partial_fit"):
            raise ConfigError(
                "it has no partial_fit with these parameters",
                where=where,
                mend='use mode="refit", or SGDClassifier, SGDRegressor, or a network with solver="sgd"',
            )
        if self.is_network and self.parameters.get("loss") == "poisson":
            raise ConfigError("a network with the Poisson loss", where=self.title, mend='use loss="squared_error"')
        if not self.is_network and "eta0" not in self.parameters:
            raise ConfigError(
                "its learning rate cannot be set", where=where, mend="use SGDClassifier, SGDRegressor or Perceptron"
            )
        for name, allowed in (("early_stopping", False), ("average", False), ("class_weight", None)):
            if self.parameters.get(name, allowed) != allowed:
                raise ConfigError(
                    f"{name}={self.parameters[name]!r} cannot hold under partial_fit",
                    where=f"{self.title}.parameters.{name}",
                    mend=f"leave {name} out",
                )


def _made(estimator: Any, parameters: Mapping[str, Any]) -> Any:
    """The estimator as an object. Raises `ConfigError` where there is none to be had."""
    try:
        from sklearn.base import BaseEstimator
    except ImportError:
        raise MissingDependency.of("scikit-learn", "sklearn", "ct.sklearn.Estimator") from None
    kind = estimator if isinstance(estimator, type) else type(estimator)
    if not issubclass(kind, BaseEstimator):
        raise ConfigError(
            f"{kind.__name__} is no estimator of scikit-learn", where="sklearn.Estimator", mend="give SGDClassifier()"
        )
    if not isinstance(estimator, type):
        if parameters:
            raise ConfigError(
                "both an estimator and parameters",
                where=f"sklearn.Estimator({kind.__name__}).parameters",
                mend="set them on the estimator",
            )
        return estimator
    try:
        return kind(**parameters)
    except TypeError as error:
        raise ConfigError(str(error), where=f"sklearn.Estimator({kind.__name__}).parameters") from error


def _plain(made: Any) -> dict[str, Any]:
    """The parameters of an estimator, as numbers, text, None and tuples of them; `random_state` is left out."""
    given = made.get_params(deep=False)
    given.pop("random_state", None)
    return {name: _plain_value(value, f"{type(made).__name__}.{name}") for name, value in given.items()}


def _plain_value(value: Any, where: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, list | tuple):
        return tuple(_plain_value(item, where) for item in value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ConfigError(
        f"a parameter that is a {type(value).__name__}",
        where=f"sklearn.Estimator: {where}",
        mend="parameters must be numbers, text, None, or tuples of them, so that every party reads the same",
    )
