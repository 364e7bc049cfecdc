"""Losses by name: what the mean is of, and what targets they take."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from comity.core.errors import ConfigError, DataError
from comity.learners.torch.losses import cast_labels, resolve


@pytest.mark.parametrize("name", ["cross_entropy", "mse", "bce_with_logits"])
def test_the_mean_is_the_mean_over_examples(name):
    loss = resolve(name)
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(6, 3, generator=generator)
    targets = torch.arange(6) % 3 if name == "cross_entropy" else torch.rand(6, 3, generator=generator)
    assert torch.allclose(loss.each(outputs, targets).mean(), loss.mean(outputs, targets))
    assert loss.each(outputs, targets).shape == (6,)


def test_a_column_of_outputs_meets_a_row_of_targets():
    assert resolve("mse").mean(torch.tensor([[1.0], [2.0]]), torch.tensor([1.0, 2.0])) == 0


def test_outputs_and_targets_of_different_sizes():
    with pytest.raises(ValueError, match=r"\[2, 3\] against targets of shape \[2\]"):
        resolve("mse").mean(torch.zeros(2, 3), torch.zeros(2))


def test_padding_is_no_wrong_label():
    resolve("next_token").check(np.array([[1, -100]]), (1, 2, 5))


@pytest.mark.parametrize("label", [-1, 5])
def test_a_label_out_of_range(label):
    with pytest.raises(DataError, match=f"a label is {label}, outside 0 … 4"):
        resolve("cross_entropy").check(np.array([0, label]), (2, 5))


@pytest.mark.parametrize("labels", [np.array([1, 2], np.uint8), np.array([True, False]), np.array([1.0, 2.0])])
def test_class_indices_come_in_any_dtype(labels):
    assert cast_labels(resolve("cross_entropy"), labels).dtype == np.int64


@pytest.mark.parametrize("labels", [np.array([0.5]), np.array([np.nan]), np.array(["a"])])
def test_what_is_no_class_index(labels):
    with pytest.raises(DataError, match="are not class indices"):
        cast_labels(resolve("cross_entropy"), labels)


def test_class_probabilities_stay():
    labels = np.array([[0.2, 0.8]])
    assert cast_labels(resolve("cross_entropy"), labels).dtype == np.float32


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ConfigError, match="cross_entropy, mse, bce_with_logits, next_token"):
        resolve("hinge")
