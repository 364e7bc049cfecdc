"""The API as Python: one method a route, for people; nodes have an agent."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from comity.core import manifest, states
from comity.identity.folder import IdentityFolder, Membership
from comity.jobs.job import Job
from comity.wire.client import ProblemError, Session
from comity.wire.http import HttpTransport
from comity.wire.messages import (
    AuditEntry,
    AuditPage,
    Invite,
    Invited,
    JobText,
    Member,
    MemberList,
    Message,
    NodeChange,
    Roster,
    Rounds,
    RunFacts,
    RunList,
    Source,
    Submit,
)

_WAIT = 30.0
M = TypeVar("M", bound=Message)


@dataclass(frozen=True)
class Wanted:
    """Who shall take part: the nodes that offer `dataset` and have all of `tags`, or those in `nodes`."""

    dataset: str
    nodes: Sequence[str] = ()
    tags: Sequence[str] = ()


class Client:
    """A person's conversation with a deployment; an async context manager. `address` overrides where its server is."""

    def __init__(self, folder: IdentityFolder, address: str | None = None, *, patience: float = 60.0) -> None:
        self.membership: Membership = folder.read()
        transport = HttpTransport(
            address or self.membership.address, folder.authority, certificate=folder.client_certificate
        )
        self._session = Session(
            transport, folder.signing_key(), self.membership.deployment, time.time, patience=patience
        )

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def submit(self, job: Job, wanted: Wanted, source: Mapping[str, str], folder: Path, run: str) -> RunFacts:
        """Begin the run `run`, an id that was drawn for it; `folder` is for the first state, while it is uploaded."""
        from comity.runs.checkpoint import save_tensors

        file = folder / ".start.safetensors"
        save_tensors(file, states.flatten(job.program.init(job.root_seed)))
        try:
            start = await self._session.upload(file)
        finally:
            file.unlink()
        wish = Submit(
            run=run,
            manifest=job.to_json(),
            layout=manifest.canonical(manifest.encode(job.program.model.layout)),
            start=start,
            dataset=wanted.dataset,
            nodes=tuple(wanted.nodes),
            tags=tuple(wanted.tags),
            source=Source(files=dict(source)) if source else None,
        )
        return await self._call("POST", "/v1/runs", wish, RunFacts)

    async def watch(self, run: str, after: int = 0, *, wait: bool = True) -> Rounds:
        """The rounds after the first `after`; waits for one, or for the end, where there is none yet."""
        query = {"after": str(after), "wait": f"{_WAIT if wait else 0:g}"}
        return await self._call("GET", f"/v1/runs/{run}", None, Rounds, query)

    async def find(self, run: str) -> RunFacts | None:
        """The run as it stands; None where there is none of this id that one may see."""
        try:
            return (await self.watch(run, wait=False)).run
        except ProblemError as error:
            if error.status == 404:
                return None
            raise

    async def job(self, run: str) -> JobText:
        """What was submitted, with the model's layout."""
        return await self._call("GET", f"/v1/runs/{run}/job", None, JobText)

    async def source(self, run: str) -> Source:
        """The files of the user's own that came with the job. Raises `ProblemError` where there are none."""
        return await self._call("GET", f"/v1/runs/{run}/source", None, Source)

    async def runs(self) -> tuple[RunFacts, ...]:
        return (await self._call("GET", "/v1/runs", None, RunList)).runs

    async def stop(self, run: str) -> RunFacts:
        return await self._call("POST", f"/v1/runs/{run}/stop", None, RunFacts)

    async def state(self, facts: RunFacts, into: Path) -> None:
        """The program's state after the last round, as a safetensors file."""
        assert facts.model is not None
        await self._session.download(f"/v1/runs/{facts.id}/blobs/{facts.model.digest}", facts.model, into)

    async def nodes(self) -> tuple[Member, ...]:
        return (await self._call("GET", "/v1/nodes", None, MemberList)).members

    async def revoke(self, name: str) -> Member:
        return await self._call("POST", f"/v1/nodes/{name}/revocation", None, Member)

    async def tag(self, name: str, tags: Sequence[str]) -> Member:
        return await self._call("PATCH", f"/v1/nodes/{name}", NodeChange(tags=tuple(tags)), Member)

    async def invite(self, wish: Invite) -> Invited:
        return await self._call("POST", "/v1/invitations", wish, Invited)

    async def roster(self) -> Roster | None:
        """Who belongs to the deployment in the registrar's word; None where it was not given yet."""
        try:
            return await self._call("GET", "/v1/roster", None, Roster)
        except ProblemError as error:
            if error.status == 404:
                return None
            raise

    async def publish(self, roster: Roster) -> Roster:
        """Give the server a roster that the registrar signed elsewhere."""
        return await self._call("PUT", "/v1/roster", roster, Roster)

    async def audit(self, after: int = 0) -> tuple[AuditEntry, ...]:
        """The next entries of the server's audit after number `after`; none where there are no more."""
        return (await self._call("GET", "/v1/audit", None, AuditPage, {"after": str(after)})).entries

    async def _call(
        self, method: str, path: str, message: Message | None, expect: type[M], query: Mapping[str, Any] | None = None
    ) -> M:
        answer = await self._session.call(method, path, message, expect, query, timeout=_WAIT + 30)
        assert answer is not None
        return answer
