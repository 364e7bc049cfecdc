"""Finding the files of a data set that the user keeps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from comity.core.errors import DataError
from comity.data.card import Card

VARIABLE = "COMITY_DATA"


def find(
    card: Card, folder: str | Path | None, files: Sequence[Sequence[str]], below: Sequence[str] = ()
) -> list[Path]:
    """The path of each file; a file is given as the names it may have.

    Looked into are the `folder` given (or the one that the environment variable COMITY_DATA names), the folder in it
    that is called like the data set, and the folders `below` both. Raises `DataError` listing what is missing.
    """
    root = folder if folder is not None else os.environ.get(VARIABLE)
    expected = ", ".join(names[0] for names in files)
    if root is None:
        raise DataError(
            f"the files of {card.name!r} are yours to bring: {expected}",
            where=f'load("{card.name}")',
            mend=f'{card.files}; then load("{card.name}", folder=…), or name the folder in {VARIABLE}',
        )
    bases = [Path(root) / card.name, Path(root)]
    places = [base / name for base in bases for name in ("", *below)]
    for place in places:
        found = [next((place / name for name in names if (place / name).is_file()), None) for names in files]
        if any(found):
            absent = [names[0] for names, path in zip(files, found, strict=True) if path is None]
            if absent:
                raise DataError(
                    f"not all files are there; missing: {', '.join(absent)}", where=str(place), mend=card.files
                )
            return [path for path in found if path is not None]
    raise DataError(
        f"none of these files is there: {expected}",
        where=" or ".join(str(place) for place in places),
        mend=card.files,
    )
