"""Sealed files: what comes out is what went in, or an error; and the key is nowhere to be seen."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.core.errors import ConfigError, DataError
from comity.node import sealing
from comity.node.seal_key import FileKey, SealKey
from comity.node.sealing import CHUNK, file_key, open_sealed, seal

KEY = SealKey(bytes(range(32)))
HEADER = 40
FRAME = CHUNK + 16


def sealed(folder: Path, content: bytes, name: str = "hearts", key: SealKey = KEY) -> Path:
    plain = folder / f"{name}.csv"
    plain.write_bytes(content)
    return seal(plain, key, name)


def opened(path: Path, name: str = "hearts", key: SealKey | FileKey = KEY) -> bytes:
    with open_sealed(path, key, name) as file:
        return file.read()


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_a_sealed_file_opens_to_what_it_was(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    path = sealed(tmp_path, content)
    assert path.name == "hearts.csv.sealed"
    assert opened(path) == content
    assert (tmp_path / "hearts.csv").read_bytes() == content, "the plain file is left to the caller"


def test_the_key_of_one_file_opens_it_and_no_other_of_its_owners(tmp_path: Path) -> None:
    hearts, lungs = sealed(tmp_path, b"hearts"), sealed(tmp_path, b"lungs", "lungs")
    key = file_key(hearts, KEY, "hearts")
    assert opened(hearts, key=key) == b"hearts"
    with pytest.raises(DataError, match="does not open"):
        opened(lungs, "lungs", key)
    with pytest.raises(DataError, match="does not open"):
        file_key(hearts, SealKey.new(), "hearts")
    assert key.secret != KEY.secret
    assert "secret" not in repr(key)


def test_it_says_nothing_of_the_content_and_is_never_the_same_twice(tmp_path: Path) -> None:
    content = b"age,ill\n63,1\n" * 100
    first = sealed(tmp_path, content).read_bytes()
    second = sealed(tmp_path, content).read_bytes()
    assert first != second
    assert b"age" not in first
    assert (tmp_path / "hearts.csv.sealed").stat().st_mode & 0o077 == 0


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    content = os.urandom(3 * CHUNK + 1000)
    return sealed(tmp_path_factory.mktemp("large"), content), content


@settings(max_examples=30)
@given(steps=st.lists(st.tuples(st.integers(0, 3 * CHUNK + 2000), st.integers(0, 2 * CHUNK)), max_size=4))
def test_any_part_of_it_can_be_read(large: tuple[Path, bytes], steps: list[tuple[int, int]]) -> None:
    path, content = large
    with open_sealed(path, KEY, "hearts") as file:
        assert file.seek(0, os.SEEK_END) == len(content)
        for start, length in steps:
            file.seek(start)
            assert file.read(length) == content[start : start + length]
            assert file.tell() == start + len(content[start : start + length])


Tamper = Callable[[bytes], bytes]
DAMAGE: dict[str, Tamper] = {
    "the last byte is missing": lambda text: text[:-1],
    "the last chunk is missing": lambda text: text[: HEADER + 3 * FRAME],
    "chunks in the middle are missing": lambda text: text[: HEADER + FRAME] + text[HEADER + 2 * FRAME :],
    "everything but the header is missing": lambda text: text[:HEADER],
    "even the header is cut": lambda text: text[: HEADER - 1],
    "nothing is there": lambda text: b"",
    "two chunks are exchanged": lambda text: (
        text[:HEADER]
        + text[HEADER + FRAME : HEADER + 2 * FRAME]
        + text[HEADER : HEADER + FRAME]
        + text[HEADER + 2 * FRAME :]
    ),
    "a chunk is there twice": lambda text: text[: HEADER + FRAME] + text[HEADER:],
    "something is added": lambda text: text + bytes(100),
    "a bit is changed": lambda text: text[:-500] + bytes([text[-500] ^ 1]) + text[-499:],
    "the salt is changed": lambda text: text[:16] + bytes([text[16] ^ 1]) + text[17:],
    "the nonce is changed": lambda text: text[:32] + bytes([text[32] ^ 1]) + text[33:],
    "it is another kind of file": lambda text: b"X" + text[1:],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found(large: tuple[Path, bytes], tmp_path: Path, damage: str) -> None:
    path = tmp_path / "hearts.csv.sealed"
    path.write_bytes(DAMAGE[damage](large[0].read_bytes()))
    with pytest.raises(DataError):
        opened(path)


@pytest.mark.parametrize("damage", ["the last byte is missing", "the last chunk is missing", "nothing is there"])
def test_a_cut_is_found_before_anything_is_read(large: tuple[Path, bytes], tmp_path: Path, damage: str) -> None:
    path = tmp_path / "hearts.csv.sealed"
    path.write_bytes(DAMAGE[damage](large[0].read_bytes()))
    with pytest.raises(DataError):
        open_sealed(path, KEY, "hearts")


def test_chunks_of_another_file_do_not_fit(tmp_path: Path) -> None:
    first = sealed(tmp_path, bytes(2 * CHUNK)).read_bytes()
    path = sealed(tmp_path, bytes(2 * CHUNK))
    second = path.read_bytes()
    path.write_bytes(second[: HEADER + FRAME] + first[HEADER + FRAME :])
    with pytest.raises(DataError, match="chunk 1"):
        opened(path)


def test_it_opens_with_its_own_key_and_under_its_own_name_alone(tmp_path: Path) -> None:
    path = sealed(tmp_path, b"age,ill\n63,1\n")
    with pytest.raises(DataError, match="another key"):
        opened(path, key=SealKey.new())
    with pytest.raises(DataError, match="another data set"):
        opened(path, name="lungs")


@settings(max_examples=20)
@given(data=st.data())
def test_any_changed_byte_is_an_error(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = sealed(Path(folder), b"age,ill\n63,1\n")
        text = bytearray(path.read_bytes())
        text[data.draw(st.integers(0, len(text) - 1))] ^= data.draw(st.integers(1, 255))
        path.write_bytes(text)
        with pytest.raises(DataError):
            opened(path)


def test_a_file_that_changes_while_it_is_sealed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = sealing._write

    def meddle(plain, draft, key, identity) -> None:  # type: ignore[no-untyped-def]
        write(plain, draft, key, identity)
        (tmp_path / "hearts.csv").write_bytes(b"age,ill\n64,1\n")

    monkeypatch.setattr(sealing, "_write", meddle)
    with pytest.raises(DataError, match="changed while"):
        sealed(tmp_path, b"age,ill\n63,1\n")
    monkeypatch.setattr(sealing, "_write", write)


class TestKey:
    """Where a key comes from."""

    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        folder = tmp_path / "data"
        folder.mkdir()
        return folder

    def test_no_repr_shows_it(self) -> None:
        assert KEY.secret.hex() not in repr(KEY)
        assert repr(KEY.secret) not in repr(KEY)

    def test_from_a_file_that_only_its_owner_reads(self, tmp_path: Path, data: Path) -> None:
        path = tmp_path / "seal.key"
        KEY.save(path, apart_from=data)
        assert path.stat().st_mode & 0o777 == 0o600
        assert SealKey.of(f"file:{path}", data) == KEY
        path.chmod(0o640)
        with pytest.raises(ConfigError, match="others may read it") as raised:
            SealKey.of(f"file:{path}", data)
        assert "chmod 600" in raised.value.mend

    def test_a_key_is_never_replaced(self, tmp_path: Path, data: Path) -> None:
        KEY.save(tmp_path / "seal.key", apart_from=data)
        with pytest.raises(ConfigError, match="already"):
            SealKey.new().save(tmp_path / "seal.key", apart_from=data)

    def test_not_from_a_file_among_the_data(self, tmp_path: Path, data: Path) -> None:
        with pytest.raises(ConfigError, match="with the data"):
            KEY.save(data / "seal.key", apart_from=data)
        KEY.save(tmp_path / "seal.key", apart_from=data)
        (data / "seal.key").write_bytes((tmp_path / "seal.key").read_bytes())
        (data / "seal.key").chmod(0o600)
        (tmp_path / "link").symlink_to(data / "seal.key")
        for path in (data / "seal.key", tmp_path / "link", data / ".." / "data" / "seal.key"):
            with pytest.raises(ConfigError, match="with the data"):
                SealKey.of(f"file:{path}", data)

    def test_from_the_environment(self, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SEAL_KEY", KEY.secret.hex())
        assert SealKey.of("env:SEAL_KEY", data) == KEY
        monkeypatch.delenv("SEAL_KEY")
        with pytest.raises(ConfigError, match="not set"):
            SealKey.of("env:SEAL_KEY", data)

    def test_from_a_command(self, data: Path) -> None:
        assert SealKey.of(f"command:{sys.executable} -c 'print(\"{KEY.secret.hex()}\")'", data) == KEY

    @pytest.mark.parametrize(
        "words", ["{python} -c 'print(\"{secret}\"); raise SystemExit(3)'", "no-such {secret}", "'"]
    )
    def test_a_command_that_fails_is_told_without_what_it_said(self, data: Path, words: str) -> None:
        words = words.replace("{python}", sys.executable).replace("{secret}", KEY.secret.hex())
        with pytest.raises(ConfigError) as raised:
            SealKey.of(f"command:{words}", data)
        assert KEY.secret.hex() not in str(raised.value)

    @pytest.mark.parametrize("text", ["", "abc", "0" * 63, "0" * 65, "g" * 64])
    def test_what_is_no_key_is_refused_and_not_repeated(self, tmp_path: Path, data: Path, text: str) -> None:
        path = tmp_path / "seal.key"
        path.write_text(text)
        path.chmod(0o600)
        with pytest.raises(ConfigError, match="no key") as raised:
            SealKey.of(f"file:{path}", data)
        assert not text or text not in str(raised.value).replace(str(path), "")

    @pytest.mark.parametrize("source", ["", "file:", "vault:x", "/a/path"])
    def test_unknown_sources_are_refused(self, data: Path, source: str) -> None:
        with pytest.raises(ConfigError, match="no source"):
            SealKey.of(source, data)

    def test_a_missing_file_is_an_error(self, tmp_path: Path, data: Path) -> None:
        with pytest.raises(ConfigError, match="cannot be read"):
            SealKey.of(f"file:{tmp_path / 'none'}", data)
