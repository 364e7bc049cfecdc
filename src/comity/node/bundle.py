"""Source bundles: text files by path, put into a folder without leaving it (their digest: `wire.digests`)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from comity.core.errors import ManifestError
from comity.core.files import replace_file

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def check_bundle(files: Mapping[str, str]) -> None:
    """Raise `ManifestError` that names the first path that could leave the folder, or mean another file of it."""
    seen: dict[str, str] = {}
    for path in files:
        parts = path.split("/")
        if not all(_PART.fullmatch(part) for part in parts) or any(part.endswith(".") for part in parts):
            raise ManifestError(
                f"{path!r} is no plain relative path",
                where="source",
                mend="name files by letters, digits, '_', '-', '.' and folders by '/'",
            )
        if (twin := seen.setdefault(path.casefold(), path)) != path:
            raise ManifestError(f"{path!r} and {twin!r} are one file on some systems", where="source")
    for path in files:
        for parent in PurePosixPath(path).parents:
            if str(parent).casefold() in seen:
                raise ManifestError(f"{str(parent)!r} is both a file and a folder", where="source")


def unpack(files: Mapping[str, str], folder: Path) -> None:
    """Write the files into `folder`, which is new or was filled by the same files before.

    Raises `ManifestError` as `check_bundle` does, and where something in `folder` is a link.
    """
    check_bundle(files)
    for path, text in files.items():
        target = folder / path
        for place in (target, *target.parents):
            if place.is_symlink():
                raise ManifestError(f"{place} is a link", where="source", mend="empty the folder")
            if place == folder:
                break
        try:
            content = text.encode("utf-8")
        except UnicodeEncodeError:
            raise ManifestError("this is no text", where=f"source {path}") from None
        replace_file(target, content, mode=0o600)


def module_names(folder: Path) -> Iterator[tuple[str, Path]]:
    """The Python modules of an unpacked bundle: dotted name and file, packages before what they hold."""
    for file in sorted(folder.rglob("*.py"), key=lambda at: (len(at.parts), at.name != "__init__.py", at)):
        parts = list(file.relative_to(folder).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        if parts and all(part.isidentifier() for part in parts):
            yield ".".join(parts), file
