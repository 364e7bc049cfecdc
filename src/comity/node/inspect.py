"""`python -m comity.node.inspect`: looks at one file and says how many rows it has, and which columns.

A process of its own, for it takes libraries, and perhaps a key, that the agent does not hold. One JSON object comes in
(path, format, name, key) and one goes out (rows and columns, or fault and mend).
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import IO

from comity.core.errors import ComityError, DataError, MissingDependency
from comity.node.data import count_csv
from comity.node.seal_key import SealKey


def look(file: IO[bytes], kind: str, where: str) -> tuple[int, tuple[str, ...]]:
    """Rows and columns of an open file. Raises `DataError` where it is not what its name says."""
    if kind == "csv":
        return count_csv(io.TextIOWrapper(file, encoding="utf-8-sig", newline=""), where)
    return _parquet(file, where) if kind == "parquet" else _npz(file, where)


def _parquet(file: IO[bytes], where: str) -> tuple[int, tuple[str, ...]]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise MissingDependency.of("pyarrow", "datasets", "reading Parquet files") from error
    try:
        opened = ParquetFile(file)
    except ArrowException as error:
        raise DataError(f"this is no Parquet file: {error}", where=where, mend="write it anew") from None
    return opened.metadata.num_rows, tuple(opened.schema_arrow.names)


def _npz(file: IO[bytes], where: str) -> tuple[int, tuple[str, ...]]:
    from comity.node.loading import read_npz

    arrays = read_npz(file, where)
    return sum(len(array) for name, array in arrays.items() if name.startswith("y_")), ("x", "y")


def _answer(asked: dict[str, str]) -> dict[str, object]:
    path = Path(asked["path"])
    if asked["key"]:
        from comity.node.sealing import open_sealed

        with open_sealed(path, SealKey(bytes.fromhex(asked["key"])), asked["name"]) as sealed:
            rows, columns = look(sealed, asked["format"], str(path))
    else:
        with path.open("rb") as file:
            rows, columns = look(file, asked["format"], str(path))
    return {"rows": rows, "columns": columns}


def main() -> None:
    try:
        answer = _answer(json.load(sys.stdin))
    except ComityError as error:
        answer = {"fault": error.what, "mend": error.mend}
    except OSError as error:
        answer = {"fault": f"cannot be read: {error.strerror or error}", "mend": "let the node read it"}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
