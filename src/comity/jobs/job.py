"""A job: what is to be computed, frozen, checked when it is built, and named by its content."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from comity.aggregation.admission import Admission
from comity.aggregation.mean import Mean
from comity.coordination.buffered import Buffered
from comity.coordination.synchronous import Rounds
from comity.core import manifest
from comity.core.contribution import Exchange
from comity.core.errors import ManifestError
from comity.core.manifest import Json
from comity.core.seeds import Seed
from comity.jobs.checks import check
from comity.jobs.explain import Explanation, explain
from comity.jobs.private import protected
from comity.jobs.stopping import EarlyStopping
from comity.learners.plan import LocalPlan
from comity.programs.base import AnyProgram
from comity.transforms.chain import Chain, Link, as_chain, extended


@dataclass(frozen=True)
class Job:
    """A program, how contributions become one, a round policy and a seed; it knows nothing of where it runs.

    `evaluate_every` is the number of rounds between evaluations on the federation's common test set, where it has
    one. Parts that contradict each other raise `ConfigError` here, with the mend in the message.
    """

    program: AnyProgram
    rounds: Rounds | Buffered
    aggregator: Link = Mean()
    admission: Admission = Admission()
    stop: EarlyStopping | None = None
    evaluate_every: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check(self)

    @property
    def chain(self) -> Chain:
        return as_chain(self.aggregator)

    @cached_property
    def exchange(self) -> Exchange:
        """All that is moved: what the program declares, and what the chain adds."""
        return extended(self.chain, self.program.exchange())

    @cached_property
    def root_seed(self) -> Seed:
        return Seed.of(self.seed)

    @cached_property
    def id(self) -> str:
        """SHA-256 of the canonical manifest, in hexadecimal: two jobs are one exactly if their ids are equal."""
        return manifest.digest(self.manifest())

    def manifest(self) -> Json:
        """The job as JSON: everything that determines its result, and nothing about where it runs."""
        return {"comity": manifest.VERSION, "job": manifest.encode(self)}

    def to_json(self) -> str:
        """The canonical text of the manifest."""
        return manifest.canonical(self.manifest())

    @classmethod
    def from_json(cls, text: str, objects: Iterable[Any] = (), stand_ins: Mapping[str, Any] | None = None) -> Job:
        """The job that a manifest describes.

        `objects` are the classes, functions and arrays of the user's own that it refers to; each must be the very one
        that the manifest pins by digest. `stand_ins` go in the places that they name (a server puts a described model
        at `job.program.model`). Nothing is imported or run because a manifest asks for it, but the constructors of
        frozen dataclasses. Raises `ManifestError`, or `ConfigError` as building the job would.
        """
        node = manifest.parse(text)
        if not isinstance(node, dict) or node.get("comity") != manifest.VERSION or "job" not in node:
            raise ManifestError(f"this is no manifest of version {manifest.VERSION}", where="manifest")
        job = manifest.decode(node["job"], objects, stand_ins=stand_ins)
        if not isinstance(job, cls):
            raise ManifestError("the manifest describes something other than a job", where="manifest")
        return job

    def explain(self) -> Explanation:
        """One line for every value that leaves a party: what it is, its size, who can read it, and what it costs."""
        plan = getattr(self.program, "local", None)
        explanation = explain(
            self.program.model, self.exchange, self.chain, plan if isinstance(plan, LocalPlan) else None
        )
        return protected(self, explanation)
