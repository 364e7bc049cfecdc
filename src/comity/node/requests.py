"""Requests: jobs that wait for their owner, and what the owner has decided; files that survive whatever the node does.

A request is `<home>/requests/<id>.json`; its id follows from the job, the data set and the source, so that a job which
asks again is the same request. Beside them, `<digest>.json` is a decision about a job id or a source bundle that was
taken without a request.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from comity.core.errors import ConfigError
from comity.core.files import replace_file
from comity.node.policy import Line, Proposal, Ruling, grant

State: TypeAlias = Literal["pending", "approved", "denied"]
MOST = 256
"""So many requests may wait; whoever floods a node with jobs fills no disk."""

_HEX = frozenset("0123456789abcdef")
_ID, _DIGEST = 16, 64


class RequestError(ConfigError):
    """A request that does not exist, or that cannot be kept."""


@dataclass(frozen=True)
class Decision:
    """Who decided, when (seconds since 1970) and why."""

    who: str
    when: float
    why: str


@dataclass(frozen=True)
class Request:
    """A job that asks for its owner's decision, with all that the owner needs to see.

    `source` is the digest of the code that comes with it; `lines` are those of the policy's ruling.
    """

    id: str
    job: str
    submitter: str
    dataset: str
    source: str | None
    parties: int
    bytes_up: int
    asked: float
    lines: tuple[Line, ...]
    state: State = "pending"
    decision: Decision | None = None

    def __str__(self) -> str:
        code = "no code but Comity's" if self.source is None else f"code with the digest {self.source}"
        told = [
            f"request {self.id}: {self.state}",
            f"job {self.job}, sent by {self.submitter}, on {self.dataset} with {self.parties:,} parties; {code}",
            *map(str, self.lines),
        ]
        if self.decision is not None:
            told.append(f"{self.state} by {self.decision.who}: {self.decision.why or 'no reason given'}")
        return "\n".join(told)


@dataclass(frozen=True)
class Approval:
    """A decision about a digest, whatever request it may come in: a job's id, or a source bundle's digest."""

    digest: str
    kind: Literal["job", "source"]
    decision: Decision


class Requests:
    """The requests in `<home>/requests/`. The agent asks, the owner decides; each change replaces one file."""

    def __init__(self, home: Path, now: Callable[[], float]) -> None:
        self.folder = home / "requests"
        self._now = now

    def ask(self, proposal: Proposal, ruling: Ruling, explained: str, layout: str = "") -> Request:
        """The request for a proposal on which `judge` wants a decision; one that is there already stays as it is.

        `explained` is what `show` shows beside it, such as the code to be run; `layout` is the model's, as JSON. Raises
        `RequestError` where too many wait.
        """
        id = request_id(proposal)
        if (there := self._read(id)) is not None:
            return there
        if len(self.pending()) >= MOST:
            raise RequestError(
                f"{MOST} requests wait already",
                where=str(self.folder),
                mend="decide on some: comity node requests list",
            )
        request = Request(
            id=id,
            job=proposal.job,
            submitter=proposal.submitter,
            dataset=proposal.dataset,
            source=proposal.source,
            parties=proposal.parties,
            bytes_up=proposal.bytes_up,
            asked=self._now(),
            lines=ruling.lines,
        )
        replace_file(self._text(id), explained.encode("utf-8", "replace"), mode=0o600)
        told = json.dumps({"manifest": json.dumps(proposal.manifest), "layout": layout})
        replace_file(self._job(id), told.encode("utf-8", "replace"), mode=0o600)
        self._write(id, request)
        return request

    def show(self, id: str) -> str:
        """A request with all that the owner needs to see before deciding. No character of it steers a terminal."""
        request = self.get(id)
        return visible(f"{request}\n{self._text(request.id).read_bytes().decode()}")

    def job(self, id: str) -> tuple[str, str]:
        """The manifest of a request's job and the layout of its model, as JSON; both are the server's word."""
        node = json.loads(self._job(self.get(id).id).read_bytes())
        return node["manifest"], node["layout"]

    def all(self) -> list[Request]:
        """Every request, the oldest first."""
        found = [self._read(name) for name in self._names(_ID)]
        return sorted(
            (request for request in found if request is not None), key=lambda request: (request.asked, request.id)
        )

    def pending(self) -> list[Request]:
        return [request for request in self.all() if request.state == "pending"]

    def get(self, id: str) -> Request:
        """The request whose id is or begins with `id`. Raises `RequestError` for none, and for several."""
        fits = [name for name in self._names(_ID) if id and name.startswith(id)]
        request = self._read(fits[0]) if len(fits) == 1 else None
        if request is None:
            what = f"{len(fits)} requests begin with {id!r}" if fits else f"no request {id!r}"
            raise RequestError(what, where=str(self.folder), mend="comity node requests list")
        return request

    def approve(self, id: str, *, who: str, why: str = "") -> Request:
        """Approve a request: its job on its data set, and the source that came with it. It can still be denied."""
        return self._decide(id, "approved", who, why)

    def deny(self, id: str, *, who: str, why: str = "") -> Request:
        """Deny a request, also one that was approved: what it granted ends with it."""
        return self._decide(id, "denied", who, why)

    def approve_digest(self, digest: str, kind: Literal["job", "source"], *, who: str, why: str = "") -> Approval:
        """Approve a job by its id on every data set that `[ask]` admits, or a source bundle in every job."""
        if len(digest) != _DIGEST or not _HEX.issuperset(digest):
            raise RequestError(f"{digest!r} is no digest", where="approval", mend="give all 64 hexadecimal digits")
        approval = Approval(digest, kind, Decision(who, self._now(), why))
        self._write(digest, approval)
        return approval

    def approvals(self) -> list[Approval]:
        """The decisions about digests, the oldest first."""
        nodes = [self._node(name) for name in self._names(_DIGEST)]
        found = [Approval(**{**node, "decision": Decision(**node["decision"])}) for node in nodes if node is not None]
        return sorted(found, key=lambda approval: (approval.decision.when, approval.digest))

    def withdraw(self, digest: str) -> None:
        """Take an approval of a digest back. Raises `RequestError` where there is none."""
        if digest not in self._names(_DIGEST):
            raise RequestError(f"{digest!r} is not approved", where=str(self.folder), mend="comity node requests list")
        (self.folder / f"{digest}.json").unlink()

    def approved(self) -> frozenset[str]:
        """What `judge` takes for approved: grants, job ids, and digests of source bundles."""
        granted = {approval.digest for approval in self.approvals()}
        for request in self.all():
            if request.state == "approved":
                granted.add(grant(request.job, request.dataset))
                granted |= set() if request.source is None else {request.source}
        return frozenset(granted)

    def _decide(self, id: str, state: State, who: str, why: str) -> Request:
        decided = replace(self.get(id), state=state, decision=Decision(who, self._now(), why))
        self._write(decided.id, decided)
        return decided

    def _text(self, id: str) -> Path:
        return self.folder / f"{id}.txt"

    def _job(self, id: str) -> Path:
        return self.folder / f"{id}.job.json"

    def _names(self, length: int) -> list[str]:
        files = self.folder.glob("*.json") if self.folder.is_dir() else ()
        return sorted(file.stem for file in files if len(file.stem) == length and _HEX.issuperset(file.stem))

    def _read(self, id: str) -> Request | None:
        node = self._node(id)
        if node is None:
            return None
        lines = tuple(Line(**line) for line in node["lines"])
        decision = None if node["decision"] is None else Decision(**node["decision"])
        return Request(**{**node, "lines": lines, "decision": decision})

    def _node(self, name: str) -> dict[str, Any] | None:
        path = self.folder / f"{name}.json"
        try:
            return dict(json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise RequestError(f"cannot be read: {error}", where=str(path), mend="move the file away") from None

    def _write(self, name: str, value: Request | Approval) -> None:
        text = json.dumps(asdict(value), indent=1)
        replace_file(self.folder / f"{name}.json", text.encode(), mode=0o600)


def visible(text: str) -> str:
    """The text without a character that steers a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


def request_id(proposal: Proposal) -> str:
    """16 hexadecimal digits that follow from the job, the data set and the source."""
    text = json.dumps([proposal.job, proposal.dataset, proposal.source])
    return hashlib.sha256(text.encode()).hexdigest()[:_ID]
