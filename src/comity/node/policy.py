"""The owner's policy: which jobs may run on which data. What no rule allows is refused, and every line says why.

A policy is a file, `policy.toml`, that only the owner writes. It has `[[allow]]` tables, each of which allows the jobs
that satisfy all of its lines, and at most one `[ask]` table, which says what may wait for the owner's own decision.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from comity.core import tables
from comity.core.errors import ConfigError, ManifestError
from comity.node.starter import starter as starter
from comity.node.terms import Terms, read_policy

Verdict: TypeAlias = Literal["allowed", "denied", "asks"]

SECURE_SUMS = frozenset({"SecureSum", "SecureMean", "GroupedSecureSum"})
NOISE = frozenset({"GaussianNoise", "CorrelatedNoise", "DiscreteGaussian", "Skellam", "LocalNoise"})

_JOB_FIELDS = frozenset({"program", "rounds", "aggregator", "admission", "stop", "evaluate_every", "seed"})
_NOTHING = object()
_SHOWN = 80
_DEEPEST = 64


@dataclass(frozen=True)
class Policy:
    """A policy as it was read; one without tables refuses everything."""

    allow: tuple[Terms, ...] = ()
    ask: Terms | None = None
    file: str = "policy.toml"
    exists: bool = True

    @classmethod
    def load(cls, path: Path) -> Policy:
        """Read a policy file; one that is not there denies everything.

        Raises `ConfigError` with the file, the table, the key and the mend where it is malformed. A node then has no
        policy, and must run nothing.
        """
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return cls(file=str(path), exists=False)
        except OSError as error:
            what = f"cannot be read: {error.strerror}"
            raise ConfigError(what, where=str(path), mend="let the node read it") from None
        return cls(*read_policy(tables.parse(content, str(path)), str(path)), file=str(path))


@dataclass(frozen=True)
class Proposal:
    """What a node is asked to take part in, with what it knows of its own data.

    `job` is the digest of the manifest, which is given parsed; `rows` and `columns` are those of `dataset` that would
    be read; `parties` are those that take part in the run. `source` is the digest of the source bundle, None where
    nothing beyond Comity is needed. `bytes_up` leave in one round; `rounds_today` were done on the data set today.
    """

    job: str
    manifest: Any
    submitter: str
    dataset: str
    rows: int
    columns: tuple[str, ...]
    parties: int
    source: str | None
    bytes_up: int
    rounds_today: int = 0

    @property
    def grant(self) -> str:
        """What an owner who approves of this job here adds to what is approved: the job, on this data set."""
        return grant(self.job, self.dataset)


def read_manifest(text: str, job: str) -> Any:
    """The manifest of the job with the id `job`, parsed; without the libraries that building the job takes.

    Raises `ManifestError` for a text that is not the canonical one of this job, or is nested as no job is: what a
    policy judges must be exactly what is going to run, whoever reads it.
    """
    try:
        node = json.loads(text)
        canonical = json.dumps(node, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        same = canonical == text and hashlib.sha256(text.encode()).hexdigest() == job
        fits = same and _nested_within(node, _DEEPEST)
    except (ValueError, RecursionError):
        fits = False
    if not fits:
        mend = "submit the text of Job.to_json, unchanged"
        raise ManifestError("the manifest is not the one of this job", where=f"job {job[:12]}…", mend=mend)
    return node


def grant(job: str, dataset: str) -> str:
    """The approval of a job on one data set, as a text for `judge`."""
    return f"{job} on {dataset}"


@dataclass(frozen=True)
class Line:
    """One rule: what the policy wants, what the proposal has, and whether that is good."""

    rule: str
    wanted: str
    found: str
    ok: bool

    def __str__(self) -> str:
        return f"{'yes' if self.ok else 'NO '}  {self.rule}: wanted {self.wanted}; found {self.found}"


@dataclass(frozen=True)
class Caps:
    """What the execution of an allowed task is held to; None: unbounded."""

    seconds: float | None = None
    memory_mb: int | None = None
    bytes_up: int | None = None
    rounds_per_day: int | None = None


@dataclass(frozen=True)
class Ruling:
    """The verdict, and every line that led to it: of the table that allowed it, or of all that did not.

    The lines are for the owner. What a server is told is `reason`, which gives away nothing about the data.
    """

    verdict: Verdict
    lines: tuple[Line, ...]
    caps: Caps = Caps()

    @property
    def reason(self) -> str:
        """The verdict in one sentence: rules by name, no values."""
        if self.verdict == "allowed":
            return "the owner's policy allows it"
        if self.verdict == "asks":
            return "the owner has not decided about it yet"
        rules = ", ".join(dict.fromkeys(line.rule.rpartition(".")[2] for line in self.lines if not line.ok))
        return f"the owner's policy does not allow it ({rules})"

    def __str__(self) -> str:
        return "\n".join([*map(str, self.lines), self.verdict])


def judge(policy: Policy, proposal: Proposal, approved: frozenset[str] = frozenset()) -> Ruling:
    """The verdict of a policy about a proposal.

    `approved` holds the owner's own decisions: digests of source bundles, job ids (on any data set that `[ask]`
    names), and `Proposal.grant`s (one job on one data set). An approved job still has to satisfy every line of `[ask]`.
    """
    refused: list[Line] = []
    for terms in policy.allow:
        lines = tuple(_lines(terms, proposal, approved))
        if all(line.ok for line in lines):
            return Ruling("allowed", lines, _caps(terms))
        refused += lines
    if not policy.exists:
        mend = "no such file: everything is refused; `comity node policy starter` prints one to begin with"
        return Ruling("denied", (Line(policy.file, "a policy", mend, False),))
    if not policy.allow and policy.ask is None:
        return Ruling("denied", (Line(policy.file, "an [[allow]] table", "none, so everything is refused", False),))
    if policy.ask is None:
        return Ruling("denied", tuple(refused))
    return _ask(policy.ask, proposal, approved, refused)


def _ask(terms: Terms, proposal: Proposal, approved: frozenset[str], refused: list[Line]) -> Ruling:
    lines = tuple(_lines(terms, proposal, None))
    if not all(line.ok for line in lines):
        return Ruling("denied", (*refused, *lines))
    job = not approved.isdisjoint({proposal.job, proposal.grant})
    source = proposal.source is None or proposal.source in approved
    decided = [Line("ask.job", "your approval of the job", "approved" if job else "none yet", job)]
    if proposal.source is not None:
        found = f"{proposal.source[:12]}…, {'approved' if source else 'not approved yet'}"
        decided.append(Line("ask.source", "your approval of its source", found, source))
    if job and source:
        return Ruling("allowed", (*lines, *decided), _caps(terms))
    return Ruling("asks", (*refused, *lines, *decided))


def _caps(terms: Terms) -> Caps:
    return Caps(terms.seconds, terms.memory_mb, terms.bytes_up, terms.rounds_per_day)


def _lines(terms: Terms, proposal: Proposal, approved: frozenset[str] | None) -> Iterator[Line]:
    """The lines of one table. With `approved` None, whether a source is approved is left to who asks."""
    where = terms.where if terms.name is None else f"{terms.where} {_shown(terms.name)}"
    for rule, wanted, found, ok in (
        *_about_job(terms, proposal),
        *_about_source(terms, proposal, approved),
        *_about_data(terms, proposal),
        *_about_caps(terms, proposal),
    ):
        yield Line(f"{where}.{rule}", wanted, found, ok)


Row: TypeAlias = tuple[str, str, str, bool]


def _about_job(terms: Terms, proposal: Proposal) -> Iterator[Row]:
    program = _at(proposal.manifest, ("job", "program"))
    if terms.jobs is not None:
        yield "jobs", _some(f"{job[:12]}…" for job in terms.jobs), f"{proposal.job[:12]}…", proposal.job in terms.jobs
    if terms.programs is not None:
        name = _name(program)
        yield "program", _some(terms.programs), _shown(name), name in terms.programs
    for path, condition in (terms.conditions or {}).items():
        value = _named(_at(proposal.manifest, _path(path)))
        yield f'"{path}"', str(condition), _shown(value), condition.admits(value)
    if terms.submitters is not None:
        ok = proposal.submitter in terms.submitters
        yield "submitters", _some(terms.submitters), _shown(proposal.submitter), ok
    chain = _chain(proposal.manifest)
    if terms.secure_sum:
        yield "secure_sum", "a secure sum", " >> ".join(map(_shown, chain)), not SECURE_SUMS.isdisjoint(chain)
    if terms.dp:
        yield "dp", "differential privacy", " >> ".join(map(_shown, chain)), not NOISE.isdisjoint(chain)


def _about_source(terms: Terms, proposal: Proposal, approved: frozenset[str] | None) -> Iterator[Row]:
    if proposal.source is None:
        yield "source", "none" if terms.source == "none" else "none, or an approved one", "none", True
    elif terms.source == "none":
        yield "source", "none: nothing but Comity's own code", f"{proposal.source[:12]}…", False
    elif approved is not None:
        ok = proposal.source in approved
        found = f"{proposal.source[:12]}…, {'approved' if ok else 'not approved'}"
        yield "source", "one that you have approved", found, ok


def _about_data(terms: Terms, proposal: Proposal) -> Iterator[Row]:
    if terms.datasets is not None:
        yield "datasets", _some(terms.datasets), _shown(proposal.dataset), proposal.dataset in terms.datasets
    if terms.columns is not None:
        beyond = [column for column in proposal.columns if column not in terms.columns]
        found = f"also {_some(beyond)}" if beyond else f"{len(proposal.columns)} of these"
        yield "columns", f"none but {_some(terms.columns)}", found, not beyond
    if terms.min_parties is not None:
        ok = proposal.parties >= terms.min_parties
        yield "min_parties", f"at least {terms.min_parties:,}", f"{proposal.parties:,}", ok
        yield from _cohort(terms.min_parties, proposal)
    if terms.min_rows is not None:
        yield "min_rows", f"at least {terms.min_rows:,}", f"{proposal.rows:,}", proposal.rows >= terms.min_rows


def _cohort(least: int, proposal: Proposal) -> Iterator[Row]:
    """A run of many parties may still ask few of them in a round; who closes a round early is `"rounds.quorum"`."""
    for key, what in (("cohort", "in a round"), ("buffer", "in an update")):
        value = _at(proposal.manifest, ("job", "rounds", key))
        if isinstance(value, int) and not isinstance(value, bool):
            yield "min_parties", f"at least {least:,} {what}", _shown(value), value >= least


def _about_caps(terms: Terms, proposal: Proposal) -> Iterator[Row]:
    if terms.bytes_up is not None:
        ok = proposal.bytes_up <= terms.bytes_up
        yield "bytes_up", f"at most {terms.bytes_up:,} bytes in a round", f"{proposal.bytes_up:,}", ok
    if terms.rounds_per_day is not None:
        ok = proposal.rounds_today < terms.rounds_per_day
        yield "rounds_per_day", f"at most {terms.rounds_per_day:,}", f"{proposal.rounds_today:,} done today", ok
    if terms.seconds is not None:
        yield "seconds", f"at most {terms.seconds:g} s for a task", "held to it while it runs", True
    if terms.memory_mb is not None:
        yield "memory_mb", f"at most {terms.memory_mb:,} MB", "held to it while it runs", True


def _path(path: str) -> tuple[str, ...]:
    """A dotted path from the top of a manifest: it begins at a field of the job, or else at one of its program."""
    parts = tuple(path.split("."))
    return ("job", *parts) if parts[0] in _JOB_FIELDS else ("job", "program", *parts)


def _at(node: Any, path: Iterable[str]) -> Any:
    """What a manifest has at `path`; the fields of a user's own part are below its key `fields`."""
    for part in path:
        inner = node.get("fields") if isinstance(node, Mapping) and "ref" in node else node
        if not isinstance(inner, Mapping) or part not in inner:
            return _NOTHING
        node = inner[part]
    return node


def _named(node: Any) -> Any:
    """A value of a manifest as conditions see it: a part is its class name, everything else is itself."""
    return _name(node) if isinstance(node, Mapping) and ("is" in node or "ref" in node) else node


def _name(node: Any) -> str:
    """The class of a part: `FedAvg` for one of Comity's own, `own:FedAvg` for a user's, whatever it calls itself."""
    name = (node.get("ref") or node.get("is")) if isinstance(node, Mapping) else None
    if not isinstance(name, str):
        return "nothing"
    module, _, own = name.partition(":")
    return own if "ref" not in node and module.startswith("comity.") else f"own:{name}"


def _chain(manifest: Any) -> list[str]:
    aggregator = _at(manifest, ("job", "aggregator"))
    parts = _at(aggregator, ("parts",)) if _name(aggregator) == "Chain" else [aggregator]
    return [_name(part) for part in parts] if isinstance(parts, list) else ["nothing"]


def _some(values: Iterable[str]) -> str:
    return " or ".join(_shown(value) for value in values)


def _shown(value: Any) -> str:
    """A value for the owner's eyes: others chose it, so no control characters, and no more than a line of it."""
    if value is _NOTHING or isinstance(value, Mapping | list):
        return "nothing there" if value is _NOTHING else f"a {'list' if isinstance(value, list) else 'mapping'}"
    text = value if isinstance(value, str) and value.isprintable() else json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _nested_within(node: Any, most: int) -> bool:
    """Whether JSON is nested at most `most` deep."""
    level = [node]
    for _ in range(most):
        held = [item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)]
        level = [inner for items in held for inner in items]
    return not any(isinstance(item, dict | list) for item in level)
