"""Files sealed at rest: AES-256-GCM in chunks, so that a file of any size is read a piece at a time, each one checked.

A sealed file is a header (magic, 16 bytes of the file's own salt, 8 of a nonce prefix) and chunks of 1 MiB, each with
its tag. The key of a file is derived from the owner's key and the salt (HKDF-SHA256); the nonce of a chunk is prefix
and number; header, identity, number and whether it is the last are authenticated with it. So no chunk can be changed,
left out, exchanged, repeated or moved to another file, no file can be cut, and none passes for one of another identity
(the STREAM construction: Hoang, Reyhanitabar, Rogaway, Vizár 2015, IACR ePrint 2015/189).
"""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from comity.core.errors import DataError
from comity.core.files import replace_file
from comity.node.entries import SEALED
from comity.node.seal_key import FileKey, SealKey

CHUNK = 1 << 20
_TAG = 16
_MAGIC = b"comity-sealed-1\n"
_SALT, _PREFIX = 16, 8
_HEADER = len(_MAGIC) + _SALT + _PREFIX
_MOST = 1 << 32


def seal(path: Path, key: SealKey, identity: str) -> Path:
    """Seal a file beside itself, as `name.csv.sealed`, and check that the sealed one says the same; returns its path.

    `identity` is what the file is to be opened as, such as the data set's name. The plain file is left to the caller.
    Raises `DataError` where the file cannot be read or has more than 4 PiB.
    """
    sealed = path.with_name(path.name + SEALED)
    try:
        with path.open("rb") as plain:
            replace_file(sealed, lambda draft: _write(plain, draft, key, identity), mode=0o600)
        if not agrees(path, sealed, key, identity):
            raise DataError("the file changed while it was sealed", where=str(path), mend="seal it again")
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", where=str(path), mend="check the path") from error
    return sealed


def file_key(path: Path, key: SealKey, identity: str) -> FileKey:
    """The key of a sealed file alone, for who is to read this one. Raises `DataError` as `open_sealed` does."""
    with _Opened(path, key, identity) as opened:
        return _derived(key, opened.header)


def open_sealed(path: Path, key: SealKey | FileKey, identity: str) -> io.BufferedReader:
    """The content of a sealed file as a stream that can seek; it is never on disk, and one chunk at a time in memory.

    Raises `DataError` now for another key, another identity, and a file that was cut; and from `read` for a chunk that
    was changed.
    """
    return io.BufferedReader(_Opened(path, key, identity), CHUNK)


def agrees(path: Path, sealed: Path, key: SealKey, identity: str) -> bool:
    """Whether a plain file and a sealed one have the same content."""
    with path.open("rb") as plain, open_sealed(sealed, key, identity) as opened:
        while piece := plain.read(CHUNK):
            if opened.read(len(piece)) != piece:
                return False
        return not opened.read(1)


def _write(plain: IO[bytes], draft: Path, key: SealKey, identity: str) -> None:
    header = _MAGIC + secrets.token_bytes(_SALT + _PREFIX)
    cipher = AESGCM(_derived(key, header).secret)
    with draft.open("r+b") as file:
        file.write(header)
        for number, (piece, last) in enumerate(_pieces(plain)):
            if number >= _MOST:
                raise DataError("the file is too large to be sealed", where=str(draft), mend="split it")
            file.write(cipher.encrypt(_nonce(header, number), piece, _bound(header, identity, number, last)))


def _pieces(plain: IO[bytes]) -> Iterator[tuple[bytes, bool]]:
    """The chunks of a stream, each with whether it is the last; an empty stream has one empty chunk."""
    piece = plain.read(CHUNK)
    while True:
        following = plain.read(CHUNK) if len(piece) == CHUNK else b""
        yield piece, not following
        if not following:
            return
        piece = following


def _derived(key: SealKey, header: bytes) -> FileKey:
    salt = header[len(_MAGIC) : len(_MAGIC) + _SALT]
    return FileKey(HKDF(SHA256(), 32, salt, b"comity: a sealed file").derive(key.secret))


def _nonce(header: bytes, number: int) -> bytes:
    return header[-_PREFIX:] + number.to_bytes(4)


def _bound(header: bytes, identity: str, number: int, last: bool) -> bytes:
    """What is authenticated with a chunk; all but the identity is of fixed length, so no two differ and read alike."""
    return header + number.to_bytes(8) + bytes([last]) + identity.encode()


class _Opened(io.RawIOBase):
    """Reads a sealed file; holds the chunk that was read last."""

    def __init__(self, path: Path, key: SealKey | FileKey, identity: str) -> None:
        self._where = str(path)
        self._identity = identity
        try:
            self._file = path.open("rb")
            self.header = self._file.read(_HEADER)
            body = os.fstat(self._file.fileno()).st_size - _HEADER
        except OSError as error:
            what = f"cannot be read: {error.strerror or error}"
            raise DataError(what, where=self._where, mend="check the path") from error
        self._chunks = max(1, -(-body // (CHUNK + _TAG)))
        self._size = body - self._chunks * _TAG
        self._at = 0
        self._held = (-1, b"")
        try:
            if len(self.header) < _HEADER or not self.header.startswith(_MAGIC) or self._size < 0:
                raise DataError("this is no sealed file", where=self._where, mend="seal it: comity node data seal")
            self._cipher = AESGCM((key if isinstance(key, FileKey) else _derived(key, self.header)).secret)
            self._chunk(self._chunks - 1)
        except DataError:
            self.close()
            raise

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("a position before the start")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # the two buffers there are
        number, start = divmod(self._at, CHUNK)
        piece = self._chunk(number)[start : start + len(buffer)] if self._at < self._size else b""
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def close(self) -> None:
        self._held = (-1, b"")
        self._file.close()
        super().close()

    def _chunk(self, number: int) -> bytes:
        if self._held[0] != number:
            self._file.seek(_HEADER + number * (CHUNK + _TAG))
            sealed = self._file.read(CHUNK + _TAG)
            bound = _bound(self.header, self._identity, number, number == self._chunks - 1)
            try:
                self._held = number, self._cipher.decrypt(_nonce(self.header, number), sealed, bound)
            except InvalidTag:
                raise DataError(
                    f"chunk {number} does not open: another key, another data set's file, or a file that was changed",
                    where=self._where,
                    mend="give the key it was sealed with, or put the sealed file back from a backup",
                ) from None
        return self._held[1]
