"""`comity data`: the catalogue, reports, and splits into files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import comity as ct
from comity.cli.app import app
from comity.cli.split import write_parties
from comity.core.errors import DataError

RUNNER = CliRunner(env={"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"})
FIVE = "dirichlet(parties=5, alpha=0.3)"


def comity(*words: str | Path) -> Result:
    return RUNNER.invoke(app, ["data", *map(str, words)])


def test_list_shows_every_data_set() -> None:
    shown = comity("list")
    assert shown.exit_code == 0
    assert all(card.name in shown.output for card in ct.data.catalogue())


def test_describe_shows_the_card_and_how_the_parties_differ(tmp_path: Path) -> None:
    shown = comity("describe", "digits", "--partition", FIVE, "--plot", tmp_path / "parties.png")
    assert shown.exit_code == 0, shown.output
    for words in ("scikit-learn", "CC BY 4.0", "label entropy", "ct.data.load"):
        assert words in shown.output
    assert (tmp_path / "parties.png").read_bytes().startswith(b"\x89PNG")


def test_describe_without_parties_says_how_to_make_some(tmp_path: Path) -> None:
    shown = comity("describe", "iris")
    assert shown.exit_code == 0
    assert "--partition" in shown.output
    assert comity("describe", "iris", "--plot", tmp_path / "x.png").exit_code == 2


def test_an_unknown_name_suggests_the_nearest() -> None:
    shown = comity("describe", "digit")
    assert shown.exit_code == 2
    assert "digits" in shown.output


def test_split_writes_what_from_folder_reads(tmp_path: Path) -> None:
    out = tmp_path / "digits"
    ended = comity("split", "digits", "--partition", FIVE, "--seed", "3", "--out", out)
    assert ended.exit_code == 0, ended.output
    read = ct.data.from_folder(out / "parties", target="target", classes=10, test=out / "test.csv", heldout=0.0)
    made = ct.data.load("digits").split(ct.data.Dirichlet(parties=5, alpha=0.3), seed=3, heldout=0.0)
    assert list(read.ids) == list(made.ids)
    for party in made.ids:
        assert np.array_equal(read[party].train.features(), made[party].train.features())
        assert np.array_equal(read[party].train.labels(), made[party].train.labels())
    assert read.test is not None
    assert made.test is not None
    assert np.array_equal(read.test.labels(), made.test.labels())


def test_the_line_that_split_prints_reads_the_files(tmp_path: Path) -> None:
    dataset = ct.data.load("iris")
    line = write_parties(dataset, dataset.split(ct.data.IID(parties=3)), tmp_path / "iris")
    assert line.startswith("ct.data.from_folder(")
    assert f'"{tmp_path / "iris" / "parties"}"' in line
    assert "classes=3" in line
    assert f'test="{tmp_path / "iris" / "test.csv"}"' in line


def test_split_leaves_a_full_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    ended = comity("split", "iris", "--partition", "iid(parties=3)", "--out", tmp_path)
    assert ended.exit_code == 2
    assert "not empty" in ended.output
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_split_needs_a_partition_where_the_data_have_no_parties(tmp_path: Path) -> None:
    ended = comity("split", "iris", "--out", tmp_path / "iris")
    assert ended.exit_code == 2
    assert "--partition" in ended.output


def test_parties_whose_names_are_no_file_names_are_refused(tmp_path: Path) -> None:
    dataset = ct.data.from_arrays(np.zeros((4, 2)), np.array([0, 1, 0, 1]), party=["a", "a", "../b", "../b"])
    with pytest.raises(DataError, match="cannot be a file name"):
        write_parties(dataset, dataset.split(ct.data.Natural()), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_targets_of_several_columns_are_refused(tmp_path: Path) -> None:
    dataset = ct.data.load("linnerud")
    with pytest.raises(DataError, match="several columns"):
        write_parties(dataset, dataset.split(ct.data.IID(parties=2)), tmp_path / "out")
