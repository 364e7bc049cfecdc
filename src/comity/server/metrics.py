"""What an operator watches of one replica, for Prometheus: a registry of its own, and how happenings change it.

No party, member, run or address is a label: the number of series does not grow with what a server does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

import comity
from comity.core.errors import Reason
from comity.server.observed import (
    Aggregated,
    Happening,
    LeaseEnded,
    Observe,
    RoundAbandoned,
    RoundClosed,
    RunBegun,
    RunEnded,
    SignatureRefused,
    Standing,
    StoreFailed,
)
from comity.store.errors import StorageFull, StoreError
from comity.wire.signature import Fault

_ROUND = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_AGGREGATION = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_ENDINGS = ("completed", "stopped", "failed")
_OUTCOMES = ("accepted", "released", *Reason)
_FAILURES = ("full", "unavailable")


class Metrics:
    """The registry, and what happenings change in it: pass `count` to whatever is to be observed."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._begun = Counter("comity_runs_begun", "Runs submitted.", registry=registry)
        self._ended = self._counter("comity_runs_ended", "Runs that are over, by how.", "state", _ENDINGS)
        self._abandoned = Counter("comity_rounds_abandoned", "Attempts that came to nothing.", registry=registry)
        self._rounds = Histogram(
            "comity_round_seconds",
            "Rounds that are part of a model, by the time since the one before.",
            buckets=_ROUND,
            registry=registry,
        )
        self._leases = self._counter(
            "comity_leases_ended", "Parts in rounds that are over, by what became of them.", "outcome", _OUTCOMES
        )
        self._aggregations = Histogram(
            "comity_aggregation_seconds",
            "Models made here, by the time from their contributions to a stored model.",
            buckets=_AGGREGATION,
            registry=registry,
        )
        self._signatures = self._counter(
            "comity_signatures_refused", "Requests that no member had signed, by what was wrong.", "reason", list(Fault)
        )
        self._failures = self._counter(
            "comity_store_failures", "Failures of the database or of the storage of models.", "kind", _FAILURES
        )

    def _counter(self, name: str, help: str, label: str, values: Iterable[str]) -> Counter:
        """A counter whose series are all there from the start: a rate needs the 0 before the first 1."""
        counter = Counter(name, help, [label], registry=self.registry)
        for value in values:
            counter.labels(value)
        return counter

    def count(self, happening: Happening) -> None:
        match happening:
            case RunBegun():
                self._begun.inc()
            case RunEnded():
                self._ended.labels(happening.state).inc()
            case RoundClosed():
                self._rounds.observe(happening.seconds)
            case RoundAbandoned():
                self._abandoned.inc()
            case LeaseEnded():
                self._leases.labels(happening.outcome).inc()
            case Aggregated():
                self._aggregations.observe(happening.seconds)
            case SignatureRefused():
                self._signatures.labels(happening.fault.value).inc()
            case StoreFailed():
                self._failures.labels("full" if isinstance(happening.error, StorageFull) else "unavailable").inc()
            case _:
                pass

    def watch(self, standing: Callable[[], Standing], runs: Callable[[], Mapping[str, int]], observe: Observe) -> None:
        """Look at a replica when it is scraped: how it stands, and its runs by state. `observe` is told of failures."""
        self.registry.register(_Looking(standing, runs, observe))


class _Looking(Collector):
    """Looks when it is asked, and otherwise costs nothing."""

    def __init__(
        self, standing: Callable[[], Standing], runs: Callable[[], Mapping[str, int]], observe: Observe
    ) -> None:
        self._standing, self._runs, self._observe = standing, runs, observe

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("comity_build", "The version of Comity.", {"version": comity.__version__})
        try:
            runs, standing = self._runs(), self._standing()
        except StoreError as error:
            # A scrape says what can be said: that the store fails is a figure, too.
            self._observe(StoreFailed("a scrape", error))
            return
        found = GaugeMetricFamily("comity_runs", "Runs in the journal, by state.", labels=["state"])
        for state, count in runs.items():
            found.add_metric([state], count)
        yield found
        yield GaugeMetricFamily("comity_leases_open", "Parts in rounds that parties work on.", standing.leases)
        yield GaugeMetricFamily("comity_parties_present", "Parties heard of lately.", standing.parties)
        waiting = GaugeMetricFamily(
            "comity_requests_waiting", "Requests held open until something happens.", labels=["kind"]
        )
        waiting.add_metric(["work"], standing.asking)
        waiting.add_metric(["rounds"], standing.watching)
        yield waiting
