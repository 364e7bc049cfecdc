"""Two replicas of a server, over one PostgreSQL and one bucket, are one federation."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

import pytest
from sklearn.linear_model import SGDClassifier
from sqlalchemy import func, select

import comity as ct
from comity.demo.processes import Processes, free_port
from comity.identity.folder import IdentityFolder
from comity.runs.history import RoundRecord
from comity.runs.run import Callback
from comity.server.aggregate import run_owner
from comity.server.liverun import Model
from comity.store.blobs import Blobs
from comity.store.journal import Journal
from comity.store.rows import Record
from comity.store.tables import INVITATIONS
from comity.wire.http import HttpTransport
from comity.wire.messages import Invite
from comity.wire.signature import NONCE_BYTES, sign
from comity.wire.transport import Request
from support import postgresql, s3
from support.forwarder import Forwarder
from support.live import Live, comity, digits, until

POLICY = """
[[allow]]
program = "FedAvg"
datasets = ["digits"]
"""
ROUNDS = 12
NAMES = ("party-0", "party-1")


@dataclass(frozen=True, eq=False)
class Replicas:
    """Two servers at `ports`. The party-0 and the operator come to the first of them, party-1 to the second, and each
    to the other one when its own is not there.
    """

    live: Live
    journal: str
    bucket: str
    ports: tuple[int, int]
    ways: tuple[Forwarder, Forwarder]

    def start(self, number: int) -> None:
        words = ("server", "start", str(self.live.folder / "server"), "--port", str(self.ports[number]))
        self.live.processes.start(f"replica-{number}", *words)
        until(lambda: self.listens(number))

    def listens(self, number: int) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.ports[number])):
            return True
        return False

    @contextmanager
    def opened(self) -> Iterator[Journal]:
        journal = Journal.open(self.journal)
        try:
            yield journal
        finally:
            journal.close()

    def carry_out(self, job: ct.Job, *callbacks: Callback) -> list[Record]:
        """The records of a run of `job`, which has ended with the model of a simulation."""
        run = ct.run(job, ct.Deployment(dataset="digits", identity=self.live.operator), callbacks=callbacks)
        data = ct.data.from_folder(self.live.folder / "digits-by-party" / "parties", target="target")
        simulated = ct.run(job, ct.Simulation(data, engine="resident"))
        assert run.model.vector.tobytes() == simulated.model.vector.tobytes()
        assert run.history.column("train_loss") == simulated.history.column("train_loss")
        with self.opened() as journal:
            return journal.records(journal.runs()[0].id)

    def parts_left(self, run: str) -> set[str]:
        """What lies in the bucket of the run's own, and of the parties' contributions."""
        found = list(Blobs.open(self.bucket).each())
        assert not [part for part in found if part.owner in NAMES], "every contribution is used up"
        return {part.digest for part in found if part.owner == run_owner(run)}


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    found = postgresql.programs()
    if found is None:
        pytest.skip("PostgreSQL's programs are not installed (Debian: postgresql)")
    folder = tmp_path_factory.mktemp("replicas")
    (folder / "policy.toml").write_text(POLICY)
    files = digits(folder)
    with ExitStack() as stack:
        journal = postgresql.create(stack.enter_context(postgresql.postgresql(*found)), "comity")
        bucket = s3.create(stack.enter_context(s3.s3()), "comity")
        processes = stack.enter_context(Processes(folder))
        one, two = free_port(), free_port()
        first, second = (stack.enter_context(Forwarder(ports)) for ports in ([one, two], [two, one]))
        live = Live(folder, processes)
        make_server(live, first.address, journal, bucket)
        made = Replicas(live, journal, bucket, (one, two), (first, second))
        made.start(0)
        made.start(1)
        for name, way, file in zip(NAMES, (first, second), files, strict=True):
            live.party(name, file, folder / "policy.toml", way.address)
        until(lambda: live.asks("nodes", "list").stdout.count("digits") == 2)
        yield made


def make_server(live: Live, address: str, journal: str, bucket: str) -> None:
    folder = live.folder / "server"
    words = ("--name", "study", "--address", address, "--host", "127.0.0.1", "--journal", journal)
    made = comity("server", "init", folder, *words, COMITY_IDENTITY=str(live.folder / "operator"))
    assert made.exit_code == 0, made.output
    with (folder / "server.toml").open("a") as settings:
        settings.write(f'blobs = "{bucket}"\n')


def a_job(seed: int = 0) -> ct.Job:
    model = ct.sklearn.Estimator(SGDClassifier(loss="log_loss"), features=64, classes=10)
    return ct.Job(ct.FedAvg(model, ct.LocalSGD(lr=0.01, epochs=1, batch_size=1)), ct.Rounds(count=ROUNDS), seed=seed)


@dataclass(eq=False)
class Killer:
    """A callback that kills one replica after some rounds, and later the other one, when the first is there again."""

    replicas: Replicas

    def on_start(self, job: ct.Job, note: str) -> None: ...

    def on_round(self, record: RoundRecord) -> str | None:
        if record.round == 3:
            self.replicas.live.kill("replica-0")
        if record.round == 7:
            self.replicas.start(0)
            self.replicas.live.kill("replica-1")
        return None

    def on_end(self, ending: str) -> None: ...


def check_nothing_is_there_twice(records: list[Record]) -> None:
    assert [record.seq for record in records] == list(range(1, 1 + len(records)))
    assert Counter(record.kind for record in records) == {"started": 1, "contributed": 2 * ROUNDS, "aggregated": ROUNDS}
    bodies = [record.body for record in records]
    assert [body["round"] for body in bodies if "round" in body] == list(range(ROUNDS))
    leases = [body["lease"] for body in bodies if "lease" in body]
    assert len(set(leases)) == len(leases)


@pytest.mark.long
def test_a_run_whose_parties_are_at_different_replicas_is_one_run(replicas: Replicas) -> None:
    records = replicas.carry_out(a_job(seed=1))
    assert [set(way.reached) for way in replicas.ways] == [{port} for port in replicas.ports]
    check_nothing_is_there_twice(records)
    last = Model.of(records[-1].body)
    needed = {digest for blob in (last.state, *last.broadcast.values()) for digest in blob.parts}
    assert replicas.parts_left(records[0].run) == needed


@pytest.mark.long
def test_parties_of_a_replica_that_is_killed_go_on_at_the_other(replicas: Replicas) -> None:
    records = replicas.carry_out(a_job(seed=2), Killer(replicas))
    assert [set(way.reached) for way in replicas.ways] == [set(replicas.ports)] * 2
    check_nothing_is_there_twice(records)
    replicas.start(1)


@pytest.mark.long
def test_a_signed_request_counts_once_wherever_it_is_sent(replicas: Replicas) -> None:
    identity = IdentityFolder(replicas.live.operator)
    wish = Invite(name="late", role="node", valid=60.0).model_dump_json().encode()
    request = Request("POST", "/v1/invitations", {}, {"content-type": "application/json"}, wish)
    time.sleep(1.0)  # A replica takes no signature from the second in which it started.
    deployment = identity.read().deployment
    signed = sign(request, identity.signing_key(), deployment, time.time(), secrets.token_bytes(NONCE_BYTES))

    async def sent() -> list[int]:
        ways = [HttpTransport(f"https://127.0.0.1:{port}", identity.authority) for port in replicas.ports]
        try:
            answers = await asyncio.gather(*(way.send(signed, timeout=30.0) for way in ways * 5))
            answers += [await way.send(signed, timeout=30.0) for way in ways]
        finally:
            for way in ways:
                await way.close()
        return [answer.status for answer in answers]

    assert Counter(asyncio.run(sent())) == {201: 1, 401: 11}
    with replicas.opened() as journal, journal.database.read() as connection:
        made = select(func.count()).select_from(INVITATIONS).where(INVITATIONS.c.name == "late")
        assert connection.scalar(made) == 1
