"""`comity submit`, `comity runs` and `comity model`, against a real server and two real nodes."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import comity as ct
from comity.cli.jobfile import load
from comity.node.home import NodeHome
from support.commands import JOB
from support.live import Live, comity, until

SETTINGS = ("--set", "rounds.cohort=2", "--set", "rounds.count=4")
NODES = ("clinic-a", "clinic-b")


@pytest.fixture(scope="module")
def federation(live: Live) -> Live:
    """Two nodes at work; their owners let jobs wait for them."""
    (live.folder / "data").mkdir()
    (live.folder / "slopes.py").write_text(JOB)
    rng = np.random.default_rng(1)
    for name in NODES:
        home, file = live.node(name), live.folder / "data" / f"{name}.csv"
        x = rng.normal(size=(60, 3))
        rows = np.column_stack([x, x @ [1.0, -2.0, 0.5]])
        np.savetxt(file, rows, delimiter=",", header="a,b,c,y", comments="")
        added = comity("node", "data", "add", "points", file, "--target", "y", "--home", home)
        assert added.exit_code == 0, added.output
        # The tests' own code may run beside keys that are the tests' own, where the system knows no namespaces.
        node = NodeHome(home)
        node.write(replace(node.config, isolation="optional"))
        (home / "policy.toml").write_text('[ask]\ndatasets = ["points"]\nmin_parties = 2\n')
        live.start_node(name)
    return live


def submit(federation: Live, *words: str | Path) -> tuple[int, str, str]:
    file = federation.folder / "slopes.py"
    ended = federation.asks("submit", file, "--dataset", "points", "--no-progress", *words)
    return ended.exit_code, ended.stdout, ended.stderr


def decide(federation: Live, decision: str) -> None:
    """Once the job waits at both nodes, each owner reads its source and decides."""

    def waiting(name: str) -> list[str]:
        told = comity("node", "requests", "list", "--home", federation.folder / name, "--json").stdout
        return [request["id"] for request in json.loads(told)]

    until(lambda: all(map(waiting, NODES)))
    for name in NODES:
        home = federation.folder / name
        for request in waiting(name):
            shown = comity("node", "requests", "show", request, "--home", home).output
            assert "def fit(weights, x, y, plan, rng):" in shown
            assert comity("node", "requests", decision, request, "--home", home).exit_code == 0


@pytest.fixture(scope="module")
def refused(federation: Live) -> str:
    """The id of a run that its owners have denied."""
    settings = ("--set", "rounds.cohort=2", "--set", "rounds.count=3")
    code, told, problems = submit(federation, *settings, "--wait-for", "2", "--json")
    assert code == 0, problems
    decide(federation, "deny")
    return str(json.loads(told)["id"])


@pytest.fixture(scope="module")
def finished(federation: Live, refused: str) -> Path:
    """The folder of a run that waited for its owners, who read its source and approved, and was watched to its end."""
    code, told, problems = submit(federation, *SETTINGS)
    assert code == 0, problems
    assert "slopes.py" in told
    run = json.loads(federation.asks("runs", "list", "--json").stdout)[0]["id"]
    assert run in told
    decide(federation, "approve")
    folder = federation.folder / "first"
    ended = federation.asks("runs", "resume", run, "--no-progress", "--folder", folder)
    assert ended.exit_code == 0, ended.output
    assert "completed: 4 rounds" in ended.stdout
    return folder


def test_what_was_approved_runs_again_without_a_question(federation: Live, finished: Path) -> None:
    folder = federation.folder / "second"
    code, told, problems = submit(federation, *SETTINGS, "--watch", "--folder", folder)
    assert code == 0, told + problems
    assert "completed: 4 rounds" in told
    assert same(folder / "model.safetensors", finished / "model.safetensors")
    assert json.loads((folder / "run.json").read_text())["id"] != json.loads((finished / "run.json").read_text())["id"]


def simulated(federation: Live) -> ct.Run:
    file = load(federation.folder / "slopes.py")
    job = replace(file.job, rounds=replace(file.job.rounds, cohort=2, count=4))
    return ct.run(job, ct.Simulation(ct.data.from_folder(federation.folder / "data", target="y"), engine="resident"))


def test_python_says_the_same_and_parties_judge_the_model(federation: Live, finished: Path) -> None:
    expected = simulated(federation)
    where = ct.Deployment(dataset="points", identity=federation.operator)
    run = ct.run(expected.job, where)
    np.testing.assert_array_equal(run.model.vector, expected.model.vector)
    with ThreadPoolExecutor(1) as owners:
        deciding = owners.submit(decide, federation, "approve")
        found = run.evaluate()
        deciding.result()
    assert found.pooled == pytest.approx(expected.evaluate().pooled)


def same(left: Path, right: Path) -> bool:
    return left.read_bytes() == right.read_bytes()


def test_the_model_is_that_of_the_simulation(federation: Live, finished: Path) -> None:
    run = simulated(federation)
    np.testing.assert_array_equal(load_file(finished / "model.safetensors")["slope"], run.model.arrays()["slope"])
    assert json.loads((finished / "job.json").read_text()) == run.job.manifest()
    history = json.loads((finished / "history.json").read_text())
    assert [record["train"]["loss"] for record in history] == pytest.approx(run.history.column("train_loss"))
    assert (finished / "source" / "slopes.py").read_text() == JOB


def test_a_run_is_listed_shown_and_written_again(
    federation: Live, refused: str, finished: Path, tmp_path: Path
) -> None:
    run = json.loads((finished / "run.json").read_text())["id"]
    listed = json.loads(federation.asks("runs", "list", "--json").stdout)
    facts = next(facts for facts in listed if facts["id"] == run)
    assert (facts["state"], facts["rounds"], facts["parties"]) == ("completed", 4, list(NODES))
    assert listed[-1]["id"] == refused
    assert run in federation.asks("runs", "list").stdout
    shown = federation.asks("runs", "show", run[:8]).stdout
    assert "completed" in shown
    assert len([line for line in shown.splitlines() if line.split()[:2] in [[str(n), "2"] for n in range(5)]]) == 4
    assert len(json.loads(federation.asks("runs", "show", run, "--json").stdout)["rounds"]) == 4
    for command in ("export", "resume"):
        ended = federation.asks("runs", command, run, "--folder", tmp_path / command)
        assert ended.exit_code == 0, ended.output
        assert same(tmp_path / command / "model.safetensors", finished / "model.safetensors")
        assert same(tmp_path / command / "history.json", finished / "history.json")
    other = federation.asks("runs", "export", refused, "--folder", tmp_path / "export")
    assert other.exit_code == 1
    assert "another run" in other.output
    watched = federation.asks("runs", "watch", run, "--json")
    assert json.loads(watched.stdout)["state"] == "completed"


def test_why_a_run_has_failed_is_shown(federation: Live, refused: str) -> None:
    assert federation.asks("runs", "watch", refused, "--no-progress").exit_code == 1
    shown = federation.asks("runs", "show", refused)
    assert "failed" in shown.stdout
    assert "the owner has denied it" in shown.stdout


def test_a_model_is_pulled_with_and_without_its_job(federation: Live, finished: Path, tmp_path: Path) -> None:
    run, file = json.loads((finished / "run.json").read_text())["id"], federation.folder / "slopes.py"
    plain = federation.asks("model", "pull", run, "--out", tmp_path / "plain.safetensors")
    assert plain.exit_code == 0, plain.output
    assert same(tmp_path / "plain.safetensors", finished / "model.safetensors")
    whole = federation.asks("model", "pull", run, "-o", tmp_path / "whole.safetensors", "--job", file, *SETTINGS)
    assert whole.exit_code == 0, whole.output
    assert same(tmp_path / "whole.safetensors", finished / "model.safetensors")
    wrong = federation.asks("model", "pull", run, "-o", tmp_path / "x", "--job", file)
    assert wrong.exit_code == 1
    assert "repeat the --set values" in wrong.output


def test_a_run_goes_on_without_whoever_submitted_it_until_it_is_stopped(federation: Live, finished: Path) -> None:
    more = ("--set", "rounds.cohort=2", "--set", "rounds.count=4000")
    code, told, _ = submit(federation, *more, "--json")
    assert code == 0
    run = json.loads(told)["id"]
    decide(federation, "approve")

    def rounds() -> int:
        return int(json.loads(federation.asks("runs", "show", run, "--json").stdout)["run"]["rounds"])

    until(lambda: rounds() >= 2)
    stopped = federation.asks("runs", "stop", run)
    assert "stopped" in stopped.output
    ended = rounds()
    assert 2 <= ended < 4000
    assert json.loads(federation.asks("runs", "watch", run, "--json").stdout)["state"] == "stopped"
    assert rounds() == ended


def test_the_file_says_who_takes_part_and_options_come_before_it(federation: Live, tmp_path: Path) -> None:
    file = tmp_path / "nowhere.py"
    file.write_text(JOB.replace("federation = ct.Simulation(data", 'federation = ct.Deployment(dataset="nothing") #'))
    refused = federation.asks("submit", file, "--set", "rounds.cohort=2")
    assert refused.exit_code == 2
    assert "'nothing'" in refused.output
    for words, told in (
        (("--dataset", "other"), "'other'"),
        (("--tag", "islands"), "tags"),
        (("--node", "clinic-z"), "clinic-z"),
    ):
        refused = federation.asks("submit", file, "--set", "rounds.cohort=2", *words)
        assert refused.exit_code == 2, refused.output
        assert told in refused.output


def test_an_unknown_run_says_where_runs_are_listed(federation: Live) -> None:
    for words in (("runs", "show", "ffff"), ("runs", "stop", "0" * 16), ("model", "pull", "../../v1/nodes/z")):
        refused = federation.asks(*words)
        assert refused.exit_code == 2, refused.output
    assert "comity runs list" in refused.output
