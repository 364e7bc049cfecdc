"""The agent: obeys the policy, sends what it has computed exactly as logged, and goes on after whatever happens."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from safetensors.numpy import save_file

from comity.node.agent import Agent
from comity.node.child import ChildExecutor, TaskResult, TaskSpec
from comity.node.home import NodeHome
from comity.node.log import LogError, NodeLog, verify
from comity.node.requests import Requests
from comity.wire.client import ProblemError, Session
from comity.wire.digests import sha256, source_digest
from comity.wire.messages import Ask, Contributed, Problem, Refused
from support.nodes import ALLOW, PLAIN, RUN, InMemory, a_home, job_of, logged
from support.virtual_time import run_virtually

TEXT = PLAIN.replace("EXTRA", "pass")
ASK = '[ask]\ndatasets = ["digits"]\n'
OWN = ALLOW.replace('program = ["FedAvg", "Scaffold"]', 'program = "FedAvg"')


@dataclass
class Instant:
    """An executor without a process: it answers at once, or as `behave` says first."""

    behave: Callable[[TaskSpec], Awaitable[None]] | None = None
    size: int = 64
    tasks: list[TaskSpec] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)
    memories: list[str | None] = field(default_factory=list)
    remembers: bool = False
    at_once: int = 0
    most_at_once: int = 0

    async def run(self, task: TaskSpec) -> TaskResult:
        self.tasks.append(task)
        self.memories.append(task.memory.read_text() if task.memory is not None else None)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.behave is not None:
                await self.behave(task)
        except asyncio.CancelledError:
            self.cancelled.append(task.lease)
            raise
        finally:
            self.at_once -= 1
        vectors = task.into / "vectors.safetensors"
        save_file({"weights": np.full(self.size, task.lease, dtype=np.float32)}, vectors)
        memory = task.into / "memory.safetensors" if self.remembers else None
        if memory is not None:
            memory.write_text(f"after {task.lease}")
        return TaskResult(vectors=vectors, memory=memory, weight=6.0, metrics={"loss": (1.5, 6.0)}, seconds=0.1)

    async def close(self) -> None:
        """Nothing is held."""


def a_server(tmp_path: Path, text: str = TEXT, *, with_source: bool = False) -> InMemory:
    return InMemory(job_of(text, tmp_path / "submitter"), {"job.py": text} if with_source else None)


def approve(home: NodeHome, text: str = TEXT) -> None:
    Requests(home.path, time.time).approve_digest(source_digest({"job.py": text}), "source", who="owner")


def working(
    home: NodeHome, server: InMemory, executor: Any, steps: Callable[[], Awaitable[Any]], *, virtual: bool = True
) -> Any:
    """Run an agent while `steps` go on, in virtual time; returns what they return."""

    async def both() -> Any:
        loop = asyncio.get_running_loop()
        now = (lambda: 1e9 + loop.time()) if virtual else time.time
        agent = Agent(home, cast(Session, server), executor, now, lambda size: bytes(size))
        running = asyncio.create_task(agent.run())
        try:
            return await steps()
        finally:
            assert not running.done()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    return run_virtually(both()) if virtual else asyncio.run(both())


def test_it_needs_no_numbers(tmp_path: Path) -> None:
    """An idle node is small: arrays are for the process that computes."""
    script = (
        "import sys, comity.node.agent; print([m for m in ('numpy', 'torch', 'sklearn', 'pandas') if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout == "[]\n"


def test_an_assignment_becomes_a_contribution(tmp_path: Path) -> None:
    home, server, executor = a_home(tmp_path), a_server(tmp_path), Instant()

    async def steps() -> Contributed | Refused:
        server.assign(1)
        return await server.answered(1)

    answer = working(home, server, executor, steps)
    assert isinstance(answer, Contributed)
    assert (answer.weight, answer.metrics) == (6.0, {"loss": (1.5, 6.0)})
    assert answer.vectors.digest in server.uploaded
    [task] = executor.tasks
    assert (task.party, task.round, task.counted) == ("party-0", 0, False)
    assert set(task.broadcast) == {"weights"}


def test_what_leaves_is_in_the_log_before_it_does(tmp_path: Path) -> None:
    home, server = a_home(tmp_path), a_server(tmp_path)
    seen: list[Any] = []
    upload = server.upload

    async def watched(source: bytes | Path, known: Any = None) -> Any:
        seen.extend(logged(home, "leaving"))
        return await upload(source, known)

    server.upload = watched  # type: ignore[method-assign]  # the moment of the upload is what matters

    async def steps() -> None:
        server.assign(1)
        await server.answered(1)

    working(home, server, Instant(), steps)
    [entry] = seen
    [(digest, content)] = server.uploaded.items()
    assert (entry["digest"], entry["bytes"], entry["weight"]) == (digest, len(content), 6.0)
    assert entry["metrics"] == {"loss": [1.5, 6.0]}
    kinds = [kind for kind in ("ruling", "leaving", "verdict") if logged(home, kind)]
    assert kinds == ["ruling", "leaving", "verdict"]
    assert verify(home.log_file).sound


def refused(tmp_path: Path, policy: str, **server: Any) -> tuple[Refused, Instant, InMemory, NodeHome]:
    home, given, executor = a_home(tmp_path, policy=policy), a_server(tmp_path, **server), Instant()

    async def steps() -> Contributed | Refused:
        given.assign(1)
        return await given.answered(1)

    answer = working(home, given, executor, steps)
    assert isinstance(answer, Refused)
    return answer, executor, given, home


def test_what_the_policy_denies_is_neither_fetched_nor_run(tmp_path: Path) -> None:
    answer, executor, server, home = refused(tmp_path, OWN + "min_rows = 98765\n")
    assert answer.reason == "policy"
    assert "min_rows" in answer.detail
    assert not executor.tasks
    assert not [path for _, path in server.calls if "blobs" in path]
    assert logged(home, "ruling")[0]["verdict"] == "denied"


def test_the_server_is_not_told_the_numbers_of_a_policy(tmp_path: Path) -> None:
    answer, _, _, home = refused(tmp_path, OWN + "min_rows = 98765\n")
    assert "98" not in answer.detail
    assert any("98,765" in line for line in logged(home, "ruling")[0]["lines"])


def test_a_malformed_policy_denies_and_is_told_to_the_owner_alone(tmp_path: Path) -> None:
    answer, executor, _, home = refused(tmp_path, "[[allow]]\nprogramme = 3\n")
    assert answer == Refused(reason="policy", detail="the owner's policy cannot be read")
    assert not executor.tasks
    assert "programme" in logged(home, "fault")[0]["text"]


def test_source_that_nobody_has_approved_is_not_run(tmp_path: Path) -> None:
    answer, executor, _, _ = refused(tmp_path, OWN, with_source=True)
    assert answer.reason == "policy"
    assert not executor.tasks


def test_a_job_other_than_the_one_that_was_named_is_not_run(tmp_path: Path) -> None:
    home, server, executor = a_home(tmp_path), a_server(tmp_path), Instant()

    async def steps() -> Contributed | Refused:
        assignment = server.assign(1)
        server.open[1] = assignment.model_copy(update={"job": "0" * 64})
        return await server.answered(1)

    answer = working(home, server, executor, steps)
    assert isinstance(answer, Refused)
    assert answer.detail == "the manifest is not the one of this job"
    assert not executor.tasks


@pytest.mark.parametrize("text", ["[" * 100_000 + "]" * 100_000, "no JSON", '{"job": 1.0}', '{"job": "\ud800"}'])
def test_a_manifest_that_is_none_is_not_run(tmp_path: Path, text: str) -> None:
    """Also where the server names it by its own digest: what is judged is the one text of a job, and nested as one."""
    home, server, executor = a_home(tmp_path), a_server(tmp_path), Instant()
    digest = sha256(text.encode("utf-8", "surrogatepass"))
    call = server.call

    async def answering(method: str, path: str, *rest: Any, **options: Any) -> Any:
        answer = await call(method, path, *rest, **options)
        return answer.model_copy(update={"manifest": text}) if path.endswith("/job") else answer

    server.call = answering  # type: ignore[method-assign]  # a server of ill will

    async def steps() -> Contributed | Refused:
        server.open[1] = server.assign(1).model_copy(update={"job": digest})
        return await server.answered(1)

    answer = working(home, server, executor, steps)
    assert answer == Refused(reason="error", detail="the manifest is not the one of this job")
    assert not executor.tasks


def test_a_data_set_that_is_not_here_says_nothing_of_those_that_are(tmp_path: Path) -> None:
    home, server = a_home(tmp_path), a_server(tmp_path)

    async def steps() -> Contributed | Refused:
        assignment = server.assign(1)
        server.open[1] = assignment.model_copy(update={"dataset": "diagnoses"})
        return await server.answered(1)

    answer = working(home, server, Instant(), steps)
    assert answer == Refused(reason="data", detail="no data set 'diagnoses'")


def waiting_for_its_owner(tmp_path: Path, then: Callable[[InMemory, Requests, str], Awaitable[Any]]) -> tuple[Any, ...]:
    """A job that `[ask]` lets wait, and has let wait for ten minutes when `then` decides; what that returns."""
    home, server, executor = a_home(tmp_path, policy=ASK), a_server(tmp_path), Instant()
    requests = Requests(home.path, time.time)

    async def steps() -> Any:
        server.assign(1)
        await asyncio.sleep(600)
        assert not server.answers
        assert not executor.tasks
        [request] = requests.pending()
        return await then(server, requests, request.id)

    return working(home, server, executor, steps), server, executor, home


@pytest.mark.parametrize("how", ["request", "digest", "policy"])
def test_a_job_waits_for_its_owner_and_goes_on_once_approved(tmp_path: Path, how: str) -> None:
    """With the lease that it waited with, for a refusal would use up the job's attempts."""

    async def then(server: InMemory, requests: Requests, id: str) -> Contributed | Refused:
        assert '"comity.programs.fedavg:FedAvg"' in requests.show(id)
        if how == "request":
            requests.approve(id, who="owner")
        elif how == "digest":
            requests.approve_digest(server.job.id, "job", who="owner")
        else:
            (requests.folder.parent / "policy.toml").write_text(OWN)
        return await server.answered(1, seconds=5)

    answer, _, executor, home = waiting_for_its_owner(tmp_path, then)
    assert isinstance(answer, Contributed)
    assert [task.lease for task in executor.tasks] == [1]
    assert [entry["verdict"] for entry in logged(home, "ruling")] == ["asks", "allowed"]


def test_a_node_whose_owner_has_not_decided_is_present_and_seldom_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    approved = Requests.approved

    def watched(requests: Requests) -> frozenset[str]:
        nonlocal looks
        looks += 1
        return approved(requests)

    monkeypatch.setattr(Requests, "approved", watched)

    async def then(server: InMemory, requests: Requests, id: str) -> int:
        return server.calls.count(("POST", "/v1/work"))

    asked, *_ = waiting_for_its_owner(tmp_path, then)
    assert 19 <= asked <= 25
    assert 100 <= looks <= 301


def test_a_job_that_its_owner_denies_is_refused_and_told_so(tmp_path: Path) -> None:
    async def then(server: InMemory, requests: Requests, id: str) -> list[Contributed | Refused]:
        requests.deny(id, who="owner", why="of no concern to the server")
        denied = await server.answered(1, seconds=5)
        server.assign(2)
        return [denied, await server.answered(2, seconds=1)]

    answers, _, executor, _ = waiting_for_its_owner(tmp_path, then)
    assert answers == [Refused(reason="policy", detail="the owner has denied it")] * 2
    assert not executor.tasks


def test_a_lease_that_ends_ends_the_waiting_for_its_owner(tmp_path: Path) -> None:
    async def then(server: InMemory, requests: Requests, id: str) -> None:
        server.withdraw(1)
        await asyncio.sleep(60)
        requests.approve(id, who="owner")
        await asyncio.sleep(60)

    _, server, executor, home = waiting_for_its_owner(tmp_path, then)
    assert not executor.tasks
    assert not server.answers
    assert not logged(home, "refusal")


def test_approved_source_lies_where_the_process_finds_it(tmp_path: Path) -> None:
    home, server, executor = a_home(tmp_path, policy=OWN), a_server(tmp_path, with_source=True), Instant()
    approve(home)

    async def steps() -> None:
        server.assign(1)
        await server.answered(1)

    working(home, server, executor, steps)
    source = executor.tasks[0].source
    assert source is not None
    assert (source / "job.py").read_text() == TEXT
    assert sha256(executor.tasks[0].manifest.read_bytes()) == server.job.id


def test_vectors_that_have_not_changed_and_jobs_are_fetched_once(tmp_path: Path) -> None:
    home, server = a_home(tmp_path), a_server(tmp_path)

    async def steps() -> None:
        for lease in range(3):
            server.assign(lease, round=lease)
            await server.answered(lease)

    working(home, server, Instant(), steps)
    fetched = [path for method, path in server.calls if method == "GET"]
    assert len([path for path in fetched if "/blobs/" in path]) == 1
    assert len([path for path in fetched if path.endswith("/job")]) == 1


def test_memory_is_that_of_the_last_contribution_that_counted(tmp_path: Path) -> None:
    home, server, executor = a_home(tmp_path), a_server(tmp_path), Instant(remembers=True)

    async def steps() -> None:
        for lease, counted in [(1, None), (2, None), (3, 2), (4, 2), (7, 4)]:
            server.assign(lease, counted=counted)
            await server.answered(lease)

    working(home, server, executor, steps)
    assert executor.memories == [None, None, "after 2", "after 2", "after 4"]


def test_a_node_that_its_server_refuses_asks_ever_more_seldom(tmp_path: Path) -> None:
    """One that was revoked, say, or whose clock is wrong; it comes back by itself once that is mended."""
    home, server = a_home(tmp_path), a_server(tmp_path)
    call, asked = server.call, 0

    async def refusing(method: str, path: str, *rest: Any, **options: Any) -> Any:
        nonlocal asked
        asked += 1
        await asyncio.sleep(2)  # a session signs anew before it gives up
        raise ProblemError(401, Problem(title="who are you?", detail=""))

    server.call = refusing  # type: ignore[method-assign]  # a server that does not know this node

    async def steps() -> Contributed | Refused:
        await asyncio.sleep(3600)
        server.call = call  # type: ignore[method-assign]
        server.assign(1)
        return await server.answered(1, seconds=70)

    assert isinstance(working(home, server, Instant(), steps), Contributed)
    assert asked < 130


def test_work_that_is_no_longer_wanted_is_ended(tmp_path: Path) -> None:
    async def forever(task: TaskSpec) -> None:
        if task.lease == 1:
            await asyncio.sleep(1e6)

    home, server, executor = a_home(tmp_path), a_server(tmp_path), Instant(forever)

    async def steps() -> None:
        server.assign(1)
        while not executor.tasks:
            await asyncio.sleep(0.01)
        server.withdraw(1)
        server.assign(2)
        await server.answered(2)
        while not executor.cancelled:
            await asyncio.sleep(0.01)

    working(home, server, executor, steps)
    assert executor.cancelled == [1]
    assert 1 not in server.answers


def test_a_result_computed_before_a_crash_is_sent_and_not_computed_again(tmp_path: Path) -> None:
    home, server, first = a_home(tmp_path), a_server(tmp_path), Instant()

    async def until_computed() -> None:
        server.assign(1)
        while not (home.outbox / f"{RUN}-1" / "answer.json").exists():
            await asyncio.sleep(0)
            server.away = bool(first.tasks)

    working(home, server, first, until_computed)
    assert 1 not in server.answers
    assert len(first.tasks) == 1
    server.away, server.changed = False, asyncio.Event()
    second = Instant()

    async def again() -> Contributed | Refused:
        return await server.answered(1)

    assert isinstance(working(home, server, second, again), Contributed)
    assert not second.tasks


def test_half_an_answer_left_by_a_crash_is_computed_again(tmp_path: Path) -> None:
    home, server, executor = a_home(tmp_path), a_server(tmp_path), Instant()
    place = home.outbox / f"{RUN}-1"
    place.mkdir()
    (place / "vectors.safetensors").write_bytes(b"half")

    async def steps() -> Contributed | Refused:
        server.assign(1)
        return await server.answered(1)

    assert isinstance(working(home, server, executor, steps), Contributed)
    assert len(executor.tasks) == 1


def test_answers_are_forgotten_once_they_are_acknowledged(tmp_path: Path) -> None:
    home, server = a_home(tmp_path), a_server(tmp_path)

    async def steps() -> None:
        for lease in (1, 2):
            server.assign(lease)
            await server.answered(lease)
        await asyncio.sleep(60)

    working(home, server, Instant(), steps)
    assert not list(home.outbox.iterdir())
    assert not list((home.scratch / RUN).iterdir())


def test_a_lease_that_the_server_has_forgotten_to_count_is_answered_again(tmp_path: Path) -> None:
    home, server = a_home(tmp_path), a_server(tmp_path)

    async def steps() -> int:
        for _ in range(3):
            server.assign(1)
            await server.answered(1)
            await asyncio.sleep(60)
            del server.answers[1]
        return len(server.calls)

    assert working(home, server, Instant(), steps) < 60


def test_a_server_that_is_away_is_asked_less_and_less_and_work_goes_on_when_it_is_back(tmp_path: Path) -> None:
    home, server = a_home(tmp_path), a_server(tmp_path)

    async def steps() -> tuple[int, Contributed | Refused]:
        server.away = True
        await asyncio.sleep(3600)
        asked = len(server.calls)
        server.away = False
        server.assign(1)
        return asked, await server.answered(1)

    asked, answer = working(home, server, Instant(), steps)
    assert 60 < asked < 140
    assert isinstance(answer, Contributed)
    assert [entry["text"] for entry in logged(home, "waiting")] == ["no connection"]


def test_an_idle_node_asks_as_seldom_as_the_server_holds_it(tmp_path: Path) -> None:
    home, server = a_home(tmp_path), a_server(tmp_path)

    async def steps() -> int:
        await asyncio.sleep(3600)
        return len(server.calls)

    assert 110 <= working(home, server, Instant(), steps) <= 130


def test_the_next_round_is_begun_without_a_pause(tmp_path: Path) -> None:
    home, server = a_home(tmp_path), a_server(tmp_path)

    async def steps() -> float:
        started = asyncio.get_running_loop().time()
        for lease in range(20):
            server.assign(lease, round=lease)
            await server.answered(lease)
        return asyncio.get_running_loop().time() - started

    assert working(home, server, Instant(), steps) < 1.0


def test_a_failure_in_one_run_leaves_the_others_alone(tmp_path: Path) -> None:
    async def fail(task: TaskSpec) -> None:
        if task.lease == 1:
            raise RuntimeError("a bug of the executor")

    home, server = a_home(tmp_path), a_server(tmp_path)

    async def steps() -> Contributed | Refused:
        server.assign(1)
        server.assign(2)
        return await server.answered(2)

    assert isinstance(working(home, server, Instant(fail), steps), Contributed)
    assert "a bug of the executor" in logged(home, "fault")[0]["text"]


def test_no_more_tasks_at_a_time_than_it_is_set_to(tmp_path: Path) -> None:
    async def rest(task: TaskSpec) -> None:
        await asyncio.sleep(5)

    home, server, executor = a_home(tmp_path), a_server(tmp_path), Instant(rest)

    async def steps() -> None:
        for lease in range(5):
            server.assign(lease)
        for lease in range(5):
            await server.answered(lease)

    working(home, server, executor, steps)
    assert executor.most_at_once == home.config.tasks == 2


def test_no_more_leases_are_under_way_than_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that wants more at once gets it as the others end, and does not end the agent."""
    monkeypatch.setattr("comity.node.agent._MOST", 3)
    home, server, named = a_home(tmp_path), a_server(tmp_path), set[int]()
    work = server._work

    async def counted(ask: Ask) -> Any:
        named.add(len(ask.open))
        return await work(ask)

    server._work = counted  # type: ignore[method-assign]  # what the server is asked is what matters

    async def steps() -> None:
        for lease in range(8):
            server.assign(lease)
        for lease in range(8):
            await server.answered(lease, seconds=600)

    working(home, server, Instant(), steps)
    assert max(named) == 3


def test_an_answer_larger_than_may_leave_stays(tmp_path: Path) -> None:
    home, server = a_home(tmp_path, policy=OWN + "bytes_up = 1000\n"), a_server(tmp_path)

    async def steps() -> Contributed | Refused:
        server.assign(1)
        return await server.answered(1)

    answer = working(home, server, Instant(size=5000), steps)
    assert answer == Refused(reason="policy", detail="the answer is larger than may leave")
    assert not server.uploaded


def test_nothing_is_done_that_cannot_be_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, server, executor = a_home(tmp_path), a_server(tmp_path), Instant()
    full = True
    append = NodeLog.append

    def failing(log: NodeLog, kind: str, facts: Any) -> Any:
        if full:
            raise LogError("the log cannot be written")
        return append(log, kind, facts)

    monkeypatch.setattr(NodeLog, "append", failing)

    async def steps() -> Contributed | Refused:
        nonlocal full
        server.assign(1)
        await asyncio.sleep(600)
        assert not executor.tasks
        assert not server.uploaded
        assert not server.answers
        full = False
        return await server.answered(1, seconds=200)

    assert isinstance(working(home, server, executor, steps), Contributed)


@pytest.mark.long
def test_processes_compute_what_the_server_asks_for(tmp_path: Path) -> None:
    home, server = a_home(tmp_path, policy=OWN), a_server(tmp_path, with_source=True)
    approve(home)

    async def steps() -> list[Contributed | Refused]:
        answers = []
        for lease in range(3):
            server.assign(lease, round=lease, counted=lease - 1 if lease else None)
            answers.append(await server.answered(lease))
        return answers

    executor = ChildExecutor(home, lambda kind, facts: None)
    answers = working(home, server, executor, steps, virtual=False)
    assert all(isinstance(answer, Contributed) for answer in answers)
    assert {answer.weight for answer in answers} == {48.0}
