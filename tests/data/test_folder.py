"""A folder with a file for each party, read when the party is asked for."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from comity.core.errors import DataError
from comity.data import Encoder, from_folder

pd = pytest.importorskip("pandas")


def table(rows: int, seed: int) -> "pd.DataFrame":
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {"age": rng.normal(size=rows), "dose": rng.normal(size=rows), "ill": rng.integers(2, size=rows)}
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index, name in enumerate(("east", "north", "south")):
        table(10 + index, index).to_csv(tmp_path / f"{name}.csv", index=False)
    (tmp_path / "notes.txt").write_text("not a party")
    return tmp_path


def test_every_file_is_a_party(folder: Path) -> None:
    parties = from_folder(folder, target="ill", classes=2)
    assert list(parties.ids) == ["east", "north", "south"]
    party = parties["north"]
    assert (len(party.train), len(party.heldout)) == (9, 2)
    rows = np.concatenate([party.train.features(), party.heldout.features()])
    expected = table(11, 1)[["age", "dose"]].to_numpy(np.float32)
    assert np.allclose(np.sort(rows, axis=0), np.sort(expected, axis=0))
    assert np.array_equal(parties["north"].train.features(), party.train.features())


def test_parquet_files_work_too(folder: Path) -> None:
    pytest.importorskip("pyarrow")
    table(8, 5).to_parquet(folder / "west.parquet")
    assert len(from_folder(folder, target="ill")["west"].train) == 6


def test_a_file_is_read_only_when_its_party_is_used(folder: Path) -> None:
    (folder / "south.csv").write_text("nonsense\n1\n")
    parties = from_folder(folder, target="ill")
    assert len(parties["east"].train) == 8
    with pytest.raises(DataError, match=r"south.csv: no column 'ill', 'age', 'dose'"):
        parties["south"]


def test_columns_must_agree_unless_chosen(folder: Path) -> None:
    table(6, 9).assign(extra=1).to_csv(folder / "south.csv", index=False)
    with pytest.raises(DataError, match=r"south.csv: columns that the first file lacks: extra"):
        from_folder(folder, target="ill")["south"]
    assert from_folder(folder, target="ill", features=["dose"])["south"].train.features().shape == (5, 1)


def test_unfit_rows_are_named_by_file_row_and_column(folder: Path) -> None:
    table(6, 9).assign(age=[1, 2, np.nan, 4, 5, 6]).to_csv(folder / "south.csv", index=False)
    parties = from_folder(folder, target="ill", classes=2)
    with pytest.raises(DataError, match=r"south.csv, row 2: feature 'age' is nan"):
        parties["south"]
    table(6, 9).assign(ill=[0, 1, 7, 0, 1, 0]).to_csv(folder / "east.csv", index=False)
    with pytest.raises(DataError, match=r"party east.*label 7 is outside 0 … 1"):
        parties["east"]
    table(6, 9).assign(ill=[0, 1, None, 0, 1, 0]).to_csv(folder / "north.csv", index=False)
    with pytest.raises(DataError, match=r"north.csv, row 2: the target 'ill' is missing"):
        parties["north"]
    table(0, 9).to_csv(folder / "north.csv", index=False)
    with pytest.raises(DataError, match=r"north.csv: the file has no rows"):
        parties["north"]


def test_text_needs_labels_and_an_encoder(folder: Path) -> None:
    for name in ("east", "north", "south"):
        table(6, 9).assign(ill=["no", "yes"] * 3, sex=["f", "m"] * 3).to_csv(folder / f"{name}.csv", index=False)
    with pytest.raises(DataError, match=r"column 'sex' holds"):
        from_folder(folder, target="ill", labels=("no", "yes"))["east"]
    with pytest.raises(DataError, match=r"name its values in `labels`"):
        from_folder(folder, target="ill", features=["age"])["east"]
    with pytest.raises(DataError, match=r"row 1: the target 'ill' is 'yes'(.|\n)*use one of the labels: no, maybe"):
        from_folder(folder, target="ill", features=["age"], labels=("no", "maybe"))["east"]
    encoder = Encoder.fit(pd.DataFrame({"age": [-1.0, 1.0], "sex": ["f", "m"]}))
    parties = from_folder(folder, target="ill", labels=("no", "yes"), encoder=encoder)
    assert parties["east"].train.features().shape == (5, 3)
    assert parties.classes == 2


def test_one_more_file_is_the_common_test_set(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    common = tmp_path_factory.mktemp("common") / "test.csv"
    table(7, 3).to_csv(common, index=False)
    assert len(from_folder(folder, target="ill", test=common).test) == 7


def test_folders_without_tables_and_broken_files_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no .csv or .parquet file"):
        from_folder(tmp_path / "nowhere", target="ill")
    with pytest.raises(DataError, match=r"no column 'dead'"):
        from_folder(folder, target="dead")
    (folder / "broken.parquet").write_bytes(b"nonsense")
    with pytest.raises(DataError, match=r"broken.parquet: cannot be read"):
        from_folder(folder, target="ill")
    (folder / "broken.parquet").rename(folder / "east.parquet")
    with pytest.raises(DataError, match=r"two parties are named 'east'"):
        from_folder(folder, target="ill")


def test_a_folder_travels_to_worker_processes(folder: Path) -> None:
    parties = from_folder(folder, target="ill")
    again = pickle.loads(pickle.dumps(parties))
    assert np.array_equal(again["east"].train.features(), parties["east"].train.features())
