"""The contracts of the store hold for every kind of database and of blob store: each test runs once for each."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from comity.store.blobs import Blobs
from comity.store.journal import Journal
from support import postgresql, s3


@pytest.fixture(scope="session")
def database_server() -> Iterator[str]:
    found = postgresql.programs()
    if found is None:
        pytest.skip("PostgreSQL's programs are not installed (Debian: postgresql)")
    with postgresql.postgresql(*found) as server:
        yield server


@pytest.fixture
def postgresql_url(database_server: str) -> Iterator[str]:
    name = f"t{uuid.uuid4().hex}"
    yield postgresql.create(database_server, name)
    postgresql.drop(database_server, name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/journal.db"
    return str(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def journal(database: str) -> Iterator[Journal]:
    opened = Journal.open(database)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    with s3.s3() as endpoint:
        yield endpoint


@pytest.fixture(params=["folder", "bucket"])
def blob_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store of blobs."""
    if request.param == "folder":
        return str(tmp_path / "blobs")
    return s3.create(request.getfixturevalue("s3_endpoint"), f"b{uuid.uuid4().hex}")


@pytest.fixture
def blobs(blob_url: str) -> Blobs:
    return Blobs.open(blob_url)
