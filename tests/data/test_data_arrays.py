"""Arrays of one's own: NumPy, torch and Hugging Face, with and without parties and test sets."""

import numpy as np
import pytest

from comity.core.errors import DataError
from comity.data import IID, Affine, Natural, from_arrays, from_huggingface, from_torch

X = np.arange(24, dtype=np.float32).reshape(12, 2)
Y = np.arange(12) % 3


def test_integers_are_classes_and_floats_a_regression() -> None:
    assert from_arrays(X, Y).classes == 3
    assert from_arrays(X, Y > 0).classes == 2
    assert from_arrays(X, Y, classes=5).classes == 5
    assert from_arrays(X, Y.astype(float)).classes is None
    assert from_arrays(X, Y.astype(float)).card.task == "regression"


def test_text_labels_are_numbered_in_sorted_order_also_in_the_test_set() -> None:
    data = from_arrays(X, np.array(["cat", "dog", "ant"] * 4), test=(X[:2], ["dog", "ant"]))
    assert data.labels == ("ant", "cat", "dog")
    assert data.train.labels()[:3].tolist() == [1, 2, 0]
    assert data.test.labels().tolist() == [2, 0]
    with pytest.raises(DataError, match=r"test, row 1: label 'cow' is not in the training data"):
        from_arrays(X, np.array(["cat", "dog", "ant"] * 4), test=(X[:2], ["dog", "cow"]))
    with pytest.raises(DataError, match="row 1: the target is missing"):
        from_arrays(X[:2], np.array(["a", None], dtype=object))


def test_columns_are_shared_where_the_dtype_allows_it() -> None:
    assert from_arrays(X, Y).train.x is X
    assert from_arrays(X.astype(np.float64), Y).train.features().dtype == np.float32


def test_uint8_features_are_images_unless_told_otherwise() -> None:
    images = np.full((12, 2, 2), 255, np.uint8)
    assert from_arrays(images, Y).train.features().max() == 1
    assert from_arrays(images, Y, affine=Affine(1.0)).train.features().max() == 255


def test_a_share_is_set_aside_and_the_columns_stay_one() -> None:
    data = from_arrays(X, Y, test=0.25, party=["a", "b"] * 6)
    assert (len(data.train), len(data.test)) == (9, 3)
    assert data.test.x is data.train.x
    assert len(data.party["party"]) == 9
    assert not set(data.train.rows) & set(data.test.rows)
    expected = [["a", "b"][row % 2] for row in data.train.rows]
    assert data.party["party"].values().tolist() == expected
    with pytest.raises(DataError, match="a share between 0 and 1"):
        from_arrays(X, Y, test=1.5)


def test_unfit_arrays_are_refused() -> None:
    spoilt = X.copy()
    spoilt[3, 1] = np.nan
    with pytest.raises(DataError, match="row 3: feature 'b' is nan"):
        from_arrays(spoilt, Y, features=("a", "b"))
    with pytest.raises(DataError, match="mine, test, row 3"):
        from_arrays(X, Y, test=(spoilt, Y), name="mine")
    with pytest.raises(DataError, match=r"label -1 is outside 0 … 2"):
        from_arrays(X, np.where(Y == 1, -1, Y))
    with pytest.raises(DataError, match="label 2 is outside 0 … 1"):
        from_arrays(X, Y, classes=2)
    with pytest.raises(DataError, match="the data set is empty"):
        from_arrays(X[:0], Y[:0])
    with pytest.raises(DataError, match="12 rows of features and 11 labels"):
        from_arrays(X, Y[:11])
    with pytest.raises(DataError, match="1 rows name no party, the first is row 0"):
        from_arrays(X, Y, party=[None, *"abcdefghijk"])


def test_a_torch_dataset_is_read_through_its_transform() -> None:
    torch = pytest.importorskip("torch")

    class Squares(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 6

        def __getitem__(self, index: int):
            return torch.full((1, 2, 2), float(index**2)), index % 2

    data = from_torch(Squares(), test=Squares(), party=list("aabbcc"))
    assert data.train.features()[:, 0, 0, 0].tolist() == [0, 1, 4, 9, 16, 25]
    assert data.train.labels().tolist() == [0, 1, 0, 1, 0, 1]
    assert len(data.split(Natural())) == 3


def test_the_tensors_of_a_tensor_dataset_are_shared() -> None:
    torch = pytest.importorskip("torch")
    x, y = torch.rand(8, 3), torch.arange(8) % 2
    data = from_torch(torch.utils.data.TensorDataset(x, y))
    assert np.shares_memory(data.train.x, x.numpy())
    assert data.classes == 2


def test_torch_items_that_do_not_fit_are_named() -> None:
    with pytest.raises(DataError, match="item 1: features of shape"):
        from_torch([(np.zeros(2), 0), (np.zeros(3), 1)])
    with pytest.raises(DataError, match="item 0: an item is not a pair"):
        from_torch([np.zeros(2)])
    with pytest.raises(DataError, match="no examples"):
        from_torch([])


def test_a_huggingface_dataset_of_arrays() -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "pixels": datasets.Array2D((2, 2), "uint8"),
            "label": datasets.ClassLabel(names=["no", "yes", "never"]),
            "site": datasets.Value("string"),
        }
    )
    rows = {"pixels": np.full((6, 2, 2), 51, np.uint8), "label": [0, 1] * 3, "site": list("aabbcc")}
    data = from_huggingface(
        datasets.Dataset.from_dict(rows, features=features), features="pixels", target="label", party="site"
    )
    assert np.allclose(data.train.features(), 0.2)
    assert data.train.features().shape == (6, 2, 2)
    assert data.labels == ("no", "yes", "never")
    assert data.classes == 3
    assert list(data.split(Natural()).ids) == ["a", "b", "c"]


@pytest.mark.parametrize(("shape", "expected"), [((4, 5), (1, 4, 5)), ((4, 5, 3), (3, 4, 5))])
def test_huggingface_images_have_their_channels_first(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    datasets = pytest.importorskip("datasets")
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    rows = {"image": [image.fromarray(pixels)] * 2, "label": [0, 1]}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    data = from_huggingface(datasets.Dataset.from_dict(rows, features=features), features="image", target="label")
    assert data.train.features().shape == (2, *expected)
    assert data.train.x.dtype == np.uint8
    assert np.array_equal(data.train.x[0], pixels[None] if len(shape) == 2 else pixels.transpose(2, 0, 1))


def test_a_huggingface_table_is_encoded_like_a_frame() -> None:
    datasets = pytest.importorskip("datasets")
    rows = {"age": [1.0, 2.0, 3.0, 4.0], "sex": ["f", "m", "f", "m"], "ill": ["no", "no", "yes", "yes"]}
    data = from_huggingface(datasets.Dataset.from_dict(rows), target="ill")
    assert data.features == ("age", "sex=f", "sex=m")
    assert data.labels == ("no", "yes")
    assert len(data.split(IID(2))) == 2


def test_huggingface_columns_and_splits_are_checked() -> None:
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_dict({"a": [[1.0], [1.0, 2.0]], "b": [0, 1]})
    with pytest.raises(DataError, match=r"no column 'c'(.|\n)*the data set has: a, b"):
        from_huggingface(table, features="c", target="b")
    with pytest.raises(DataError, match="different shapes"):
        from_huggingface(table, features="a", target="b")
    with pytest.raises(DataError, match="give one of: train"):
        from_huggingface(datasets.DatasetDict(train=table), target="b")
