"""The data sets of a node: registered once, looked at without libraries, loaded as the simulation loads them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import comity as ct
from comity.core import manifest
from comity.core.errors import ConfigError, DataError
from comity.data.examples import Examples, PartyData
from comity.node.data import DataRegistry
from comity.node.entries import Entry, read_entries, written
from comity.node.loading import load
from comity.node.seal_key import SealKey


@pytest.fixture
def registry(tmp_path: Path) -> DataRegistry:
    return DataRegistry(tmp_path / "home")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def table(rows: int = 20) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    ill = rng.integers(0, 2, rows)
    return pd.DataFrame({"age": rng.normal(60, 9, rows), "pulse": rng.integers(50, 99, rows), "ill": ill})


@pytest.fixture
def hearts(folder: Path) -> Entry:
    path = folder / "berlin.csv"
    table().to_csv(path, index=False)
    return Entry("hearts", path, target="ill")


@pytest.fixture
def key(tmp_path: Path) -> str:
    SealKey.new().save(tmp_path / "seal.key", apart_from=tmp_path / "data")
    return f"file:{tmp_path / 'seal.key'}"


def same(left: PartyData, right: PartyData) -> None:
    def check(ours: Examples, theirs: Examples) -> None:
        np.testing.assert_array_equal(ours.features(), theirs.features())
        np.testing.assert_array_equal(ours.labels(), theirs.labels())
        assert ours.features().dtype == theirs.features().dtype

    check(left.train, right.train)
    check(left.heldout, right.heldout)


class TestRegistry:
    """`datasets.toml`, and what is known of the files."""

    def test_what_is_added_is_there_until_it_is_removed(self, registry: DataRegistry, hearts: Entry) -> None:
        assert registry.entries() == ()
        facts = registry.add(hearts)
        assert (facts.rows, facts.columns) == (20, ("age", "pulse", "ill"))
        assert registry.entries() == (hearts,)
        assert registry.describe("hearts") == facts
        assert hearts.columns(facts) == ("age", "pulse", "ill")
        assert registry.remove("hearts") == hearts
        assert registry.entries() == ()
        assert hearts.path.exists()

    @pytest.mark.parametrize("suffix", [".parquet", ".npz", ".csv"])
    def test_every_format_is_looked_at(self, registry: DataRegistry, folder: Path, suffix: str) -> None:
        path = folder / f"berlin{suffix}"
        if suffix == ".csv":
            path.write_text('\ufeffage,"a ""name""",ill\n63,"a\nb",1\n\n64,c,0\n', encoding="utf-8")
            found = (2, ("age", 'a "name"', "ill"))
        elif suffix == ".parquet":
            table().to_parquet(path)
            found = (20, ("age", "pulse", "ill"))
        else:
            np.savez(path, x_train=np.ones((7, 2)), y_train=np.ones(7), x_heldout=np.ones((3, 2)), y_heldout=np.ones(3))
            found = (10, ("x", "y"))
        facts = registry.add(Entry("hearts", path, target="" if suffix == ".npz" else "ill"))
        assert (facts.rows, facts.columns) == found

    def test_a_file_is_read_again_only_when_it_has_changed(self, registry: DataRegistry, hearts: Entry) -> None:
        before = registry.add(hearts)
        kept = hearts.path.stat()
        text = hearts.path.read_text()
        hearts.path.write_text(text.replace("ill", "ILL"))
        os.utime(hearts.path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
        assert registry.describe("hearts") == before, "size and time are the same: it is not read"
        hearts.path.write_text(text + "1,2,0\n")
        after = registry.describe("hearts")
        assert after.rows == 21
        assert after.digest != before.digest

    def test_what_was_known_may_be_lost_or_damaged(self, registry: DataRegistry, hearts: Entry) -> None:
        facts = registry.add(hearts)
        for text in ("", "[]", '{"hearts": 1}', '{"hearts": {"rows": 3}}'):
            (registry.home / "datasets.json").write_text(text)
            assert registry.describe("hearts") == facts

    def test_a_column_that_has_gone_is_an_error_at_the_next_look(self, registry: DataRegistry, hearts: Entry) -> None:
        registry.add(hearts)
        table().rename(columns={"ill": "sick"}).to_csv(hearts.path, index=False)
        with pytest.raises(DataError, match="no column 'ill'"):
            registry.describe("hearts")

    def test_a_file_that_has_gone_is_an_error(self, registry: DataRegistry, hearts: Entry) -> None:
        registry.add(hearts)
        hearts.path.unlink()
        with pytest.raises(DataError, match="cannot be read"):
            registry.describe("hearts")

    def test_an_unknown_name_is_told_the_nearest(self, registry: DataRegistry, hearts: Entry) -> None:
        with pytest.raises(DataError) as raised:
            registry.describe("hearts")
        assert "comity node data add" in raised.value.mend
        registry.add(hearts)
        with pytest.raises(DataError) as raised:
            registry.describe("heart")
        assert "did you mean 'hearts'" in raised.value.mend

    def test_names_are_given_once(self, registry: DataRegistry, hearts: Entry) -> None:
        registry.add(hearts)
        with pytest.raises(DataError, match="already"):
            registry.add(hearts)

    @pytest.mark.parametrize(("change", "mend"), [({"target": "il"}, "'ill'"), ({"features": ("ages",)}, "'age'")])
    def test_columns_must_be_there(
        self, registry: DataRegistry, hearts: Entry, change: dict[str, Any], mend: str
    ) -> None:
        with pytest.raises(DataError) as raised:
            registry.add(replace(hearts, **change))
        assert mend in raised.value.mend
        assert registry.entries() == ()

    @pytest.mark.parametrize(
        ("name", "content"),
        [("a.csv", b""), ("a.csv", b"\xff\xfe\x00"), ("a.parquet", b"PAR1"), ("a.npz", b"PK"), ("a.npz", b"")],
    )
    def test_files_that_are_not_what_they_say(
        self, registry: DataRegistry, folder: Path, name: str, content: bytes
    ) -> None:
        (folder / name).write_bytes(content)
        with pytest.raises(DataError) as raised:
            registry.add(Entry("hearts", folder / name, target="" if name.endswith("npz") else "ill"))
        assert str(folder / name) in raised.value.where
        assert registry.entries() == ()

    def test_the_agent_needs_no_numeric_library_for_it(self, registry: DataRegistry, folder: Path) -> None:
        table().to_parquet(folder / "berlin.parquet")
        code = f"""
import sys
from pathlib import Path
from comity.node.data import DataRegistry
from comity.node.entries import Entry
import comity.node.policy, comity.node.log, comity.node.requests, comity.node.days
DataRegistry(Path({str(registry.home)!r})).add(Entry("hearts", Path({str(folder / "berlin.parquet")!r}), target="ill"))
heavy = {{"numpy", "pandas", "pyarrow", "torch", "sklearn"}} & set(sys.modules)
assert not heavy, heavy
"""
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert ended.returncode == 0, ended.stderr
        assert registry.describe("hearts").rows == 20


TEXTS = st.text(min_size=1, max_size=8)
ENTRIES = st.builds(
    Entry,
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,10}", fullmatch=True),
    path=st.from_regex(r"/[a-z \"'\\]{1,8}\.(csv|parquet)", fullmatch=True).map(Path),
    target=TEXTS,
    features=st.none(),
    labels=st.lists(TEXTS, max_size=3).map(tuple),
    encoder=st.none() | st.just(Path("/an encoder.json")),
    heldout=st.floats(0, 1, exclude_max=True),
    seed=st.integers(0, 2**53),
)


class TestFile:
    """The text of `datasets.toml`."""

    @given(entries=st.lists(ENTRIES, max_size=3, unique_by=lambda entry: entry.name))
    def test_what_is_written_reads_back(self, entries: list[Entry]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "datasets.toml"
            file.write_text(written(entries), "utf-8")
            assert read_entries(file) == tuple(entries)

    def test_a_relative_path_is_from_the_folder_of_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "datasets.toml").write_text('[[dataset]]\nname = "hearts"\npath = "a.csv"\ntarget = "ill"\n')
        assert read_entries(tmp_path / "datasets.toml")[0].path == tmp_path / "a.csv"

    HEAD = '[[dataset]]\nname = "hearts"\npath = "a.csv"\ntarget = "ill"\n'

    @pytest.mark.parametrize(
        ("text", "where", "mend"),
        [
            (HEAD + 'featurs = ["age"]', "dataset[1], key featurs", "did you mean 'features'"),
            (HEAD + 'features = "age"', "key features", "list"),
            (HEAD + "heldout = 1.5", "heldout", "[0, 1)"),
            (HEAD + "seed = 1.5", "key seed", "whole number"),
            (HEAD + 'features = ["ill"]', "data set hearts", "the target not among them"),
            (HEAD + 'key = "env:K"', "data set hearts", "comity node data seal"),
            ('[[dataset]]\nname = "hearts"', "dataset[1]", "path"),
            ('[[dataset]]\nname = "../x"\npath = "a.csv"\ntarget = "ill"', "dataset[1]", "letters"),
            ('[[dataset]]\nname = "hearts"\npath = "a.xls"\ntarget = "ill"', "dataset[1]", ".csv"),
            ('[[dataset]]\nname = "hearts"\npath = "a.csv"', "dataset[1]", "predicted"),
            ('[[dataset]]\nname = "hearts"\npath = "a.npz"\ntarget = "ill"', "dataset[1]", "leave out"),
            ('[[dataset]]\nname = "hearts"\npath = "a.csv.sealed"\ntarget = "ill"', "dataset[1]", "data seal"),
            (HEAD + HEAD, "datasets.toml", "rename"),
            (HEAD * 257, "datasets.toml", "another node"),
            ("[dataset]\n", "datasets.toml", "[[dataset]]"),
            ("[[data]]\n", "datasets.toml", "[[dataset]]"),
            ("[[", "datasets.toml", "correct"),
        ],
    )
    def test_a_slip_is_an_error_that_says_where(self, tmp_path: Path, text: str, where: str, mend: str) -> None:
        (tmp_path / "datasets.toml").write_text(text)
        with pytest.raises(ConfigError) as raised:
            DataRegistry(tmp_path).entries()
        assert where in raised.value.where
        assert mend in raised.value.mend


class TestLoading:
    """What the task gets to train on."""

    @pytest.mark.parametrize("suffix", [".csv", ".parquet"])
    def test_a_table_gives_what_the_simulation_reads_from_a_folder(self, folder: Path, suffix: str) -> None:
        path = folder / f"berlin{suffix}"
        table().to_csv(path, index=False) if suffix == ".csv" else table().to_parquet(path)
        simulated = ct.data.from_folder(folder, target="ill", heldout=0.3, seed=11)["berlin"]
        same(load(Entry("hearts", path, target="ill", heldout=0.3, seed=11)), simulated)

    def test_features_labels_and_an_encoder_are_those_of_a_folder(self, folder: Path) -> None:
        frame = table().assign(ward=["a", "b"] * 10, ill=lambda made: made["ill"].map({0: "no", 1: "yes"}))
        frame.to_csv(folder / "berlin.csv", index=False)
        encoder = ct.data.Encoder.fit(frame[["ward", "age"]], standardise=True)
        (folder / "encoder.json").write_text(manifest.canonical(manifest.encode(encoder)))
        simulated = ct.data.from_folder(folder, target="ill", labels=["no", "yes"], encoder=encoder)["berlin"]
        entry = Entry(
            "hearts",
            folder / "berlin.csv",
            target="ill",
            features=("ward", "age"),
            labels=("no", "yes"),
            encoder=folder / "encoder.json",
        )
        same(load(entry), simulated)
        with pytest.raises(ConfigError, match="the encoder reads ward, age"):
            load(replace(entry, features=("age",)))

    def test_features_come_in_the_order_in_which_they_are_named(self, hearts: Entry) -> None:
        one, other = (load(replace(hearts, features=names)).train.x for names in (("age", "pulse"), ("pulse", "age")))
        np.testing.assert_array_equal(one, other[:, ::-1])

    def test_arrays_come_with_their_own_held_out_rows(self, folder: Path) -> None:
        rng = np.random.default_rng(3)
        parts = {"x_train": rng.random((9, 2)), "y_train": rng.integers(0, 3, 9)}
        held = {"x_heldout": rng.random((4, 2)), "y_heldout": rng.integers(0, 3, 4)}
        np.savez(folder / "berlin.npz", **parts, **held)
        data = load(Entry("hearts", folder / "berlin.npz"))
        np.testing.assert_array_equal(data.train.features(), parts["x_train"].astype(np.float32))
        np.testing.assert_array_equal(data.heldout.labels(), held["y_heldout"])
        np.savez(folder / "berlin.npz", **parts)
        data = load(Entry("hearts", folder / "berlin.npz", heldout=1 / 3))
        assert (len(data.train), len(data.heldout)) == (6, 3)

    def test_images_are_scaled_as_everywhere(self, folder: Path) -> None:
        np.savez(folder / "berlin.npz", x_train=np.full((4, 2, 2), 255, np.uint8), y_train=np.arange(4))
        np.testing.assert_array_equal(load(Entry("hearts", folder / "berlin.npz")).train.features(), 1)

    @pytest.mark.parametrize(
        "arrays",
        [
            {"x_train": np.ones(3)},
            {"x_train": np.ones(3), "y_train": np.ones(4)},
            {"x_train": np.ones(3), "y_train": np.array(["a", "b", "c"])},
            {"x_train": np.ones(3), "y_train": np.ones(3), "x_heldout": np.ones(1)},
            {"x_train": np.ones(3), "y_train": np.ones(3), "more": np.ones(1)},
            {"x_train": np.ones((3, 2)), "y_train": np.ones(3), "x_heldout": np.ones((1, 3)), "y_heldout": np.ones(1)},
            {"x_train": np.array([1, np.nan, 3]), "y_train": np.ones(3)},
        ],
        ids=lambda arrays: ",".join(arrays),
    )
    def test_unfit_arrays_are_refused(self, folder: Path, arrays: dict[str, np.ndarray]) -> None:
        np.savez(folder / "berlin.npz", **arrays)
        with pytest.raises(DataError):
            load(Entry("hearts", folder / "berlin.npz"))

    def test_no_object_is_ever_unpickled(self, folder: Path) -> None:
        class Hostile:
            def __reduce__(self) -> tuple[Any, ...]:
                return os.mkdir, (str(folder / "ran"),)

        np.savez(folder / "berlin.npz", x_train=np.ones(1), y_train=np.array([Hostile()], dtype=object))
        with pytest.raises(DataError, match="plain arrays"):
            load(Entry("hearts", folder / "berlin.npz"))
        with pytest.raises(DataError, match="plain arrays"):
            DataRegistry(folder / "home").add(Entry("hearts", folder / "berlin.npz"))
        assert not (folder / "ran").exists()

    def test_an_unfit_row_is_named(self, hearts: Entry) -> None:
        hearts.path.write_text("age,ill\n1,0\n,1\n")
        with pytest.raises(DataError, match="nan") as raised:
            load(hearts)
        assert "row 1" in raised.value.where

    def test_an_encoder_that_is_none_is_refused(self, folder: Path, hearts: Entry) -> None:
        (folder / "encoder.json").write_text('{"is":"comity.aggregation.mean:Mean"}')
        for path in (folder / "encoder.json", folder / "none.json"):
            with pytest.raises(ConfigError, match=r"no encoder|cannot be read"):
                load(replace(hearts, encoder=path))


class TestSealed:
    """Sealed data sets."""

    @pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
    def test_a_sealed_data_set_is_the_same_data_set(
        self, registry: DataRegistry, folder: Path, key: str, suffix: str
    ) -> None:
        path = folder / f"berlin{suffix}"
        if suffix == ".npz":
            np.savez(path, x_train=np.arange(20.0), y_train=np.arange(20))
        else:
            table().to_csv(path, index=False) if suffix == ".csv" else table().to_parquet(path)
        plain = Entry("hearts", path, target="" if suffix == ".npz" else "ill")
        facts, data, content = registry.add(plain), load(plain), path.read_bytes()

        sealed = registry.seal("hearts", key)
        assert [file.name for file in folder.iterdir()] == [f"berlin{suffix}.sealed"]
        assert registry.entry("hearts") == sealed
        secret = registry.key("hearts")
        assert secret is not None
        same(load(sealed, secret), data)
        assert (registry.describe("hearts").rows, registry.describe("hearts").columns) == (facts.rows, facts.columns)

        (registry.home / "datasets.json").unlink()
        assert registry.describe("hearts").rows == facts.rows, "looked at through the seal"
        with pytest.raises(ConfigError, match="sealed"):
            load(sealed)
        with pytest.raises(DataError, match="another key"):
            load(sealed, SealKey.new())

        assert registry.unseal("hearts") == plain
        assert path.read_bytes() == content
        assert [file.name for file in folder.iterdir()] == [path.name]
        assert registry.describe("hearts").digest == facts.digest

    def test_nothing_is_lost_where_sealing_fails(self, registry: DataRegistry, hearts: Entry) -> None:
        registry.add(hearts)
        content = hearts.path.read_bytes()
        with pytest.raises(ConfigError):
            registry.seal("hearts", "env:NO_SUCH_KEY")
        assert hearts.path.read_bytes() == content
        assert registry.entries() == (hearts,)
        with pytest.raises(DataError, match="not sealed"):
            registry.unseal("hearts")

    def test_it_is_sealed_once(self, registry: DataRegistry, hearts: Entry, key: str) -> None:
        registry.add(hearts)
        registry.seal("hearts", key)
        with pytest.raises(DataError, match="already"):
            registry.seal("hearts", key)

    def test_after_a_crash_before_its_end_the_plain_file_is_deleted(
        self, registry: DataRegistry, hearts: Entry, key: str
    ) -> None:
        registry.add(hearts)
        content = hearts.path.read_bytes()
        sealed = registry.seal("hearts", key)
        hearts.path.write_bytes(content)
        assert registry.seal("hearts", key) == sealed
        assert not hearts.path.exists()
        for other in (content + b"1", content[:-1], b""):
            hearts.path.write_bytes(other)
            with pytest.raises(DataError, match="already"):
                registry.seal("hearts", key)
            assert hearts.path.read_bytes() == other, "another file is not ours to delete"

    def test_the_key_is_in_no_file_of_the_node(
        self, registry: DataRegistry, hearts: Entry, key: str, tmp_path: Path
    ) -> None:
        registry.add(hearts)
        registry.seal("hearts", key)
        registry.describe("hearts")
        secret = (tmp_path / "seal.key").read_text().strip().encode()
        for file in registry.home.rglob("*"):
            assert not file.is_file() or secret not in file.read_bytes()
