"""`comity registrar`: the key stays on a machine of its own, and the server serves what it signed there last."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from comity.cli.app import app
from comity.demo.processes import Processes, free_port
from support.live import RUNNER, Live, comity, until


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server that never had its registrar's key, which is in `vault`."""
    folder = tmp_path_factory.mktemp("live")
    (folder / "vault").mkdir()
    made = comity("registrar", "new", folder / "vault" / "registrar.pem")
    assert made.exit_code == 0, made.output
    shutil.copy(folder / "vault" / "registrar.pem.pub", folder / "registrar.pub")
    begun(folder, "--registrar", folder / "registrar.pub")
    with Processes(folder) as processes:
        live = Live(folder, processes)
        processes.start("server", "server", "start", str(folder / "server"))
        until(lambda: live.asks("nodes", "list").exit_code == 0)
        yield live


def begun(folder: Path, *words: str | Path) -> None:
    address = f"https://127.0.0.1:{free_port()}"
    options = ("--name", "study", "--host", "127.0.0.1", "--address", address)
    made = comity("server", "init", folder / "server", *options, *words, COMITY_IDENTITY=str(folder / "me"))
    assert made.exit_code == 0, made.output


def signed(live: Live, key: Path) -> str:
    """Draft, sign and publish; what the registrar was shown."""
    draft, roster = live.folder / "roster.draft", live.folder / "roster.signed"
    ended = live.asks("registrar", "draft", "--out", draft)
    assert ended.exit_code == 0, ended.output
    shown = comity("registrar", "sign", draft, key, "--out", roster, "--yes")
    assert shown.exit_code == 0, shown.output
    ended = live.asks("registrar", "publish", roster)
    assert ended.exit_code == 0, ended.output
    return shown.output


def vouched(home: Path) -> tuple[bool, str]:
    findings = json.loads(comity("node", "doctor", "--home", home, "--json").stdout)
    return next((finding["ok"], finding["detail"]) for finding in findings if finding["check"] == "roster")


def test_a_node_is_vouched_for_once_the_registrar_has_signed_and_anew_after_a_renewal(live: Live) -> None:
    key = live.folder / "vault" / "registrar.pem"
    assert not (live.folder / "server" / "registrar.pem").exists()
    home = live.node("north")
    assert vouched(home)[0] is False
    assert "north is new: node" in signed(live, key)
    assert vouched(home)[0] is True
    renewed = comity("node", "renew", "--home", home, "--json")
    assert renewed.exit_code == 0, renewed.output
    assert vouched(home) == (False, vouched(home)[1])
    assert "other keys of this node" in vouched(home)[1]
    shown = signed(live, key)
    assert f"north: has new keys {json.loads(renewed.stdout)['fingerprint']}" in shown
    assert vouched(home)[0] is True
    live.asks("nodes", "revoke", "north")
    assert comity("node", "doctor", "--home", home).exit_code == 1
    assert "north: is revoked" in signed(live, key)


def test_a_registrar_who_does_not_agree_signs_nothing(live: Live, tmp_path: Path) -> None:
    drafted = live.asks("registrar", "draft", "--out", tmp_path / "draft")
    assert drafted.exit_code == 0, drafted.output
    key = tmp_path / "key.pem"
    assert comity("registrar", "new", key).exit_code == 0
    words = ["registrar", "sign", str(tmp_path / "draft"), str(key), "--out", str(tmp_path / "signed")]
    refused = RUNNER.invoke(app, words, input="n\n")
    assert refused.exit_code == 1
    assert "operator is new: admin" in refused.output
    assert not (tmp_path / "signed").exists()
    assert RUNNER.invoke(app, words, input="y\n").exit_code == 0
    strange = live.asks("registrar", "publish", tmp_path / "signed")
    assert strange.exit_code == 2
    assert "not signed by this deployment's registrar" in strange.output


def test_an_old_roster_is_not_taken_again(live: Live, tmp_path: Path) -> None:
    key = live.folder / "vault" / "registrar.pem"
    signed(live, key)
    old = shutil.copy(live.folder / "roster.signed", tmp_path / "old")
    signed(live, key)
    refused = live.asks("registrar", "publish", Path(old))
    assert refused.exit_code == 2
    assert "signed later" in refused.output


@pytest.mark.long
def test_the_key_of_a_server_can_be_taken_away_later(tmp_path: Path) -> None:
    begun(tmp_path)
    with Processes(tmp_path) as processes:
        live = Live(tmp_path, processes)
        processes.start("server", "server", "start", str(tmp_path / "server"))
        until(lambda: live.asks("nodes", "list").exit_code == 0)
        home = live.node("north")
        assert vouched(home)[0] is True
        refused = live.asks("registrar", "draft", "--out", tmp_path / "draft")
        assert "nothing differs" in refused.output
        server = processes.started.pop("server")
        server.terminate()
        server.wait()
        key = tmp_path / "vault.pem"
        (tmp_path / "server" / "registrar.pem").rename(key)
        processes.start("server", "server", "start", str(tmp_path / "server"))
        until(lambda: live.asks("nodes", "list").exit_code == 0)
        assert vouched(home)[0] is False
        signed(live, key)
        assert vouched(home)[0] is True


def test_a_key_that_is_not_the_registrars_is_not_served_with(tmp_path: Path) -> None:
    begun(tmp_path)
    assert comity("registrar", "new", tmp_path / "other.pem").exit_code == 0
    (tmp_path / "other.pem").rename(tmp_path / "server" / "registrar.pem")
    refused = comity("server", "start", tmp_path / "server")
    assert refused.exit_code == 2
    assert "not the key of the deployment's registrar" in refused.output


def test_init_takes_no_key_for_a_public_one(tmp_path: Path) -> None:
    assert comity("registrar", "new", tmp_path / "key.pem").exit_code == 0
    words = ("--address", "https://127.0.0.1:1", "--registrar", tmp_path / "key.pem")
    refused = comity("server", "init", tmp_path / "server", *words, COMITY_IDENTITY=str(tmp_path / "me"))
    assert refused.exit_code == 2
    assert "not a public key" in refused.output
    assert not (tmp_path / "server").exists()
