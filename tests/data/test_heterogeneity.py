"""The report on how far parties differ, against figures worked out by hand."""

from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from comity.core.errors import DataError
from comity.data import IID, Examples, Heterogeneity, Lazy, Natural, PartyData, describe, from_arrays


def report(labels: list[list[float]]) -> Heterogeneity:
    y = np.concatenate([np.array(party) for party in labels])
    party = np.repeat(np.arange(len(labels)), [len(party) for party in labels])
    return from_arrays(np.zeros((len(y), 1)), y, party=party).split(Natural()).describe()


def test_sizes_counts_entropy_and_distance() -> None:
    made = report([[0, 0, 1, 1], [1, 1], [0, 2]])
    assert made.sizes.tolist() == [4, 2, 2]
    assert made.counts is not None
    assert made.counts.tolist() == [[2, 2, 0], [0, 2, 0], [1, 0, 1]]
    assert made.entropy.tolist() == [1.0, 0.0, 1.0]
    assert made.labels.tolist() == [2, 1, 2]
    assert made.distances.tolist() == [0.5, 0.5, 1.0]


def test_gini_is_0_for_equal_sizes_and_nears_1() -> None:
    assert report([[0, 1]] * 5).gini == pytest.approx(0)
    assert report([[0] * 1000] + [[0]] * 99).gini > 0.85
    assert report([[0] * 3, [0]]).gini == pytest.approx(0.25)


def test_regression_targets_are_cut_at_the_deciles() -> None:
    made = report([[float(i) for i in range(50)], [float(i) for i in range(50, 100)]])
    assert made.binned
    assert made.counts is not None
    assert made.counts.sum(axis=0).tolist() == [10] * 10
    assert made.distances.tolist() == [1.0]
    assert "target decile" in str(made)


def test_targets_of_several_columns_leave_the_sizes() -> None:
    data = from_arrays(np.zeros((8, 1)), np.zeros((8, 2)))
    made = data.split(IID(2)).describe()
    assert made.counts is None
    assert made.sizes.tolist() == [4, 4]
    assert "entropy" not in str(made)


def test_of_many_parties_a_sample_is_looked_at_and_said_so() -> None:
    data = from_arrays(np.zeros((500, 1)), np.arange(500) % 5)
    made = data.split(IID(250)).describe(sample=20)
    assert made.sampled
    assert len(made.names) == 20
    assert "250, of which 20 were looked at" in str(made)
    assert not data.split(IID(250)).describe().sampled


def test_pairs_are_drawn_where_there_are_too_many() -> None:
    made = from_arrays(np.zeros((400, 1)), np.arange(400) % 2).split(IID(400)).describe()
    assert len(made.distances) == 20_000
    assert 0.4 < made.distances.mean() < 0.6


def test_the_report_is_a_table_in_a_rich_console() -> None:
    from rich.console import Console

    console = Console(file=StringIO(), width=100)
    console.print(report([[0, 1], [1, 1]]))
    assert "inequality of sizes" in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("classes", [2, 10, 30])
def test_the_picture_is_drawn(tmp_path: Path, classes: int) -> None:
    pytest.importorskip("matplotlib")
    data = from_arrays(np.zeros((300, 1)), np.arange(300) % classes)
    path = data.split(IID(80)).describe().plot(tmp_path / "parties.png")
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_an_empty_party_is_named() -> None:
    nothing = Examples(np.zeros((0, 1)), np.zeros(0, int))

    class Population:
        ids = ("a",)
        test = None

        def __len__(self) -> int:
            return 1

        def __getitem__(self, party: str) -> PartyData:
            return PartyData(nothing, nothing)

    with pytest.raises(DataError, match="party a: the party has no examples"):
        describe(Population())
    with pytest.raises(DataError, match="0 to look at"):
        Lazy(3, lambda party: PartyData(nothing, nothing)).describe(sample=0)
