"""A coordinator that is killed at every write, before and after, makes the model of one that never was.

The server is the real one in a process of its own (`support.dying_server`), the nodes are real processes, and TLS is
on.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier

import comity as ct
from comity.demo.processes import Processes
from comity.deployment.client import Wanted
from comity.identity.keys import SigningKey
from comity.node.home import NodeHome
from comity.server.vectors import written
from comity.store.journal import Journal
from comity.store.rows import Record
from comity.wire.client import Session
from comity.wire.http import HttpTransport
from comity.wire.messages import Ask, Contributed, Invite, Verdict, Work
from support.dying_server import Death, deaths
from support.live import Live, comity, serve, two_nodes, until
from support.submitted import begin, carry_out, client, ended, insist

POLICY = """
[[allow]]
program = "Scaffold"
datasets = ["digits"]
"""


POINTS = Wanted("points")
ASK = Ask(open=(), datasets=("points",), wait=0.0)


def a_job(**rounds: object) -> ct.Job:
    """SCAFFOLD, to which it matters what parties remember between rounds, and which stops early."""
    model = ct.sklearn.Estimator(SGDClassifier(loss="log_loss"), features=64, classes=10)
    return ct.Job(
        ct.Scaffold(model, ct.LocalSGD(lr=0.05, epochs=1, batch_size=1)),
        ct.Rounds(**({"count": 9} | rounds)),
        stop=ct.EarlyStopping("train_loss", target=1.6),
    )


def joined(live: Live, name: str) -> NodeHome:
    """A node that has joined, though it had to try again."""

    async def invited() -> str:
        async with client(live.operator) as talk:
            return (await insist(lambda: talk.invite(Invite(name=name, role="node", valid=3600.0)))).token

    token, home = asyncio.run(invited()), live.folder / name
    until(lambda: comity("node", "join", token, "--home", home).exit_code == 0)
    return NodeHome(home)


def end_server(live: Live) -> None:
    server = live.processes.started["server"]
    server.terminate()
    server.wait(30)


def make_mortal(live: Live) -> Path:
    """The server's successor dies at each of its writes; the file that says where."""
    end_server(live)
    file = live.folder / "deaths"
    with (live.folder / "server.log").open("ab") as log:
        live.processes.started["server"] = subprocess.Popen(
            [sys.executable, "-m", "support.dying_server", str(live.folder / "server"), str(file)],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return file


def make_immortal(live: Live) -> None:
    end_server(live)
    live.processes.start("server", "server", "start", str(live.folder / "server"))


def records_of(live: Live, run: str) -> list[Record]:
    journal = Journal.open(f"sqlite:///{live.folder / 'server' / 'journal.db'}")
    try:
        return journal.records(run)
    finally:
        journal.close()


def check_both_sides(suffered: list[Death]) -> None:
    """No write went through without a death on either side of it, and none was died at twice."""
    before = [death.write for death in suffered if death.when == "before"]
    after = [death.write for death in suffered if death.when == "after"]
    assert sorted(before) == sorted(after)
    assert len(set(before)) == len(before)


def kinds_died_at(suffered: list[Death], run: str) -> list[str]:
    """The kinds of the run's records of which the commit was survived by nobody, in their order."""
    return [kind for death in suffered if death.write.startswith(f"record {run} ") for kind in death.kinds]


@pytest.mark.long
def test_a_run_whose_server_dies_at_every_write_gives_the_model_of_one_that_was_left_alone(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(POLICY)
    (tmp_path / "denied.toml").write_text("")
    with two_nodes(tmp_path, tmp_path / "policy.toml", rows=40) as live:
        live.party("east", tmp_path / "digits-by-party" / "parties" / "party-0.csv", tmp_path / "denied.toml")
        until(lambda: live.asks("nodes", "list").stdout.count("digits") == 3)
        file = make_mortal(live)
        rounds, killed = carry_out(live.operator, a_job(), tmp_path / "killed")
        make_immortal(live)
        expected, left_alone = carry_out(live.operator, a_job(), tmp_path / "left_alone")
        records = [record.kind for record in records_of(live, rounds.run.id)]
    suffered = deaths(file)
    assert killed.tobytes() == left_alone.tobytes()
    assert rounds.run.state == expected.run.state == "stopped"
    for one, other in zip(rounds.rounds, expected.rounds, strict=True):
        assert one.metrics == other.metrics
        assert one.parties == other.parties
        assert [party for party, _, _ in one.refused] == ["east"]
    check_both_sides(suffered)
    after = [death for death in suffered if death.when == "after"]
    assert kinds_died_at(after, rounds.run.id) == records, "every record of the run, in its order"
    assert set(records) == {"started", "contributed", "rejected", "aggregated", "stopped"}
    written_by = [death.write.removeprefix("part ").partition("/")[0] for death in after if "part " in death.write]
    count = len(rounds.rounds)
    assert [written_by.count(name) for name in ("operator", "north", "south")] == [1, count, count]
    assert written_by.count(f"run-{rounds.run.id}") >= 3 * count, "the weights, the control variate and the state"


@pytest.mark.long
def test_members_and_runs_that_come_to_nothing_are_what_they_were_though_the_server_dies_at_every_write(
    tmp_path: Path,
) -> None:
    with Processes(tmp_path) as processes:
        live = serve(tmp_path, processes)
        until(lambda: live.asks("nodes", "list").exit_code == 0)
        file = make_mortal(live)
        homes = [joined(live, name) for name in ("one", "two")]
        runs = asyncio.run(_time_passes(live, homes))
        found = [[record.kind for record in records_of(live, run)] for run in runs]
    suffered = deaths(file)
    check_both_sides(suffered)
    assert found == [
        ["started", "ticked"],
        ["started", "contributed", "failed"],
        ["started", "stopped"],
        ["started", "lost", "lost"],
    ]
    after = [death for death in suffered if death.when == "after"]
    others = {" ".join(death.write.split()[:2]) for death in after}
    assert others >= {"insert invitations", "delete members", "update members", "audit revoked", "audit submitted"}
    assert [kinds_died_at(after, run) for run in runs] == found


async def _time_passes(live: Live, homes: list[NodeHome]) -> list[str]:
    """Two nodes that are silent but for one contribution, and four runs that come to nothing: by the deadline, by a
    model that is not there any more, by a person, and because both nodes are revoked.
    """
    sessions = [_session(home) for home in homes]
    async with client(live.operator) as talk:
        for session in sessions:
            await insist(lambda session=session: session.call("POST", "/v1/work", ASK, Work))
        late = await begin(talk, a_job(count=1, deadline=1.0, attempts=1), live.folder / "late", POINTS)
        assert (await ended(talk, late)).run.state == "failed"
        job = a_job(count=1)
        robbed = await begin(talk, job, live.folder / "robbed", Wanted("points", nodes=("one",)))
        for part in (live.folder / "server" / "blobs" / f"run-{robbed}").iterdir():
            part.unlink()
        await _contribute(sessions[0], job, live.folder / "robbed")
        news = await ended(talk, robbed)
        assert news.run.state == "failed"
        assert "there is no such part" in news.run.detail
        stopped = await begin(talk, a_job(count=1), live.folder / "stopped", POINTS)
        assert (await insist(lambda: talk.stop(stopped))).state == "stopped"
        lost = await begin(talk, a_job(count=1, attempts=1), live.folder / "lost", POINTS)
        for name in ("one", "two"):
            assert (await insist(lambda name=name: talk.revoke(name))).revoked
        assert (await ended(talk, lost)).run.state == "failed"
    for session in sessions:
        await session.close()
    return [late, robbed, stopped, lost]


def _session(home: NodeHome) -> Session:
    config = home.config
    transport = HttpTransport(config.address, home.authority.read_text("ascii"))
    return Session(transport, SigningKey.load(home.signing_key), config.deployment, time.time, patience=1.0)


async def _contribute(session: Session, job: ct.Job, folder: Path) -> None:
    """Nothing but zeros."""
    (assignment,) = (await insist(lambda: session.call("POST", "/v1/work", ASK, Work))).open
    values = job.exchange.contribution
    file = folder / "zeros"
    file.write_bytes(b"".join(written({name: np.zeros(value.size, np.float32) for name, value in values.items()})))
    vectors = await insist(lambda: session.upload(file))
    given = Contributed(vectors=vectors, weight=1.0, metrics=dict.fromkeys(job.exchange.metrics, (1.0, 1.0)))
    path = f"/v1/runs/{assignment.run}/leases/{assignment.lease}/contribution"
    assert (await insist(lambda: session.call("POST", path, given, Verdict))).accepted
