"""CIFAR in its binary version."""

from pathlib import Path

import numpy as np
import pytest

from comity.core.errors import DataError
from comity.data import load


def records(labels: list[list[int]], seed: int) -> tuple[bytes, np.ndarray]:
    pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), 3, 32, 32)).astype(np.uint8)
    rows = np.concatenate([np.array(labels, np.uint8), pixels.reshape(len(labels), -1)], axis=1)
    return rows.tobytes(), pixels


@pytest.mark.parametrize("below", ["", "cifar10", "cifar-10-batches-bin"])
def test_the_five_batches_of_cifar10_are_one_column(tmp_path: Path, below: str) -> None:
    folder = tmp_path / below
    folder.mkdir(exist_ok=True)
    expected = []
    for batch in range(1, 6):
        data, pixels = records([[batch], [9]], batch)
        (folder / f"data_batch_{batch}.bin").write_bytes(data)
        expected.append(pixels)
    (folder / "test_batch.bin").write_bytes(records([[3]], 9)[0])
    data = load("cifar10", folder=tmp_path)
    assert np.array_equal(data.train.x, np.concatenate(expected))
    assert data.train.labels().tolist() == [1, 9, 2, 9, 3, 9, 4, 9, 5, 9]
    assert data.test.labels().tolist() == [3]
    assert data.train.x.dtype == np.uint8
    assert data.train.features().max() <= 1


def test_cifar100_takes_the_fine_label(tmp_path: Path) -> None:
    (tmp_path / "train.bin").write_bytes(records([[19, 99], [3, 42]], 1)[0])
    (tmp_path / "test.bin").write_bytes(records([[1, 7]], 2)[0])
    data = load("cifar100", folder=tmp_path)
    assert data.train.labels().tolist() == [99, 42]
    assert data.train.features().shape == (2, 3, 32, 32)


def test_what_is_not_whole_records_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.bin").write_bytes(records([[19, 99]], 1)[0][:-1])
    (tmp_path / "test.bin").write_bytes(records([[1, 7]], 2)[0])
    with pytest.raises(DataError, match=r"3,073 bytes are not whole records of 3,074(.|\n)*binary version"):
        load("cifar100", folder=tmp_path)


def test_labels_are_checked(tmp_path: Path) -> None:
    (tmp_path / "train.bin").write_bytes(records([[19, 100]], 1)[0])
    (tmp_path / "test.bin").write_bytes(records([[1, 7]], 2)[0])
    with pytest.raises(DataError, match="label 100 is outside 0 … 99"):
        load("cifar100", folder=tmp_path)


def test_missing_files_are_listed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data_batch_1.bin, data_batch_2.bin(.|\n)*cifar-10-binary.tar.gz"):
        load("cifar10", folder=tmp_path)
