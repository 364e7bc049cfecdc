"""`comity renew` and `comity node renew`: new keys, while everything goes on."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from comity.identity.folder import IdentityFolder
from comity.identity.keys import SigningKey
from comity.node.home import NodeHome
from comity.store.journal import Journal
from support.live import Live, comity, until


def listed(live: Live, name: str) -> dict[str, object]:
    members = json.loads(live.asks("nodes", "list", "--json").stdout)
    return next(member for member in members if member["name"] == name)


def test_a_person_goes_on_with_new_keys(live: Live, tmp_path: Path) -> None:
    folder = tmp_path / "grace"
    joined = comity("join", live.token("grace", "--role", "researcher"), "--identity", folder)
    assert "their fingerprint is" in joined.output
    before = listed(live, "grace")
    renewed = comity("renew", "--identity", folder, "--json")
    assert renewed.exit_code == 0, renewed.output
    after = listed(live, "grace")
    assert after["signing_key"] == IdentityFolder(folder).signing_key().public != before["signing_key"]
    assert after["agreement_key"] == IdentityFolder(folder).agreement_key().public != before["agreement_key"]
    assert json.loads(renewed.stdout)["expires"] == after["expires"]
    assert comity("runs", "list", "--identity", folder).exit_code == 0


def test_who_lists_the_members_is_reminded_of_keys_that_end_soon(live: Live) -> None:
    assert "comity renew" not in live.asks("nodes", "list").stderr
    journal = Journal.open(f"sqlite:///{live.folder / 'server' / 'journal.db'}")
    me = journal.member("operator")
    assert me is not None
    # New keys that are the old ones, good for less long.
    assert journal.rekey("operator", me.signing_key, me.signing_key, me.agreement_key, time.time() + 86400)
    assert "comity renew" in live.asks("nodes", "list").stderr
    assert live.asks("renew").exit_code == 0
    assert "comity renew" not in live.asks("nodes", "list").stderr
    journal.close()


@pytest.mark.long
def test_a_node_at_work_takes_up_its_new_keys(live: Live) -> None:
    home = NodeHome(live.node("busy"))
    live.start_node("busy")
    until(lambda: bool(listed(live, "busy")["seen"]))
    before = SigningKey.load(home.signing_key).public
    renewed = comity("node", "renew", "--home", home.path)
    assert renewed.exit_code == 0, renewed.output
    assert listed(live, "busy")["signing_key"] == SigningKey.load(home.signing_key).public != before
    # Its next turn comes when the server has let it wait for half a minute, and is signed by the new key.
    last = listed(live, "busy")["seen"]
    until(lambda: listed(live, "busy")["seen"] != last)
    entries = [json.loads(line) for line in home.log_file.read_text().splitlines()]
    assert not [entry for entry in entries if entry["kind"] in ("fault", "waiting")]


def test_a_renewal_that_was_killed_is_ended_by_the_node_when_it_starts(live: Live) -> None:
    home = NodeHome(live.node("cut"))
    signing, _ = home.keys.prepare()
    doctor = comity("node", "doctor", "--home", home.path)
    assert "a renewal of the keys was begun and not ended" in doctor.output
    assert "comity node renew" in doctor.output
    live.start_node("cut")
    until(lambda: not home.keys.pending)
    assert listed(live, "cut")["signing_key"] == signing.public
    log = home.log_file.read_text()
    assert '"renewed"' in log


@pytest.mark.long
def test_the_command_itself_killed_at_any_moment_leaves_keys_that_count(live: Live) -> None:
    home = NodeHome(live.node("killed"))
    for delay in (0.2, 0.6, 0.8, 0.9, 1.0, 1.1):
        live.processes.start("renewal", "node", "renew", "--home", str(home.path))
        process = live.processes.started.pop("renewal")
        time.sleep(delay)
        process.kill()
        process.wait()
        ended = comity("node", "renew", "--home", home.path)
        assert ended.exit_code == 0, ended.output
        assert listed(live, "killed")["signing_key"] == SigningKey.load(home.signing_key).public
        assert not home.keys.pending


def test_who_has_not_joined_has_nothing_to_renew(tmp_path: Path) -> None:
    for words in (("renew", "--identity", tmp_path), ("node", "renew", "--home", tmp_path)):
        refused = comity(*words)
        assert refused.exit_code == 2
        assert "TOKEN" in refused.output
