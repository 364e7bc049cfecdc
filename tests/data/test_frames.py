"""A data frame of one's own: target, parties, features and a test share."""

import numpy as np
import pytest

from comity.core.errors import DataError
from comity.data import Natural, from_frame

pd = pytest.importorskip("pandas")


def frame(rows: int = 60) -> "pd.DataFrame":
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "clinic": [f"clinic {i % 4}" for i in range(rows)],
            "age": rng.normal(60, 9, rows),
            "sex": ["f", "m"] * (rows // 2),
            "ill": ["yes" if i % 3 else "no" for i in range(rows)],
            "score": rng.normal(size=rows),
        }
    )


def test_all_other_columns_are_features() -> None:
    data = from_frame(frame(), target="ill", party="clinic")
    assert data.features == ("age", "sex=f", "sex=m", "score")
    assert data.labels == ("no", "yes")
    assert data.card.features == (4,)
    assert data.card.parties == (4,)
    assert list(data.split(Natural()).ids) == [f"clinic {i}" for i in range(4)]


def test_features_can_be_chosen_and_left_unscaled() -> None:
    data = from_frame(frame(), target="score", features=["age"], standardise=False)
    assert np.allclose(data.train.features()[:, 0], frame()["age"], atol=1e-4)
    assert data.classes is None


def test_the_encoding_is_learnt_without_the_test_rows() -> None:
    data = from_frame(frame(), target="ill", party="clinic", test=0.2)
    assert (len(data.train), len(data.test)) == (48, 12)
    assert np.allclose(data.train.features()[:, 0].mean(), 0, atol=1e-5)
    assert abs(data.test.features()[:, 0].mean()) > 1e-3
    expected = frame()["clinic"].to_numpy()[data.train.rows]
    assert data.party["clinic"].values().tolist() == expected.tolist()


def test_integer_targets_are_classes() -> None:
    table = frame().assign(ill=lambda t: (t["ill"] == "yes").astype(int))
    assert from_frame(table, target="ill", party="clinic").classes == 2


def test_unfit_frames_are_refused() -> None:
    with pytest.raises(DataError, match=r"no column 'dead'(.|\n)*the table has: clinic"):
        from_frame(frame(), target="dead")
    with pytest.raises(DataError, match=r"no column 'height'"):
        from_frame(frame(), target="ill", features=["height"])
    with pytest.raises(DataError, match="row 5: the target 'ill' is missing"):
        from_frame(frame().assign(ill=lambda t: t["ill"].mask(t.index == 5)), target="ill")
    with pytest.raises(DataError, match="party column 'clinic': 1 rows name no party, the first is row 7"):
        from_frame(frame().assign(clinic=lambda t: t["clinic"].mask(t.index == 7)), target="ill", party="clinic")
    with pytest.raises(DataError, match="the data set is empty"):
        from_frame(frame()[:0], target="ill")
    with pytest.raises(DataError, match="label -1 is outside"):
        from_frame(frame().assign(ill=-1), target="ill")
