"""What Prometheus finds at a server: what its runs do, how it stands, and nobody's name."""

from __future__ import annotations

import asyncio
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

import comity as ct
from comity.demo.processes import Processes, free_port
from comity.server.metrics import Metrics
from comity.server.observed import Happening, SignatureRefused, Standing, StoreFailed
from comity.server.traffic import Traffic
from comity.store.errors import StorageFull, StoreError
from comity.wire.messages import Ask, Refused
from comity.wire.signature import Fault
from support.live import Live, serve, until
from support.parties import Clock, enrol, opened, parties, play, submit
from support.quadratic import Points, Quadratic

DATA = Points.random(6)
JOB = ct.Job(ct.FedAvg(Quadratic(), ct.LocalSGD(lr=0.1, epochs=1, batch_size=2)), ct.Rounds(count=2, cohort=4))
NAMES = re.compile(r"`(comity_\w+)")


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_a_run_is_counted_and_names_nobody(tmp_path: Path) -> None:
    metrics = Metrics()

    async def played() -> str:
        federation = opened(tmp_path, Clock(), observe=metrics.count)
        metrics.watch(federation.standing, federation.journal.run_states, metrics.count)
        enrol(federation, list(DATA.ids))
        run = (await submit(federation, JOB)).id
        assert value(metrics, "comity_leases_open") == 4
        assert value(metrics, "comity_runs", state="running") == 1
        refused = federation.run(run).coordinator.outstanding[0]
        federation.refuse(refused.party, run, refused.lease, Refused(reason="policy", detail="not here"))
        await play(federation, run, parties(federation, JOB, DATA))
        return run

    run = asyncio.run(played())
    assert value(metrics, "comity_runs_begun_total") == 1
    assert value(metrics, "comity_runs_ended_total", state="completed") == 1
    assert value(metrics, "comity_runs", state="completed") == 1
    assert value(metrics, "comity_leases_open") == 0
    assert value(metrics, "comity_parties_present") == 6
    assert value(metrics, "comity_round_seconds_count") == 2
    assert value(metrics, "comity_aggregation_seconds_count") == 2
    assert value(metrics, "comity_leases_ended_total", outcome="policy") == 1
    assert value(metrics, "comity_leases_ended_total", outcome="accepted") == 7
    text = generate_latest(metrics.registry).decode()
    assert not [name for name in (run, "researcher", "points", *DATA.ids) if f'"{name}"' in text]


def test_requests_that_are_held_open_are_seen_while_they_wait(tmp_path: Path) -> None:
    metrics = Metrics()

    async def played() -> list[tuple[float | None, float | None]]:
        federation = opened(tmp_path, Clock(), observe=metrics.count)
        metrics.watch(federation.standing, federation.journal.run_states, metrics.count)
        enrol(federation, list(DATA.ids))
        run = (await submit(federation, JOB)).id

        def waiting() -> tuple[float | None, float | None]:
            kinds = ("work", "rounds")
            work, rounds = (value(metrics, "comity_requests_waiting", kind=kind) for kind in kinds)
            return work, rounds

        idle = next(
            name for name in DATA.ids if name not in {a.party for a in federation.run(run).coordinator.outstanding}
        )
        found = [waiting()]
        polls = [
            asyncio.create_task(federation.work(idle, Ask(wait=60))),
            asyncio.create_task(federation.watch(run, 0, 60)),
        ]
        await asyncio.sleep(0)
        found.append(waiting())
        federation.bell.ring_all()
        await asyncio.gather(*polls)
        return [*found, waiting()]

    assert asyncio.run(played()) == [(0, 0), (1, 1), (0, 0)]


def test_faults_are_counted_by_their_kind_from_zero() -> None:
    metrics = Metrics()
    assert value(metrics, "comity_signatures_refused_total", reason="stale") == 0
    assert value(metrics, "comity_store_failures_total", kind="full") == 0
    metrics.count(SignatureRefused("GET", "/v1/nodes", "10.0.0.7", Fault.STALE))
    metrics.count(StoreFailed("a round", StorageFull("no space")))
    metrics.count(StoreFailed("a round", StoreError("gone")))
    assert value(metrics, "comity_signatures_refused_total", reason="stale") == 1
    assert value(metrics, "comity_store_failures_total", kind="full") == 1
    assert value(metrics, "comity_store_failures_total", kind="unavailable") == 1


def test_a_scrape_while_the_store_fails_tells_what_it_can() -> None:
    metrics, told = Metrics(), list[Happening]()

    def fails() -> Mapping[str, int]:
        raise StoreError("gone")

    metrics.watch(lambda: Standing(0, 0, 0, 0), fails, told.append)
    text = generate_latest(metrics.registry).decode()
    assert "comity_build_info" in text
    assert "comity_leases_open" not in text
    assert [type(one) for one in told] == [StoreFailed]


def test_two_replicas_in_one_process_share_nothing() -> None:
    one, other = Metrics(), Metrics()
    one.count(StoreFailed("a round", StoreError("gone")))
    assert value(other, "comity_store_failures_total", kind="unavailable") == 0


def test_the_operators_guide_explains_every_metric_and_no_other() -> None:
    metrics = Metrics()
    Traffic(lambda scope, receive, send: asyncio.sleep(0), metrics.registry)
    metrics.watch(lambda: Standing(0, 0, 0, 0), dict, metrics.count)
    found = {(family.name, family.type) for family in metrics.registry.collect() if family.name.startswith("comity_")}
    ending = {"counter": "_total", "info": "_info", "gauge": "", "histogram": ""}
    guide = (Path(__file__).resolve().parents[2] / "docs" / "operating.md").read_text()
    explained = {
        name for row in re.findall(r"^\| (`comity_.*?) \|", guide, re.MULTILINE) for name in NAMES.findall(row)
    }
    assert explained == {name + ending[kind] for name, kind in found}


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Live, str]]:
    """A server in a process, and where it is scraped."""
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("COMITY_SERVER_METRICS", address)
    with Processes(tmp_path) as processes:
        live = serve(tmp_path, processes)
        until(lambda: live.asks("nodes", "list").exit_code == 0)
        yield live, f"http://{address}/metrics"


def test_a_server_is_scraped_at_a_port_of_its_own(watched: tuple[Live, str]) -> None:
    live, url = watched
    assert live.asks("runs", "list").exit_code == 0
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    found = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["comity_requests_total", ("method", "GET"), ("route", "/v1/runs"), ("status", "200")] == 1
    assert found["comity_request_seconds_count", ("route", "/v1/runs")] == 1
    assert found["comity_sent_bytes_total", ("route", "/v1/runs")] > 0
    assert found[("process_resident_memory_bytes",)] > 1 << 20
    assert "operator" not in text
