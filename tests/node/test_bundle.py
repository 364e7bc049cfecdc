"""Source bundles: they fill their folder and never leave it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core.errors import ManifestError
from comity.node.bundle import check_bundle, module_names, unpack

PARTS = st.sampled_from(["a", "B", "..", ".", "", "/", "\\", "~", "c.py", "c:", "con.", "d\0", "é", " ", "-x"])


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../outside.py",
        "a/../../b",
        "a//b",
        "./a",
        "a/.",
        "",
        "a\\b",
        "C:\\a",
        ".hidden",
        "a\0b",
        "a/",
        "é.py",
    ],
)
def test_paths_that_could_leave_the_folder_are_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no plain relative path"):
        unpack({path: ""}, tmp_path / "source")
    assert not list(tmp_path.rglob("*.py"))


@given(st.lists(PARTS, min_size=1, max_size=4).map("/".join))
def test_what_is_let_in_stays_inside(path: str) -> None:
    root = Path("/nowhere/source")
    try:
        check_bundle({path: ""})
    except ManifestError:
        return
    assert (root / path).resolve().is_relative_to(root)
    assert (root / path).resolve() == root / path


def test_two_names_of_one_file_are_refused() -> None:
    with pytest.raises(ManifestError, match="are one file"):
        check_bundle({"Net.py": "a", "net.py": "b"})


def test_a_file_that_is_a_folder_too_is_refused() -> None:
    with pytest.raises(ManifestError, match="both a file and a folder"):
        check_bundle({"net": "a", "net/layers.py": "b"})


def test_text_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="this is no text"):
        unpack({"a.py": "\ud800"}, tmp_path)


def test_links_in_the_way_are_refused(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "source" / "a").symlink_to(tmp_path / "outside")
    with pytest.raises(ManifestError, match="is a link"):
        unpack({"a/b.py": "x"}, tmp_path / "source")
    assert not list((tmp_path / "outside").iterdir())


def test_files_are_written_as_they_are_and_may_be_written_again(tmp_path: Path) -> None:
    files = {"job.py": "x = 'é'\n", "nets/__init__.py": "", "nets/deep.py": "y = 1\r\n"}
    unpack(files, tmp_path)
    unpack(files, tmp_path)
    assert {str(p.relative_to(tmp_path)): p.read_bytes().decode() for p in tmp_path.rglob("*.py")} == files


def test_modules_have_dotted_names_and_packages_come_first(tmp_path: Path) -> None:
    unpack({"job.py": "", "nets/__init__.py": "", "nets/deep.py": "", "not-a-module.py": "", "data.csv": ""}, tmp_path)
    assert [name for name, _ in module_names(tmp_path)] == ["job", "nets", "nets.deep"]
