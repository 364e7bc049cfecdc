"""`comity server audit`: the same entries from the server and from its folder, for those who oversee it."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from support.live import Live, comity

LOCAL = ("--address", "https://127.0.0.1:18443", "--host", "127.0.0.1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A server that does not run, with three entries."""
    made = comity("server", "init", tmp_path / "study", *LOCAL, COMITY_IDENTITY=str(tmp_path / "me"))
    assert made.exit_code == 0, made.output
    from comity.store.journal import Journal

    journal = Journal.open(f"sqlite:///{tmp_path / 'study' / 'journal.db'}")
    for at, who, action in ((60.0, "ada", "invited"), (120.0, "north", "enrolled"), (180.0, "ada", "revoked")):
        journal.note(at, who, action, "north")
    journal.close()
    return tmp_path / "study"


def verified(folder: Path, *words: str) -> tuple[int, str]:
    ended = comity("server", "audit", "verify", "--folder", folder, *words)
    return ended.exit_code, ended.output


def test_the_entries_in_a_folder_are_shown_and_chosen(folder: Path) -> None:
    shown = comity("server", "audit", "show", "--folder", folder)
    assert shown.exit_code == 0, shown.output
    assert [line.split()[0] for line in shown.stdout.splitlines()] == ["1", "2", "3"]
    assert "1970-01-01 00:03Z  ada revoked north" in shown.stdout
    for words, expected in ((("--who", "ada"), [1, 3]), (("--action", "enrolled"), [2]), (("--after", "2"), [3])):
        chosen = comity("server", "audit", "show", "--folder", folder, "--json", *words)
        assert [row["seq"] for row in json.loads(chosen.stdout)] == expected


def test_a_whole_audit_is_verified_and_its_head_known_again(folder: Path) -> None:
    code, told = verified(folder)
    assert code == 0
    assert told.startswith("3 entries hold")
    head = told.split()[-1]
    assert verified(folder, "--head", head)[0] == 0
    code, told = verified(folder, "--head", "f" * 64)
    assert code == 1
    assert "missing at the end" in told


@pytest.mark.parametrize(
    ("statement", "row"),
    [("UPDATE audit SET who = 'eve' WHERE seq = 2", 2), ("DELETE FROM audit WHERE seq = 3", 3)],
)
def test_what_was_done_to_the_database_shows(folder: Path, statement: str, row: int) -> None:
    with sqlite3.connect(folder / "journal.db") as database:
        database.execute(statement)
    database.close()
    code, told = verified(folder)
    assert code == 1
    assert f"row {row}" in told


def test_admins_and_auditors_ask_the_server_and_others_are_refused(live: Live, tmp_path: Path) -> None:
    people = {}
    for role in ("auditor", "researcher"):
        people[role] = {"COMITY_IDENTITY": str(tmp_path / role)}
        joined = comity("join", live.token(f"audit-{role}", "--role", role), **people[role])
        assert joined.exit_code == 0, joined.output
    for shown in (
        live.asks("server", "audit", "show", "--json"),
        comity("server", "audit", "show", "--json", **people["auditor"]),
    ):
        assert shown.exit_code == 0, shown.output
        done = [(row["who"], row["action"], row["detail"]) for row in json.loads(shown.stdout)]
        assert ("operator", "invited", "audit-auditor as auditor") in done
        assert ("audit-researcher", "enrolled", "researcher") in done
    checked = comity("server", "audit", "verify", "--json", **people["auditor"])
    assert checked.exit_code == 0, checked.output
    assert json.loads(checked.stdout)["rows"] == len(done)
    refused = comity("server", "audit", "show", **people["researcher"])
    assert refused.exit_code == 2
    assert "not allowed" in refused.output
