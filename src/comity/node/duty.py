"""What a node does with one assignment: judge it, compute it, log it, and send the answer."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from comity.core.errors import ComityError, ConfigError, DataError
from comity.node.cache import Cache
from comity.node.child import Executor, Limits, TaskResult, TaskSpec, described
from comity.node.data import DataRegistry
from comity.node.days import DayCounter
from comity.node.entries import Entry
from comity.node.home import NodeHome
from comity.node.jobs import Jobs, ReceivedJob
from comity.node.log import NodeLog
from comity.node.memory import PartyMemory
from comity.node.outbox import Answer, Lease, Outbox
from comity.node.pauses import Pauses
from comity.node.policy import Caps, Policy, Proposal, Ruling, judge
from comity.node.requests import Requests
from comity.wire.client import ProblemError, Session
from comity.wire.messages import Assignment, Blob, Message, Refused, Verdict
from comity.wire.transport import TransportError

T = TypeVar("T")

_LOOK = 2.0
"""So many seconds lie between two looks at what the owner has decided, while a job waits for it."""


class Refusal(ComityError):
    """This node does not take part: the reason and the words that the server is told."""

    def __init__(self, refused: Refused) -> None:
        self.refused = refused
        super().__init__(refused.detail)


@dataclass(eq=False)
class Duties:
    """Carries out assignments of one node; everything that must outlive the process is on disk when it matters.

    Nothing is computed before a ruling is in the log, and nothing leaves before the log says so.
    """

    home: NodeHome
    session: Session
    executor: Executor
    now: Callable[[], float]
    pauses: Callable[[], Pauses]
    sending: set[Lease] = field(default_factory=set)
    """Leases whose answer is on its way to the server: it will say itself that they are over."""

    def __post_init__(self) -> None:
        config = self.home.config
        self.name = config.name
        self.packages = config.packages
        self.data = DataRegistry(self.home.path)
        self.requests = Requests(self.home.path, self.now)
        self.days = DayCounter(self.home.path, self.now)
        self.log = NodeLog(self.home.log_file, self.now)
        self.jobs = Jobs(self.home.runs, self.session)
        self.cache = Cache(self.home.cache, self.session, config.cache_mb << 20)
        self.memory = PartyMemory(self.home.memory)
        self.outbox = Outbox(self.home.outbox)
        self._slots = asyncio.Semaphore(config.tasks)

    async def carry_out(self, assignment: Assignment) -> None:
        """From the assignment to the server's verdict. Raises `LogError` where the log cannot be written."""
        lease = assignment.run, assignment.lease
        answer = self.outbox.get(lease)
        if answer is None:
            answer = await self._answer(assignment, lease)
        await self._send(assignment, lease, answer)

    async def _answer(self, assignment: Assignment, lease: Lease) -> Answer:
        """The answer, which is in the outbox unless it is a refusal that costs nothing to find again.

        Of an error at this node the server is told what it is; where, and how to mend it, is for the log.
        """
        try:
            job = await self._patiently(lambda: self.jobs.of(assignment))
            ruling = await self._allowed(assignment, job)
            async with self._slots:
                return await self._computed(assignment, lease, job, ruling.caps)
        except Refusal as refusal:
            return Answer(refused=refusal.refused)
        except (ComityError, OSError, ValueError) as error:
            self.log.append("fault", _facts(assignment) | {"text": str(error)})
            what = error.what if isinstance(error, ComityError) else f"{type(error).__name__} at the node"
            reason: Literal["data", "error"] = "data" if isinstance(error, DataError) else "error"
            return Answer(refused=Refused(reason=reason, detail=_plain(what)))

    async def _allowed(self, assignment: Assignment, job: ReceivedJob) -> Ruling:
        """The ruling that allows the job, which is in the log. Raises `Refusal` where policy or owner deny it.

        While the owner has not decided, this waits: nothing is done for the lease, which stays open until the owner
        decides or the server ends it.
        """
        known, explained = None, ""
        while True:
            proposal = self._proposal(assignment, job)
            ruling = judge(self._policy(assignment), proposal, self.requests.approved())
            if ruling != known:
                known = ruling
                self._log_ruling(assignment, proposal, ruling)
            if ruling.verdict == "allowed":
                return ruling
            if ruling.verdict == "denied":
                raise Refusal(Refused(reason="policy", detail=ruling.reason))
            explained = explained or _explained(job, assignment)
            if self.requests.ask(proposal, ruling, explained, job.text.layout).state == "denied":
                raise Refusal(Refused(reason="policy", detail="the owner has denied it"))
            await asyncio.sleep(_LOOK)

    def _log_ruling(self, assignment: Assignment, proposal: Proposal, ruling: Ruling) -> None:
        told = {
            "submitter": proposal.submitter,
            "verdict": ruling.verdict,
            "lines": [str(line) for line in ruling.lines],
        }
        self.log.append("ruling", _facts(assignment) | told)

    def _proposal(self, assignment: Assignment, job: ReceivedJob) -> Proposal:
        """What is asked of this node, with what its data are now."""
        dataset = assignment.dataset
        entry, facts = self.data.entry(dataset), self.data.describe(dataset)
        return Proposal(
            job=assignment.job,
            manifest=job.manifest,
            submitter=job.text.submitter,
            dataset=dataset,
            rows=facts.rows,
            columns=entry.columns(facts),
            parties=job.text.parties,
            source=job.text.source,
            bytes_up=sum(blob.size for blob in assignment.broadcast.values()),
            rounds_today=self.days.today(dataset),
        )

    def _policy(self, assignment: Assignment) -> Policy:
        """The policy as it is now. Raises `Refusal` where it is malformed, which is for its owner alone to know."""
        try:
            return Policy.load(self.home.policy_file)
        except ConfigError as error:
            self.log.append("fault", _facts(assignment) | {"text": str(error)})
            raise Refusal(Refused(reason="policy", detail="the owner's policy cannot be read")) from error

    async def _computed(self, assignment: Assignment, lease: Lease, job: ReceivedJob, caps: Caps) -> Answer:
        run, sent = assignment.run, assignment.broadcast
        entry = self.data.entry(assignment.dataset)
        self.days.count(entry.name)
        self.memory.forget_before(run, assignment.counted)
        into = self.home.scratch / run / str(assignment.lease)
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir(parents=True)
        try:
            with self.cache.pinned(run, sent.values()):
                broadcast = {name: await self._fetched(run, blob) for name, blob in sent.items()}
                result = await self.executor.run(self._task(assignment, job, entry, caps, broadcast, into))
            if result.refusal is not None:
                return self.outbox.refuse(lease, result.refusal)
            return self._kept(lease, result, caps)
        finally:
            shutil.rmtree(into, ignore_errors=True)

    async def _fetched(self, run: str, blob: Blob) -> Path:
        return await self._patiently(lambda: self.cache.fetch(run, blob))

    def _kept(self, lease: Lease, result: TaskResult, caps: Caps) -> Answer:
        """A result on disk: first what the party will remember if it counts, then what is sent."""
        assert result.vectors is not None
        size = result.vectors.stat().st_size
        if caps.bytes_up is not None and size > caps.bytes_up:
            return self.outbox.refuse(lease, Refused(reason="policy", detail="the answer is larger than may leave"))
        if result.memory is not None:
            self.memory.keep(*lease, result.memory)
        return self.outbox.contribute(lease, result.vectors, result.weight, dict(result.metrics))

    def _task(
        self,
        assignment: Assignment,
        job: ReceivedJob,
        entry: Entry,
        caps: Caps,
        broadcast: Mapping[str, Path],
        into: Path,
    ) -> TaskSpec:
        most = Limits()
        return TaskSpec(
            run=assignment.run,
            lease=assignment.lease,
            round=assignment.round,
            party=self.name,
            manifest=job.file,
            source=job.source,
            data=described(entry, self.data.key(entry.name)),
            broadcast=broadcast,
            memory=self.memory.of(assignment.run, assignment.counted),
            counted=assignment.counted is not None,
            into=into,
            packages=self.packages,
            budget=assignment.budget,
            limits=Limits(caps.seconds or most.seconds, caps.memory_mb or most.memory_mb, most.file_mb),
        )

    async def _send(self, assignment: Assignment, lease: Lease, answer: Answer) -> None:
        path, facts = f"/v1/runs/{assignment.run}/leases/{assignment.lease}", _facts(assignment)
        if answer.refused is not None:
            self.log.append("refusal", facts | answer.refused.model_dump())
            await self._post(assignment, lease, f"{path}/refusal", answer.refused)
            return
        contributed, file = answer.contributed, answer.vectors
        assert contributed is not None
        assert file is not None
        vectors = {"bytes": contributed.vectors.size, "digest": contributed.vectors.digest}
        small = {"weight": contributed.weight, "metrics": {n: list(sums) for n, sums in contributed.metrics.items()}}
        self.log.append("leaving", facts | vectors | small)
        await self._patiently(lambda: self.session.upload(file, contributed.vectors))
        await self._post(assignment, lease, f"{path}/contribution", contributed)

    async def _post(self, assignment: Assignment, lease: Lease, path: str, message: Message) -> None:
        """Send an answer and log the verdict; a server that no longer wants it is a verdict as well."""
        self.sending.add(lease)
        try:
            verdict = await self._patiently(lambda: self.session.call("POST", path, message, Verdict))
            assert verdict is not None
            told: dict[str, Any] = verdict.model_dump()
        except ProblemError as error:
            told = {"accepted": False, "reason": f"status {error.status}", "detail": str(error)}
        finally:
            self.sending.discard(lease)
        self.log.append("verdict", _facts(assignment) | told)

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call until the server can be reached; whoever waits may be cancelled."""
        pauses = self.pauses()
        while True:
            try:
                return await call()
            except TransportError:
                await asyncio.sleep(pauses.next())


def _facts(assignment: Assignment) -> dict[str, Any]:
    return {
        "run": assignment.run,
        "lease": assignment.lease,
        "round": assignment.round,
        "job": assignment.job,
        "dataset": assignment.dataset,
    }


def _plain(text: str) -> str:
    return text.encode("utf-8", "replace").decode()[:2000]


def _explained(job: ReceivedJob, assignment: Assignment) -> str:
    """What an owner is shown before anything runs: what comes down, the code to be run, and the manifest."""
    lines = [f"received in each round: {name}, {blob.size:,} bytes" for name, blob in assignment.broadcast.items()]
    for path, text in sorted(job.files.items()):
        lines += [f"to be run, {path}:", text]
    return "\n".join([*lines, "the manifest:", json.dumps(job.manifest, indent=1, sort_keys=True)])
