"""`comity server init --journal`: the operator belongs to a server whose database is PostgreSQL."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from comity.server.config import read
from support import postgresql
from support.live import comity


def test_a_server_is_made_over_postgresql(tmp_path: Path) -> None:
    found = postgresql.programs()
    if found is None:
        pytest.skip("PostgreSQL's programs are not installed (Debian: postgresql)")
    words = ("--address", "https://127.0.0.1:18443", "--host", "127.0.0.1")
    with postgresql.postgresql(*found) as server:
        url = postgresql.create(server, "study")
        made = comity(
            "server", "init", tmp_path / "study", *words, "--journal", url, COMITY_IDENTITY=str(tmp_path / "me")
        )
        assert made.exit_code == 0, made.output
        assert read(tmp_path / "study", {}, {}).journal == url
        assert not (tmp_path / "study" / "journal.db").exists()
        saved = comity("server", "backup", tmp_path / "study", tmp_path / "saved", "--json")
        assert json.loads(saved.stdout)["rows"] > 0
        again = comity("server", "init", tmp_path / "other", *words, "--journal", url)
    assert again.exit_code == 1, "the operator of this database is another server's"


def test_a_database_that_is_not_there_makes_no_server(tmp_path: Path) -> None:
    url = f"postgresql+psycopg://comity@/study?host={tmp_path}"
    refused = comity("server", "init", tmp_path / "study", "--address", "https://127.0.0.1:18443", "--journal", url)
    assert refused.exit_code == 1
    assert "database" in refused.output
    assert not (tmp_path / "study" / "server.toml").exists()
