"""`comity node`: data, policy, requests and log of a node that has joined; no server is needed for any of them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

import comity as ct
from comity.core import manifest
from comity.node.home import NodeConfig, NodeHome
from comity.node.log import NodeLog
from comity.node.policy import Line, Proposal, Ruling
from comity.node.requests import Requests
from support.live import comity
from support.quadratic import Quadratic

ROWS = "age,outcome\n" + "".join(f"{30 + i},{i % 2}\n" for i in range(40))
ALLOW = '[[allow]]\nprogram = "FedAvg"\ndatasets = ["patients"]\nmin_parties = 3\n"local.lr" = { max = 0.5 }\n'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COMITY_NODE", raising=False)
    (tmp_path / "records.csv").write_text(ROWS)
    node = NodeHome(tmp_path / "node")
    node.create()
    node.write(NodeConfig("st-mary", "https://127.0.0.1:1", "study", "A" * 43))
    return node.path


@pytest.fixture
def registered(home: Path) -> Path:
    assert comity("node", "data", "add", "patients", "records.csv", "--target", "outcome").exit_code == 0
    return home


def job(lr: float = 0.1) -> ct.Job:
    return ct.Job(ct.FedAvg(Quadratic(), ct.LocalSGD(lr=lr)), ct.Rounds(count=2))


def test_a_folder_where_nobody_has_joined_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (("start",), ("data", "list"), ("policy", "show"), ("requests", "list"), ("log", "show")):
        refused = comity("node", *words, "--home", tmp_path / "nowhere")
        assert refused.exit_code == 2, words
        assert "comity node join TOKEN" in refused.output


def test_what_is_no_invitation_is_not_repeated(tmp_path: Path) -> None:
    refused = comity("node", "join", "comity1.SECRET", "--home", tmp_path / "node")
    assert refused.exit_code == 2
    assert "SECRET" not in refused.output
    assert "copy the whole token" in refused.output
    assert not (tmp_path / "node").exists()


def test_data_are_added_listed_and_removed(home: Path) -> None:
    added = comity("node", "data", "add", "patients", "records.csv", "--target", "outcome", "--heldout", "0.25")
    assert added.exit_code == 0, added.output
    assert "40 rows; jobs read age, outcome" in added.output
    [facts] = json.loads(comity("node", "data", "list", "--json").stdout)
    assert (facts["name"], facts["rows"], facts["heldout"], facts["sealed"]) == ("patients", 40, 0.25, False)
    assert "records.csv" in comity("node", "data", "list").stdout
    assert "records.csv" in comity("node", "data", "remove", "patients").stdout
    assert json.loads(comity("node", "data", "list", "--json").stdout) == []
    assert (home.parent / "records.csv").read_text() == ROWS


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("patients", "records.csv"), "name the column"),
        (("patients", "records.csv", "--target", "outcom"), "did you mean 'outcome'?"),
        (("patients", "nothing.csv", "--target", "outcome"), "nothing.csv"),
        (("a b", "records.csv", "--target", "outcome"), "letters, digits"),
    ],
)
@pytest.mark.usefixtures("home")
def test_data_that_do_not_fit_are_refused_with_the_mend(words: tuple[str, ...], told: str) -> None:
    refused = comity("node", "data", "add", *words)
    assert refused.exit_code == 2
    assert told in refused.output


def test_data_are_sealed_with_a_new_key_and_unsealed(
    registered: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file, key = registered.parent / "records.csv", tmp_path_factory.mktemp("keys") / "patients.key"
    together = comity("node", "data", "seal", "patients", "--new-key", registered.parent / "patients.key")
    assert together.exit_code == 2
    assert file.exists()
    sealed = comity("node", "data", "seal", "patients", "--new-key", key)
    assert sealed.exit_code == 0, sealed.output
    assert not file.exists()
    assert ROWS.encode() not in file.with_name("records.csv.sealed").read_bytes()
    assert key.stat().st_mode & 0o077 == 0
    assert key.read_text().strip() not in sealed.output
    opened = comity("node", "data", "unseal", "patients")
    assert opened.exit_code == 0, opened.output
    assert file.read_text() == ROWS


def test_data_are_sealed_with_a_key_from_elsewhere(registered: Path) -> None:
    sealed = comity("node", "data", "seal", "patients", "--key", "env:PATIENTS_KEY", PATIENTS_KEY="11" * 32)
    assert sealed.exit_code == 0, sealed.output
    assert "11" * 32 not in sealed.output
    missing = comity("node", "data", "unseal", "patients")
    assert missing.exit_code == 2
    assert "PATIENTS_KEY" in missing.output
    assert comity("node", "data", "unseal", "patients", PATIENTS_KEY="11" * 32).exit_code == 0
    assert comity("node", "data", "seal", "patients").exit_code == 2
    assert (registered.parent / "records.csv").read_text() == ROWS


def test_a_policy_is_begun_with_a_starter_and_shown_once_it_is_read(registered: Path) -> None:
    started = comity("node", "policy", "starter")
    assert '["patients"]' in started.stdout
    (registered / "policy.toml").write_text(started.stdout)
    shown = comity("node", "policy", "show")
    assert shown.exit_code == 0, shown.output
    assert "0 [[allow]] tables" in shown.output
    (registered / "policy.toml").write_text("[[allow]]\nprogam = 'FedAvg'\n")
    slip = comity("node", "policy", "show")
    assert slip.exit_code == 2
    assert "did you mean 'program'?" in slip.output


def test_check_explains_the_verdict_line_by_line(registered: Path) -> None:
    (registered / "policy.toml").write_text(ALLOW)
    file = registered.parent / "job.json"
    file.write_text(job().to_json())
    good = comity("node", "policy", "check", file, "--parties", "3")
    assert good.exit_code == 0, good.output
    assert "allowed" in good.output
    few = comity("node", "policy", "check", file, "--parties", "2")
    assert few.exit_code == 1
    assert "NO   allow[1].min_parties: wanted at least 3; found 2" in few.output
    file.write_text(json.dumps({"id": "", "manifest": job(lr=0.9).manifest()}))
    fast = json.loads(comity("node", "policy", "check", file, "--parties", "3", "--json").stdout)
    assert fast["verdict"] == "denied"
    assert [line["rule"] for line in fast["lines"] if not line["ok"]] == ['allow[1]."local.lr"']


@pytest.mark.parametrize("text", ["", "[]", '{"job": 1, "manifest"', '{"no": "job"}', '{"job": NaN}', "[" * 100_000])
def test_what_is_no_manifest_is_not_judged(text: str, registered: Path) -> None:
    (registered / "job.json").write_text(text)
    refused = comity("node", "policy", "check", registered / "job.json")
    assert refused.exit_code == 2
    assert "comity explain" in refused.output


def test_a_manifest_that_is_nested_as_no_job_is_is_not_judged(registered: Path) -> None:
    (registered / "job.json").write_text('{"job": ' + "[" * 100 + "]" * 100 + "}")
    refused = comity("node", "policy", "check", registered / "job.json")
    assert refused.exit_code == 2
    assert "not the one of this job" in refused.output


def asked(home: Path, explained: str) -> str:
    """A job that waits for its owner; its id."""
    made = job()
    proposal = Proposal(made.id, made.manifest(), "analyst", "patients", 40, ("age", "outcome"), 4, "ab" * 32, 100)
    ruling = Ruling("asks", (Line("ask.job", "your approval of the job", "none yet", False),))
    layout = manifest.canonical(manifest.encode(made.program.model.layout))
    return Requests(home, time.time).ask(proposal, ruling, explained, layout).id


def test_a_request_is_shown_then_decided(registered: Path) -> None:
    assert "nothing waits" in comity("node", "requests", "list").output
    id = asked(registered, "the code to be run\x1b[2J")
    [waiting] = json.loads(comity("node", "requests", "list", "--json").stdout)
    assert (waiting["id"], waiting["submitter"]) == (id, "analyst")
    shown = comity("node", "requests", "show", id[:6]).output
    assert "the code to be run" in shown
    assert str(job().explain()) in shown
    assert "\x1b" not in shown
    approved = comity("node", "requests", "approve", id, "--why", "vote 12")
    assert approved.exit_code == 0, approved.output
    assert f"{job().id} on patients" in Requests(registered, time.time).approved()
    assert "nothing waits" in comity("node", "requests", "list").output
    assert "vote 12" in comity("node", "requests", "show", id).output
    assert comity("node", "requests", "deny", id).exit_code == 0
    assert not Requests(registered, time.time).approved()
    assert id in comity("node", "requests", "list", "--all").output
    assert comity("node", "requests", "approve", "0000").exit_code == 2


def test_a_log_is_shown_and_verified(home: Path) -> None:
    log = NodeLog(home / "log.jsonl", time.time)
    for lease in range(5):
        log.append("leaving", {"run": "ab" * 8, "lease": lease, "bytes": 100})
    log.append("started", {"text": "\x1b[31m"})
    shown = comity("node", "log", "show", "--kind", "leaving", "--last", "2").output
    assert "lease=4" in shown
    assert "lease=2" not in shown
    assert "\x1b" not in comity("node", "log", "show").output
    entries = [
        json.loads(line) for line in comity("node", "log", "show", "--run", "abab", "--json").stdout.splitlines()
    ]
    assert [entry["facts"]["lease"] for entry in entries] == [0, 1, 2, 3, 4]
    assert "6 entries hold" in comity("node", "log", "verify").output
    lines = (home / "log.jsonl").read_bytes().splitlines(keepends=True)
    (home / "log.jsonl").write_bytes(b"".join(lines[:-1]))
    head = json.loads(lines[-1])["hash"]
    assert comity("node", "log", "verify").exit_code == 0
    cut = comity("node", "log", "verify", "--head", head)
    assert cut.exit_code == 1
    assert "missing" in cut.output
    (home / "log.jsonl").write_bytes(b"".join([lines[0], *lines[2:]]))
    assert comity("node", "log", "verify").exit_code == 1
