"""The key of sealed data: 32 bytes from a file, an environment variable or a command, and never shown."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import stat
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from comity.core.errors import ConfigError
from comity.core.files import replace_file

_HEX = re.compile(r"[0-9a-fA-F]{64}")
_PATIENCE = 60.0


@dataclass(frozen=True)
class SealKey:
    """A key of 256 bits. Its text form is 64 hexadecimal digits; its repr says nothing."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != 32:
            raise ConfigError("a key has 32 bytes", where="SealKey", mend="make one with SealKey.new()")

    @classmethod
    def new(cls) -> SealKey:
        return cls(secrets.token_bytes(32))

    @classmethod
    def of(cls, source: str, apart_from: Path) -> SealKey:
        """The key that `source` names: `file:PATH`, `env:NAME` or `command:WORDS`, whose output it is.

        A file must be readable by its owner alone and lie outside the folder `apart_from`, so that who gets at the
        data, or at a backup of them, does not get the key as well. Raises `ConfigError`; no message holds the key.
        """
        kind, _, rest = source.partition(":")
        where = f"the key {source}"
        if (file := key_file(source)) is not None:
            text = _from_file(file, apart_from, where)
        elif kind == "env" and rest:
            text = os.environ.get(rest, "")
            if not text:
                raise ConfigError(
                    "the variable is not set", where=where, mend=f"export {rest}=… before the node starts"
                )
        elif kind == "command" and rest:
            text = _from_command(rest)
            where = "the key command"
        else:
            raise ConfigError(
                f"{kind or source!r} is no source of a key",
                where="seal key",
                mend="give file:/path, env:NAME or command:words",
            )
        return cls(_secret(text, where))

    def save(self, path: Path, apart_from: Path) -> None:
        """Write the key where only its owner can read it. Raises `ConfigError` for a file that is there already."""
        _check_apart(path, apart_from, str(path))
        if path.exists():
            raise ConfigError("there is a file already", where=str(path), mend="a key is never replaced; choose a path")
        replace_file(path, self.secret.hex().encode() + b"\n", mode=0o600)


@dataclass(frozen=True)
class FileKey:
    """The key of one sealed file, derived from its owner's; it opens no other file."""

    secret: bytes = field(repr=False)


def key_file(source: str) -> Path | None:
    """The file that `source` names; None where it names something else."""
    kind, _, rest = source.partition(":")
    return Path(rest).expanduser() if kind == "file" and rest else None


def _from_file(path: Path, apart_from: Path, where: str) -> str:
    _check_apart(path, apart_from, where)
    try:
        mode = path.stat().st_mode
        if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
            raise ConfigError(
                f"others may read it (mode {stat.S_IMODE(mode):o})",
                where=where,
                mend=f"chmod 600 {shlex.quote(str(path))}",
            )
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        what = getattr(error, "strerror", None) or "it is no text"
        raise ConfigError(f"cannot be read: {what}", where=where, mend="check the path and who owns it") from None


def _from_command(words: str) -> str:
    """What a command prints; neither its output nor its words (which may hold a password) go into a message."""
    try:
        ended = subprocess.run(shlex.split(words), capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise ConfigError(
            f"it could not be run ({type(error).__name__})", where="the key command", mend="try it in a shell"
        ) from None
    if ended.returncode != 0:
        raise ConfigError(f"it ended with {ended.returncode}", where="the key command", mend="try it in a shell")
    return ended.stdout


def _check_apart(path: Path, folder: Path, where: str) -> None:
    if path.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(
            f"the key lies with the data, in {folder}", where=where, mend="keep it outside that folder, and its backups"
        )


def _secret(text: str, where: str) -> bytes:
    if not _HEX.fullmatch(text.strip()):
        raise ConfigError("this is no key", where=where, mend="a key is 64 hexadecimal digits: openssl rand -hex 32")
    return bytes.fromhex(text.strip())
