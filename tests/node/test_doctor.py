"""The doctor: a node that is well is found well, and each fault is found alone, with what to do."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from comity.identity.certificates import Authority
from comity.identity.client_certificate import ClientCertificate
from comity.identity.keys import AgreementKey, PublicKey, SigningKey, fingerprint
from comity.identity.roster import sign_roster
from comity.node import doctor
from comity.node.doctor import Finding, examine
from comity.node.home import NodeHome
from comity.wire.messages import Member
from support.deployments import NAME, World
from support.nodes import a_home

YEAR = 365 * 86400.0


@dataclass
class Patient:
    """A node that has joined a server, and the server."""

    home: NodeHome
    world: World
    up: bool = True

    @classmethod
    def healthy(cls, tmp_path: Path, *, expires: float = YEAR) -> "Patient":
        home, world = a_home(tmp_path), World(tmp_path, now=lambda: float(int(time.time())))
        key, agreement = SigningKey.new(), AgreementKey.new()
        key.save(home.signing_key)
        agreement.save(home.agreement_key)
        home.authority.write_text(Authority.new("test", time.time()).pem)
        now = time.time()
        member = Member(
            name="party-0",
            role="node",
            signing_key=key.public,
            agreement_key=agreement.public,
            enrolled=now,
            expires=now + expires,
        )
        world.journal().add_member(member)
        return cls(home, world)

    def findings(self, now: Callable[[], float] = time.time, **settings: Any) -> dict[str, Finding]:
        """What the doctor finds, with other settings if need be."""

        async def look() -> list[Finding]:
            listening = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
            port = listening.sockets[0].getsockname()[1]
            registrar = self.world.registrar.public
            given = {"address": f"https://127.0.0.1:{port}", "deployment": NAME, "registrar": registrar} | settings
            self.home.write(replace(NodeHome(self.home.path).config, **given))
            served = self.world.serve()
            if self.up:
                await served.start()
            try:
                return await examine(NodeHome(self.home.path), now, served)
            finally:
                if self.up:
                    await served.stop()
                listening.close()

        return {finding.check: finding for finding in asyncio.run(look())}


@pytest.fixture(autouse=True)
def isolating(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether namespaces are allowed is a matter of the system that a test does not depend on."""
    monkeypatch.setattr(doctor, "can_isolate", lambda: True)


def bad(findings: dict[str, Finding]) -> set[str]:
    return {check for check, finding in findings.items() if not finding.ok}


def test_a_node_that_is_well_is_found_well(tmp_path: Path) -> None:
    found = Patient.healthy(tmp_path).findings()
    assert not bad(found), "\n".join(map(str, found.values()))
    assert set(found) == {
        "settings",
        "isolation",
        "disk",
        "policy",
        "data digits",
        "name",
        "connection",
        "authority",
        "certificate",
        "clock",
        "versions",
        "deployment",
        "key",
        "roster",
    }


def test_a_folder_that_has_not_joined(tmp_path: Path) -> None:
    home = NodeHome(tmp_path / "empty")
    home.create()
    found = {finding.check: finding for finding in asyncio.run(examine(home, time.time))}
    assert not found["settings"].ok
    assert "comity node join" in found["settings"].mend
    assert "policy" in found


@pytest.mark.parametrize(
    ("off", "told"), [(100.0, "seconds ahead of the server"), (-100.0, "seconds behind the server")]
)
def test_a_clock_that_is_off(tmp_path: Path, off: float, told: str) -> None:
    found = Patient.healthy(tmp_path).findings(lambda: time.time() + off)
    assert bad(found) == {"clock"}
    assert told in found["clock"].detail


def test_a_key_that_was_revoked(tmp_path: Path) -> None:
    patient = Patient.healthy(tmp_path)
    patient.world.journal().revoke("party-0", time.time())
    assert bad(patient.findings()) == {"key"}


def test_a_key_that_the_server_does_not_know(tmp_path: Path) -> None:
    patient = Patient.healthy(tmp_path)
    SigningKey.new().save(patient.home.signing_key)
    assert bad(patient.findings()) == {"key"}


def test_a_key_that_is_gone(tmp_path: Path) -> None:
    patient = Patient.healthy(tmp_path)
    patient.home.signing_key.unlink()
    assert bad(patient.findings()) == {"key"}


def test_a_key_that_expires_soon(tmp_path: Path) -> None:
    found = Patient.healthy(tmp_path, expires=86400.0).findings()
    assert bad(found) == {"key"}
    assert "good until" in found["key"].detail


def test_another_deployment_at_the_same_address(tmp_path: Path) -> None:
    found = Patient.healthy(tmp_path).findings(registrar=SigningKey.new().public)
    assert bad(found) == {"deployment", "roster"}
    assert "not signed by this deployment's registrar" in found["roster"].detail


def test_an_authority_that_has_expired(tmp_path: Path) -> None:
    patient = Patient.healthy(tmp_path)
    patient.home.authority.write_text(Authority.new("test", time.time() - 40 * YEAR).pem)
    assert bad(patient.findings()) == {"authority"}


def test_a_server_that_does_not_answer(tmp_path: Path) -> None:
    patient = Patient.healthy(tmp_path)
    patient.up = False
    found = patient.findings()
    assert bad(found) == {"certificate"}
    assert "key" not in found


def test_a_port_that_nobody_listens_at(tmp_path: Path) -> None:
    found = Patient.healthy(tmp_path).findings(address="https://127.0.0.1:1")
    assert bad(found) == {"connection"}
    assert "the server at 127.0.0.1:1 cannot be reached" in found["connection"].detail


def test_a_proxy_that_nobody_listens_at(tmp_path: Path) -> None:
    found = Patient.healthy(tmp_path).findings(proxy="http://127.0.0.1:1")
    assert bad(found) == {"connection"}
    assert "the proxy at 127.0.0.1:1 cannot be reached" in found["connection"].detail


def test_a_name_that_does_not_resolve(tmp_path: Path) -> None:
    found = Patient.healthy(tmp_path).findings(address="https://nowhere.invalid:8443")
    assert bad(found) == {"name", "connection"}
    assert "nowhere.invalid cannot be resolved" in found["name"].detail


def test_a_malformed_policy_and_one_that_allows_nothing(tmp_path: Path) -> None:
    patient = Patient.healthy(tmp_path)
    patient.home.policy_file.write_text("[[allow]]\nprogramme = 3\n")
    found = patient.findings()
    assert bad(found) == {"policy"}
    assert "programme" in found["policy"].detail
    patient.home.policy_file.unlink()
    assert "it allows nothing" in patient.findings()["policy"].detail


def test_data_that_are_gone_and_none_at_all(tmp_path: Path) -> None:
    patient = Patient.healthy(tmp_path)
    (patient.home.path / "digits.npz").unlink()
    assert bad(patient.findings()) == {"data digits"}
    (patient.home.path / "datasets.toml").unlink()
    found = patient.findings()
    assert bad(found) == {"data"}
    assert "comity node data add" in found["data"].mend


def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patient = Patient.healthy(tmp_path)
    monkeypatch.setattr(doctor, "_FREE", 1 << 60)
    found = patient.findings()
    assert bad(found) == {"disk"}
    assert "are free" in found["disk"].detail


@pytest.mark.parametrize(
    ("isolation", "told"),
    [
        ("required", "jobs that bring code or may name packages are refused"),
        ("optional", "they could read this node's keys"),
    ],
)
def test_a_system_without_namespaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isolation: str, told: str
) -> None:
    monkeypatch.setattr(doctor, "can_isolate", lambda: False)
    found = Patient.healthy(tmp_path).findings(isolation=isolation)
    assert bad(found) == {"isolation"}
    assert told in found["isolation"].detail
    assert ("isolation" in found["isolation"].mend) == (isolation == "optional")


def test_another_version_at_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patient = Patient.healthy(tmp_path)
    monkeypatch.setattr(doctor, "__version__", "0.0.9")
    found = patient.findings()
    assert bad(found) == {"versions"}
    assert found["versions"].mend.startswith('pip install "comity[node]==')


def test_a_check_that_breaks_is_a_finding_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(home: NodeHome) -> Finding:
        raise ZeroDivisionError("somebody's bug")

    patient = Patient.healthy(tmp_path)
    monkeypatch.setattr(doctor, "_disk", broken)
    found = patient.findings()
    assert bad(found) == {"disk"}
    assert found["disk"].detail == "ZeroDivisionError: somebody's bug"


def test_a_finding_prints_its_mend_only_where_it_is_needed() -> None:
    assert str(Finding("disk", True, "3 GB are free", "free some")) == "ok   disk: 3 GB are free"
    assert "→ free some" in str(Finding("disk", False, "0 GB are free", "free some"))


def test_the_keys_are_told_by_their_fingerprint(tmp_path: Path) -> None:
    patient = Patient.healthy(tmp_path)
    key, agreement = SigningKey.load(patient.home.signing_key), AgreementKey.load(patient.home.agreement_key)
    assert fingerprint(key.public, agreement.public) in patient.findings()["key"].detail


@pytest.mark.parametrize("taken", [False, True])
def test_a_renewal_that_was_cut_off(tmp_path: Path, taken: bool) -> None:
    patient = Patient.healthy(tmp_path)
    old = SigningKey.load(patient.home.signing_key)
    signing, agreement = patient.home.keys.prepare()
    if taken:
        patient.world.journal().rekey("party-0", old.public, signing.public, agreement.public, time.time() + YEAR)
    found = patient.findings()
    assert bad(found) == {"key"}
    assert "comity node renew" in found["key"].mend


class TestRosterOfARegistrarElsewhere:
    def patient(self, tmp_path: Path) -> tuple[Patient, SigningKey]:
        patient = Patient.healthy(tmp_path)
        registrar = patient.world.registrar
        patient.world.registrar = PublicKey(registrar.public)
        return patient, registrar

    def published(self, patient: Patient, registrar: SigningKey, age: float = 0.0, **fields: Any) -> None:
        journal, issued = patient.world.journal(), time.time() - age
        members = [member.model_copy(update=fields) for member in journal.members()]
        journal.publish_roster(issued, sign_roster(members, NAME, issued, registrar).model_dump_json())

    def test_it_names_this_node(self, tmp_path: Path) -> None:
        patient, registrar = self.patient(tmp_path)
        self.published(patient, registrar)
        assert not bad(patient.findings())

    def test_there_is_none_yet(self, tmp_path: Path) -> None:
        patient, _ = self.patient(tmp_path)
        found = patient.findings()
        assert bad(found) == {"roster"}
        assert "has not signed a roster yet" in found["roster"].detail

    @pytest.mark.parametrize(
        ("fields", "told"),
        [
            ({"name": "another"}, "has nothing of this node"),
            ({"signing_key": SigningKey.new().public}, "has other keys of this node"),
            ({"agreement_key": AgreementKey.new().public}, "has other keys of this node"),
        ],
        ids=["without it", "another signing key", "another agreement key"],
    )
    def test_it_lags_behind(self, fields: dict[str, Any], told: str, tmp_path: Path) -> None:
        patient, registrar = self.patient(tmp_path)
        self.published(patient, registrar, **fields)
        found = patient.findings()
        assert bad(found) == {"roster"}
        assert told in found["roster"].detail
        assert "comity registrar draft" in found["roster"].mend

    def test_it_has_ended(self, tmp_path: Path) -> None:
        patient, registrar = self.patient(tmp_path)
        self.published(patient, registrar, age=8 * 86400.0)
        assert "good no more" in patient.findings()["roster"].detail


@pytest.mark.parametrize(("days", "well"), [(90, True), (10, False)])
def test_a_client_certificate_is_looked_at_where_there_is_one(tmp_path: Path, days: int, well: bool) -> None:
    patient, now = Patient.healthy(tmp_path), time.time()
    member = ClientCertificate(patient.home.client_certificate.parent)
    _, pem = Authority.new("test", now).sign_request(member.request("party-0").encode(), now, timedelta(days=days))
    member.install(pem, None, now)
    found = patient.findings()
    assert found["client certificate"].ok == well
    assert "certificate request" in found["client certificate"].mend
