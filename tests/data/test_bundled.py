"""The data sets that scikit-learn ships."""

import numpy as np
import pytest

from comity.data import IID, catalogue, load

pytest.importorskip("sklearn")

CARDS = {card.name: card for card in catalogue() if card.extra == "sklearn"}


@pytest.mark.parametrize("name", CARDS)
def test_the_data_are_what_the_card_says(name: str) -> None:
    card, data = CARDS[name], load(name)
    assert data.test is not None
    assert len(data.train) + len(data.test) == card.examples
    assert abs(len(data.test) - card.examples / 5) <= 1
    assert data.train.features().shape[1:] == card.features
    assert data.train.features().dtype == np.float32
    assert len(data.features) == card.features[0]
    assert (card.classes is None) == (card.task == "regression")
    if card.classes:
        assert len(data.labels) == card.classes
        assert set(data.test.labels()) == set(range(card.classes))


def test_digits_are_pixels_from_0_to_1() -> None:
    seen = load("digits").train.features()
    assert seen.min() == 0
    assert seen.max() == 1


@pytest.mark.parametrize("name", [name for name in CARDS if name != "digits"])
def test_measurements_are_standardised_over_the_training_examples(name: str) -> None:
    seen = load(name).train.features()
    assert np.allclose(seen.mean(axis=0), 0, atol=1e-4)
    assert np.allclose(seen.std(axis=0), 1, atol=1e-4)


def test_the_seed_draws_the_test_set() -> None:
    rows = [load("digits", seed=seed).test.rows for seed in (1, 1, 2)]
    assert np.array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[0], rows[2])


def test_several_targets_are_split_too() -> None:
    parties = load("linnerud").split(IID(4))
    assert parties["party-0"].train.labels().shape[1] == 3
