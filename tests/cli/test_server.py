"""`comity server`, `comity join` and `comity nodes`: from nothing to members of a deployment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.x509 import DNSName, IPAddress, SubjectAlternativeName, load_pem_x509_certificate

from comity.identity.folder import IdentityFolder
from comity.identity.invitation import Invitation
from comity.server.config import read
from support.live import Live, comity

LOCAL = ("--address", "https://127.0.0.1:18443", "--host", "127.0.0.1")


def init(folder: Path, *words: str, identity: Path) -> str:
    made = comity("server", "init", folder, *LOCAL, *words, COMITY_IDENTITY=str(identity))
    assert made.exit_code == 0, made.output
    return made.output


def test_init_makes_all_that_start_needs_and_says_what_is_next(tmp_path: Path) -> None:
    told = init(tmp_path / "study", identity=tmp_path / "me")
    assert "comity server start" in told
    assert "comity server invite NAME" in told
    config = read(tmp_path / "study", {}, {})
    assert (config.name, config.address, config.port) == ("study", "https://127.0.0.1:18443", 18443)
    for name in ("authority.pem", "server.pem", "server.key", "registrar.pem", "registrar.pub", "journal.db"):
        assert (tmp_path / "study" / name).exists()


def test_the_operator_becomes_the_identity_of_who_has_none(tmp_path: Path) -> None:
    init(tmp_path / "one", identity=tmp_path / "me")
    mine = IdentityFolder(tmp_path / "me")
    assert mine.read().role == "admin"
    assert mine.signing_key().id == IdentityFolder(tmp_path / "one" / "operator").signing_key().id
    assert (tmp_path / "me" / "signing.pem").stat().st_mode & 0o077 == 0
    told = init(tmp_path / "two", identity=tmp_path / "me")
    assert mine.read().deployment == "one"
    assert "--identity" in told


def test_a_server_is_not_made_over_another(tmp_path: Path) -> None:
    init(tmp_path / "study", identity=tmp_path / "me")
    before = (tmp_path / "study" / "authority.pem").read_bytes()
    again = comity("server", "init", tmp_path / "study", *LOCAL)
    assert again.exit_code == 2
    assert "already" in again.output
    assert (tmp_path / "study" / "authority.pem").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--address", "http://plain.example"), "https://HOST:PORT"),
        (("--address", "https://host.example/path"), "without a path"),
        (("--address", "https://user:secret@host.example"), "without a path"),
        (("--name", 'a "quoted" name'), "--name"),
    ],
)
def test_what_makes_no_server_leaves_nothing(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    refused = comity("server", "init", tmp_path / "study", *words)
    assert refused.exit_code == 2
    assert told in refused.output
    assert not (tmp_path / "study").exists()


def test_start_names_the_setting_that_is_wrong(tmp_path: Path) -> None:
    nothing = comity("server", "start", tmp_path)
    assert nothing.exit_code == 2
    assert "comity server init" in nothing.output
    init(tmp_path / "study", identity=tmp_path / "me")
    wrong = comity("server", "start", tmp_path / "study", COMITY_SERVER_PROT="1")
    assert wrong.exit_code == 2
    assert "COMITY_SERVER_PROT" in wrong.output
    assert "'port'" in wrong.output


def test_client_certificates_are_for_a_server_that_ends_tls_itself(tmp_path: Path) -> None:
    init(tmp_path / "study", identity=tmp_path / "me")
    for words, told in ((("--no-tls",), "let the proxy ask"), (("--client-certificates", "maybe"), "'required'")):
        refused = comity("server", "start", tmp_path / "study", "--client-certificates", "required", *words)
        assert refused.exit_code == 2
        assert "client_certificates" in refused.output
        assert told in refused.output


def test_certify_issues_for_more_names_under_the_same_authority(tmp_path: Path) -> None:
    init(tmp_path / "study", identity=tmp_path / "me")
    certificate = tmp_path / "study" / "server.pem"
    before, authority = certificate.read_bytes(), (tmp_path / "study" / "authority.pem").read_bytes()
    ended = comity("server", "certify", tmp_path / "study", "--name-in-certificate", "study.example")
    assert ended.exit_code == 0, ended.output
    assert certificate.read_bytes() != before
    assert (tmp_path / "study" / "authority.pem").read_bytes() == authority
    found = load_pem_x509_certificate(certificate.read_bytes()).extensions
    names = found.get_extension_for_class(SubjectAlternativeName).value
    assert "study.example" in names.get_values_for_type(DNSName)
    assert "127.0.0.1" in map(str, names.get_values_for_type(IPAddress))


def test_a_backup_is_put_back_beside_the_same_keys(tmp_path: Path) -> None:
    init(tmp_path / "study", identity=tmp_path / "me")
    saved = comity("server", "backup", tmp_path / "study", tmp_path / "saved", "--json")
    assert saved.exit_code == 0, saved.output
    rows = json.loads(saved.stdout)["rows"]
    refused = comity("server", "restore", tmp_path / "study", tmp_path / "saved")
    assert refused.exit_code == 1
    assert "new database" in refused.output
    for file in (tmp_path / "study").glob("journal.db*"):
        file.unlink()
    restored = comity("server", "restore", tmp_path / "study", tmp_path / "saved")
    assert restored.exit_code == 0, restored.output
    assert f"{rows:,} rows" in restored.output


def test_a_token_alone_goes_to_standard_output(live: Live) -> None:
    invited = live.asks("server", "invite", "alone", "--valid", "2h", "--tag", "europe")
    assert invited.exit_code == 0, invited.output
    invitation = Invitation.of(invited.stdout)
    assert (invitation.name, invitation.role) == ("alone", "node")
    assert invited.stdout.count("\n") == 1
    assert "comity node join TOKEN" in invited.stderr
    facts = json.loads(live.asks("server", "invite", "analyst", "--role", "researcher", "--json").stdout)
    assert Invitation.of(facts["token"]).role == "researcher"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("a b",), "letters, digits"),
        (("ok", "--valid", "soon"), "write 90s, 30m, 12h or 7d"),
        (("ok", "--valid", "400d"), "at most 90 days"),
        (("ok", "--tag", "a/b"), "--tag"),
        (("operator",), "member already"),
    ],
)
def test_an_invitation_that_cannot_be_is_refused(words: tuple[str, ...], told: str, live: Live) -> None:
    refused = live.asks("server", "invite", *words)
    assert refused.exit_code == 2, refused.output
    assert told in refused.output


def test_a_person_joins_and_may_do_what_its_role_allows(live: Live, tmp_path: Path) -> None:
    token = live.token("grace", "--role", "researcher")
    joined = comity("join", token, "--identity", tmp_path / "grace")
    assert joined.exit_code == 0, joined.output
    assert token not in joined.output
    me = {"COMITY_IDENTITY": str(tmp_path / "grace")}
    assert json.loads(comity("runs", "list", "--json", **me).stdout) == []
    refused = comity("server", "invite", "friend", **me)
    assert refused.exit_code == 2
    assert "not allowed" in refused.output
    again = comity("join", token, "--identity", tmp_path / "other")
    assert again.exit_code == 2
    assert "invitation" in again.output


def test_a_join_that_was_cut_off_is_repeated_with_the_same_keys(live: Live, tmp_path: Path) -> None:
    token, folder = live.token("cut", "--role", "auditor"), tmp_path / "cut"
    assert comity("join", token, "--identity", folder).exit_code == 0
    (folder / "member.json").unlink()
    assert comity("join", token, "--identity", folder).exit_code == 0
    assert IdentityFolder(folder).read().name == "cut"


def test_an_identity_is_not_overwritten(live: Live) -> None:
    refused = live.asks("join", live.token("twice", "--role", "auditor"))
    assert refused.exit_code == 2
    assert "--identity" in refused.output


def test_nodes_are_listed_tagged_and_revoked(live: Live) -> None:
    home = live.node("st-mary")
    assert "st-mary" in live.asks("nodes", "list").stdout
    assert "oncology" in live.asks("nodes", "tag", "st-mary", "oncology").stdout
    members = {member["name"]: member for member in json.loads(live.asks("nodes", "list", "--json").stdout)}
    assert members["st-mary"]["tags"] == ["oncology"]
    doctor = comity("node", "doctor", "--home", home, "--json")
    assert [finding["ok"] for finding in json.loads(doctor.stdout) if finding["check"] == "key"] == [True]
    assert "revoked" in live.asks("nodes", "revoke", "st-mary").stdout
    doctor = comity("node", "doctor", "--home", home)
    assert doctor.exit_code == 1
    assert "NO" in doctor.output
    for words in (("revoke", "st mary"), ("revoke", "../st-mary"), ("tag", "st-mary", "a/b")):
        slip = live.asks("nodes", *words)
        assert slip.exit_code == 2
        assert "letters, digits" in slip.output
    unknown = live.asks("nodes", "revoke", "nobody")
    assert unknown.exit_code == 2
    assert "no member" in unknown.output


def test_without_an_identity_one_is_told_how_to_get_one(tmp_path: Path) -> None:
    refused = comity("runs", "list", COMITY_IDENTITY=str(tmp_path))
    assert refused.exit_code == 2
    assert "comity join TOKEN" in refused.output


def test_who_holds_the_folder_can_make_an_admin_where_no_other_is_left(live: Live, tmp_path: Path) -> None:
    made = comity("server", "admin", live.folder / "server", "second", "--out", tmp_path / "second")
    assert made.exit_code == 0, made.output
    mine = {"COMITY_IDENTITY": str(tmp_path / "second")}
    assert comity("server", "invite", "somebody", **mine).exit_code == 0
    again = comity("server", "admin", live.folder / "server", "second", "--out", tmp_path / "third")
    assert again.exit_code != 0
    assert "already" in again.output
    assert "second" in comity("server", "audit", "show", "--folder", live.folder / "server", "--action", "added").output
