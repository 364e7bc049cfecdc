"""Mutual TLS, over real connections to a real server that asks for certificates: with one it works, without it says so.

The commands `comity certificate`, `comity node certificate` and `comity server sign-request` are those that the guide
names, in its order.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from comity.demo.processes import Processes, free_port
from comity.identity.certificates import Authority
from comity.identity.client_certificate import ClientCertificate
from support.live import Live, comity, until


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server that asks for certificates, and the operator, who has one."""
    folder = tmp_path_factory.mktemp("live")
    address = f"https://127.0.0.1:{free_port()}"
    words = ("server", "init", folder / "server", "--name", "study", "--host", "127.0.0.1", "--address", address)
    assert comity(*words, COMITY_IDENTITY=str(folder / "me")).exit_code == 0
    with (folder / "server" / "server.toml").open("a") as settings:
        settings.write('client_certificates = "required"\n')
    with Processes(folder) as processes:
        live = Live(folder, processes)
        processes.start("server", "server", "start", str(folder / "server"))
        certified(live, ("certificate", "--identity", live.operator))
        until(lambda: live.asks("nodes", "list").exit_code == 0)
        yield live


def certified(live: Live, who: tuple[str | Path, ...], *words: str) -> None:
    """What the member does, then the operator, then the member again; `who` is the group of commands and its folder."""
    *group, option, folder = who
    made = comity(*group, "request", "--out", live.folder / "request.csr", *words, option, folder)
    assert made.exit_code == 0, made.output
    signed = live.folder / "signed.pem"
    ended = comity("server", "sign-request", live.folder / "server", live.folder / "request.csr", "--out", signed)
    assert ended.exit_code == 0, ended.output
    ended = comity(*group, "install", signed, option, folder)
    assert ended.exit_code == 0, ended.output
    assert "good until" in ended.output


def give(folder: Path, authority: Authority, now: float) -> None:
    """A certificate for mutual TLS as `install` would leave it, whatever it is worth."""
    made = ClientCertificate(folder)
    _, pem = authority.sign_request(made.request("operator").encode(), now, timedelta(hours=2))
    made.install(pem, None, now)


def test_the_operator_who_has_a_certificate_is_served(live: Live) -> None:
    assert "operator" in live.asks("nodes", "list").stdout


@pytest.fixture
def bare(live: Live, tmp_path: Path) -> Path:
    """The operator's identity without its certificate."""
    for file in live.operator.iterdir():
        if not file.name.startswith("tls"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def refusal(identity: Path) -> str:
    started = time.monotonic()
    ended = comity("nodes", "list", COMITY_IDENTITY=str(identity))
    assert ended.exit_code == 1
    assert time.monotonic() - started < 15, "asking again mends nothing, so nobody does"
    return ended.output


def test_whoever_has_none_is_told_how_to_get_one(bare: Path) -> None:
    told = refusal(bare)
    assert "asks for a client certificate, and there is none here" in told
    assert "comity certificate request" in told


def test_a_certificate_of_another_authority_is_refused(bare: Path) -> None:
    give(bare, Authority.new("Comity study", time.time()), time.time())
    assert "does not take the client certificate" in refusal(bare)


def test_a_certificate_that_has_ended_is_refused(live: Live, bare: Path) -> None:
    give(bare, Authority.load(live.folder / "server" / "authority.pem"), time.time() - 7300)
    told = refusal(bare)
    assert "does not take the client certificate" in told
    assert "ended" in told


def test_the_servers_own_certificate_is_no_clients(live: Live, bare: Path) -> None:
    server = live.folder / "server"
    (bare / "tls.pem").write_bytes((server / "server.pem").read_bytes() + (server / "server.key").read_bytes())
    assert "does not take the client certificate" in refusal(bare)


def test_a_certificate_is_not_an_identity(live: Live, bare: Path) -> None:
    """Whoever may open a connection still has to sign, and what is signed by nobody's key is refused."""
    certified(live, ("certificate", "--identity", bare))
    from comity.identity.keys import SigningKey

    SigningKey.new().save(bare / "signing.pem")
    ended = comity("nodes", "list", COMITY_IDENTITY=str(bare))
    assert ended.exit_code == 2
    assert "not signed by a member" in ended.output


def test_a_person_joins_with_a_certificate_in_the_name_of_its_invitation(live: Live, tmp_path: Path) -> None:
    token, folder = live.token("analyst", "--role", "researcher"), tmp_path / "analyst"
    refused = comity("join", token, "--identity", folder)
    assert refused.exit_code == 1
    assert "comity certificate request" in refused.output
    certified(live, ("certificate", "--identity", folder), "--name", "analyst")
    joined = comity("join", token, "--identity", folder)
    assert joined.exit_code == 0, joined.output
    assert json.loads(comity("runs", "list", "--json", COMITY_IDENTITY=str(folder)).stdout) == []


def test_a_node_joins_and_works_with_a_certificate(live: Live) -> None:
    home = live.folder / "north"
    token = live.token("north")
    certified(live, ("node", "certificate", "--home", home), "--name", "north")
    joined = comity("node", "join", token, "--home", home)
    assert joined.exit_code == 0, joined.output
    live.start_node("north")
    until(lambda: any(member["seen"] for member in json.loads(live.asks("nodes", "list", "--json").stdout)))
    found = {finding["check"]: finding for finding in json.loads(doctor(home))}
    assert found["client certificate"]["ok"]
    assert found["key"]["ok"]


def doctor(home: Path) -> str:
    return comity("node", "doctor", "--home", home, "--json").stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--name", "a b"), "letters, digits"),
        ((), "give --name"),
    ],
)
def test_a_request_needs_the_name_of_the_invitation(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    refused = comity("certificate", "request", *words, "--identity", tmp_path / "nobody")
    assert refused.exit_code == 2
    assert told in refused.output
    assert not os.listdir(tmp_path)


def test_a_member_asks_in_its_own_name(live: Live) -> None:
    refused = live.asks("certificate", "request", "--name", "somebody")
    assert refused.exit_code == 2
    assert "the member here is operator" in refused.output


def test_what_is_no_request_is_not_signed(live: Live, tmp_path: Path) -> None:
    (tmp_path / "request.csr").write_text("not a request")
    refused = comity("server", "sign-request", live.folder / "server", tmp_path / "request.csr")
    assert refused.exit_code == 2
    assert "comity node certificate request" in refused.output
    assert comity("server", "sign-request", live.folder / "server", tmp_path / "nothing.csr").exit_code == 2
