"""The torch model as data: its layout, its starting vectors, its export."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import comity.learners.torch as ct
from comity.core.errors import ConfigError, LearnerError
from comity.core.seeds import Seed
from comity.learners.base import Hardware, Model
from comity.learners.metrics import Accuracy
from support.torch_reference import CLASSES, FEATURES, make_examples, perceptron


class Mixed(nn.Module):
    """Parameters of two precisions, a tie, buffers of all kinds, and a frozen part."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(FEATURES, 6).to(torch.bfloat16)
        self.norm = nn.BatchNorm1d(6)
        self.head = nn.Linear(6, CLASSES)
        self.twin = nn.Linear(6, CLASSES)
        self.twin.weight = self.head.weight
        self.still = nn.Parameter(torch.ones(3), requires_grad=False)
        self.register_buffer("scratch", torch.arange(3.0), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.norm(self.body(x))
        return self.head(hidden) + self.twin(hidden)


def parts(model: ct.Model) -> dict[str, tuple[str, str]]:
    return {entry.name: (entry.part, entry.dtype) for entry in model.layout.entries}


class TestLayout:
    def test_names_parts_and_precisions(self):
        assert parts(ct.Model(Mixed)) == {
            "body.weight": ("shared", "bfloat16"),
            "body.bias": ("shared", "bfloat16"),
            "norm.weight": ("shared", "float32"),
            "norm.bias": ("shared", "float32"),
            "head.weight": ("shared", "float32"),
            "head.bias": ("shared", "float32"),
            "twin.bias": ("shared", "float32"),
            "norm.running_mean": ("buffer", "float32"),
            "norm.running_var": ("buffer", "float32"),
            "norm.num_batches_tracked": ("fixed", "int64"),
            "still": ("fixed", "float32"),
        }
        assert ct.Model(Mixed).layout.ties == {"twin.weight": "head.weight"}

    def test_bfloat16_travels_at_two_bytes_and_is_float32_inside(self):
        model = ct.Model(Mixed)
        assert model.layout.wire_bytes == 4 * model.layout.size - 2 * (FEATURES * 6 + 6)
        assert model.init(Seed.of(0)).dtype == np.float32

    def test_patterns_choose_local_and_frozen(self):
        found = parts(ct.Model(Mixed, local=["norm.*"], frozen="body.*", buffers="local"))
        assert found["norm.weight"][0] == found["norm.running_mean"][0] == "local"
        assert found["body.weight"][0] == "fixed"
        assert found["head.weight"][0] == "shared"

    def test_a_pattern_without_a_match_lists_the_names(self):
        with pytest.raises(LearnerError, match=r"no parameter matches 'head\.\*'(.|\n)*0\.weight"):
            ct.Model(perceptron, local=("head.*",)).layout  # noqa: B018

    def test_is_made_without_numbers_and_with_them_alike(self):
        def stubborn() -> nn.Module:
            module = perceptron()
            float(module[0].weight.detach().sum())
            return module

        assert ct.Model(stubborn).layout == ct.Model(perceptron).layout

    def test_double_precision_is_refused(self):
        with pytest.raises(LearnerError, match=r"dtype torch\.float64"):
            ct.Model(lambda: perceptron().double()).layout  # noqa: B018


class TestStart:
    def test_depends_on_the_seed_only(self):
        model = ct.Model(perceptron)
        torch.manual_seed(5)
        state = torch.get_rng_state()
        one, same, other = (model.init(Seed.of(seed)) for seed in (1, 1, 2))
        assert np.array_equal(one, same)
        assert not np.array_equal(one, other)
        assert torch.equal(torch.get_rng_state(), state)

    def test_is_what_the_module_draws_under_that_seed(self):
        torch.manual_seed(Seed.of(1).integer())
        expected = perceptron().state_dict()
        found = ct.Model(perceptron).layout.unpack(ct.Model(perceptron).init(Seed.of(1)))
        assert all(np.array_equal(found[name], expected[name].numpy()) for name in expected)

    def test_local_and_travelling_parts_come_from_one_module(self):
        split, whole = ct.Model(perceptron, local=("2.*",)), ct.Model(perceptron)
        joined = np.concatenate([split.init(Seed.of(1)), split.init_local(Seed.of(1))])
        assert np.array_equal(joined, whole.init(Seed.of(1)))


class TestExport:
    @pytest.mark.parametrize("options", [{}, {"local": ("norm.*",), "frozen": ("body.*",), "buffers": "local"}])
    def test_loads_strictly(self, options):
        model = ct.Model(Mixed, **options)
        arrays = model.export(model.init(Seed.of(3)))
        module = Mixed()
        module.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})
        assert module.head.weight is module.twin.weight

    def test_gives_what_the_trainer_computes_with(self):
        model = ct.Model(Mixed)
        weights = model.init(Seed.of(3))
        module = Mixed()
        module.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in model.export(weights).items()})
        examples = make_examples(50)
        outputs = module.float().eval()(torch.from_numpy(examples.features()))
        right = (outputs.argmax(1).numpy() == examples.labels()).sum()
        found = model.build(Hardware()).evaluate(weights, None, [examples])["accuracy"]
        assert found.tolist() == [[right, 50.0]]

    def test_half_precision_is_rounded_as_on_the_wire(self):
        model = ct.Model(Mixed)
        exported = model.export(np.full(model.layout.size, 1 / 3, np.float32))
        assert exported["body.weight"][0, 0] == torch.tensor(1 / 3).bfloat16().float().item()
        assert exported["head.weight"][0, 0] == np.float32(1 / 3)


class TestModel:
    def test_is_a_learner(self):
        assert isinstance(ct.Model(perceptron), Model)

    def test_metrics_by_name_become_metrics(self):
        assert ct.Model(perceptron, metrics=["accuracy"]).metrics == (Accuracy(),)

    def test_survives_a_copy_and_a_journey_to_a_worker(self):
        model = ct.Model(perceptron)
        model.layout  # noqa: B018
        for other in (copy.copy(model), pickle.loads(pickle.dumps(model))):
            assert np.array_equal(other.init(Seed.of(1)), model.init(Seed.of(1)))

    def test_wrong_arguments_are_named(self):
        with pytest.raises(LearnerError, match="width"):
            ct.Model(perceptron, arguments={"width": 3}).layout  # noqa: B018

    def test_a_factory_of_something_else(self):
        with pytest.raises(LearnerError, match=r"returned dict, not an nn\.Module"):
            ct.Model(dict).layout  # noqa: B018

    @pytest.mark.parametrize(("field", "value"), [("loss", "croos_entropy"), ("buffers", "median")])
    def test_unknown_names_are_refused_when_it_is_built(self, field, value):
        with pytest.raises(ConfigError, match=value):
            ct.Model(perceptron, **{field: value})


def test_a_mask_of_infinities_is_fixed_and_other_buffers_are_averaged():
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 3)
            self.register_buffer("mask", torch.full((3,), -torch.inf))
            self.register_buffer("average", torch.zeros(3))

    found = parts(ct.Model(Masked))
    assert found["mask"][0] == "fixed"
    assert found["average"][0] == "buffer"
