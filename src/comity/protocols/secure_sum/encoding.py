"""Canonical bytes of messages: one value has one encoding, and every decoder knows its bounds beforehand.

A message is a frozen dataclass whose fields are annotated with a kind, `Annotated[int, Uint(4)]`. Its bytes are the
ASCII line `comity/secure-sum/1 NAME\\n`, then its fields in order: whole numbers big-endian in a fixed width, floats as
big-endian binary64, bytes of a fixed length as they are, everything else after its length in 4 bytes. Nothing is
optional, and nothing may follow. Vectors are not in messages: they travel beside them as little-endian uint32, and the
message has their SHA-256.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, Self, get_type_hints

from comity.protocols.secure_sum.errors import MessageError

PROTOCOL = b"comity/secure-sum/1"
"""Begins every message and everything that is signed or derived: its last part is the version of the protocol."""


def statement(purpose: str, *parts: bytes) -> bytes:
    """What is signed, hashed or fed to a KDF for one purpose: the parts after their lengths, so no two read alike."""
    return b"".join([PROTOCOL, b" ", purpose.encode("ascii"), b"\n", *map(_framed, parts)])


class Reader:
    """Bytes that are read from front to back; raises `MessageError` where they end too early."""

    def __init__(self, data: bytes, name: str) -> None:
        self.data = data
        self.name = name
        self.at = 0

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise MessageError(f"the message ends within a field that needs {count} bytes more", where=self.name)
        self.at += count
        return self.data[self.at - count : self.at]

    def length(self, most: int, what: str) -> int:
        count = int.from_bytes(self.take(4), "big")
        if count > most:
            raise MessageError(f"{count} {what} where at most {most} may be", where=self.name)
        return count


class Kind(Protocol):
    """How values of one kind become bytes and back; `most` is the greatest number of bytes one takes.

    `write` and `read` both raise `MessageError` for a value out of bounds.
    """

    @property
    def most(self) -> int: ...

    def write(self, value: Any, where: str) -> bytes: ...

    def read(self, reader: Reader) -> Any: ...


@dataclass(frozen=True)
class Uint:
    """A whole number of 0 or more in `width` bytes."""

    width: int = 4

    @property
    def most(self) -> int:
        return self.width

    def write(self, value: Any, where: str) -> bytes:
        if not isinstance(value, int) or not 0 <= value < 1 << 8 * self.width:
            raise MessageError(f"{value!r} is not a whole number of {self.width} bytes", where=where)
        return value.to_bytes(self.width, "big")

    def read(self, reader: Reader) -> int:
        return int.from_bytes(reader.take(self.width), "big")


@dataclass(frozen=True)
class Real:
    """A finite number, as binary64."""

    most = 8

    def write(self, value: Any, where: str) -> bytes:
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise MessageError(f"{value!r} is not a finite number", where=where)
        return struct.pack(">d", value)

    def read(self, reader: Reader) -> float:
        (value,) = struct.unpack(">d", reader.take(8))
        if not math.isfinite(value):
            raise MessageError(f"{value!r} is not a finite number", where=reader.name)
        return float(value)


@dataclass(frozen=True)
class Fixed:
    """Bytes of one length: hashes, keys, signatures."""

    size: int = 32

    @property
    def most(self) -> int:
        return self.size

    def write(self, value: Any, where: str) -> bytes:
        if not isinstance(value, bytes) or len(value) != self.size:
            raise MessageError(f"these are not {self.size} bytes", where=where)
        return value

    def read(self, reader: Reader) -> bytes:
        return reader.take(self.size)


@dataclass(frozen=True)
class Opaque:
    """Bytes, at most `limit`."""

    limit: int

    @property
    def most(self) -> int:
        return 4 + self.limit

    def write(self, value: Any, where: str) -> bytes:
        if not isinstance(value, bytes) or len(value) > self.limit:
            raise MessageError(f"these are not bytes, or more than {self.limit}", where=where)
        return _framed(value)

    def read(self, reader: Reader) -> bytes:
        return reader.take(reader.length(self.limit, "bytes"))


@dataclass(frozen=True)
class Text:
    """Printable ASCII, at most `limit` characters."""

    limit: int = 64

    @property
    def most(self) -> int:
        return 4 + self.limit

    def write(self, value: Any, where: str) -> bytes:
        if not isinstance(value, str) or len(value) > self.limit or not _printable(value):
            raise MessageError(f"{value!r} is not printable ASCII of at most {self.limit} characters", where=where)
        return _framed(value.encode("ascii"))

    def read(self, reader: Reader) -> str:
        raw = reader.take(reader.length(self.limit, "characters"))
        value = raw.decode("latin-1")
        if not _printable(value):
            raise MessageError("a text has characters that are not printable ASCII", where=reader.name)
        return value


@dataclass(frozen=True)
class Each:
    """Values of one kind in order, at most `limit`."""

    kind: Kind
    limit: int

    @property
    def most(self) -> int:
        return 4 + self.limit * self.kind.most

    def write(self, value: Any, where: str) -> bytes:
        if not isinstance(value, tuple) or len(value) > self.limit:
            raise MessageError(f"this is no tuple of at most {self.limit} values", where=where)
        return len(value).to_bytes(4, "big") + b"".join([self.kind.write(item, where) for item in value])

    def read(self, reader: Reader) -> tuple[Any, ...]:
        return tuple([self.kind.read(reader) for _ in range(reader.length(self.limit, "values"))])


@dataclass(frozen=True)
class Nested:
    """A message within a message, without its first line."""

    message: type[Message]

    @property
    def most(self) -> int:
        return sum([kind.most for _, kind in _kinds(self.message)])

    def write(self, value: Any, where: str) -> bytes:
        if type(value) is not self.message:
            raise MessageError(f"this is no {self.message.__name__}", where=where)
        return value.body()

    def read(self, reader: Reader) -> Message:
        return self.message(**{name: kind.read(reader) for name, kind in _kinds(self.message)})


class Message:
    """Base of every message, each a frozen dataclass: canonical bytes from the kinds of its fields."""

    def encode(self) -> bytes:
        """The one encoding of this message. Raises `MessageError` for a field out of bounds."""
        return _header(type(self)) + self.body()

    def body(self) -> bytes:
        """The encoded fields, without the first line."""
        name = type(self).__name__
        return b"".join([kind.write(getattr(self, field), f"{name}.{field}") for field, kind in _kinds(type(self))])

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The message that `data` encodes; raises a `SecureSumError` for anything else, before allocating for it."""
        header = _header(cls)
        most = len(header) + Nested(cls).most
        if len(data) > most:
            raise MessageError(f"{len(data)} bytes where at most {most} may be", where=cls.__name__)
        if not data.startswith(header):
            raise MessageError("these bytes do not begin as this message does", where=cls.__name__)
        reader = Reader(data, cls.__name__)
        reader.at = len(header)
        values = {name: kind.read(reader) for name, kind in _kinds(cls)}
        if reader.at != len(data):
            raise MessageError(f"{len(data) - reader.at} bytes follow the message", where=cls.__name__)
        return cls(**values)


def _kinds(message: type[Message]) -> tuple[tuple[str, Kind], ...]:
    key: Any = message  # mypy takes the `__hash__` of the instances for that of the class
    return _annotated(key)


@cache
def _annotated(message: Any) -> tuple[tuple[str, Kind], ...]:
    hints = get_type_hints(message, include_extras=True)
    return tuple((name, hint.__metadata__[0]) for name, hint in hints.items())


def _header(message: type[Message]) -> bytes:
    return b"%s %s\n" % (PROTOCOL, message.__name__.encode("ascii"))


def _framed(part: bytes) -> bytes:
    return len(part).to_bytes(4, "big") + part


def _printable(text: str) -> bool:
    return all(" " <= character <= "~" for character in text)
