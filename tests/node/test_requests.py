"""Requests: jobs wait, their owner decides, and what was decided is still so after a restart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from comity.core.errors import ConfigError
from comity.node.days import DayCounter
from comity.node.policy import Policy, Proposal, Ruling, judge
from comity.node.requests import RequestError, Requests
from comity.node.terms import read_policy

SOURCE = "5" * 64
ASKED = Proposal(
    job="1" * 64,
    manifest={"job": {}},
    submitter="analyst",
    dataset="hearts",
    rows=10,
    columns=("age", "ill"),
    parties=4,
    source=SOURCE,
    bytes_up=4000,
)
POLICY = Policy(*read_policy({"ask": {"min_rows": 5}}, "policy.toml"))


@pytest.fixture
def requests(tmp_path: Path) -> Requests:
    return Requests(tmp_path, now=iter(range(100, 10_000)).__next__)


def ruling(requests: Requests, proposal: Proposal = ASKED) -> Ruling:
    return judge(POLICY, proposal, requests.approved())


def ask(requests: Requests, proposal: Proposal = ASKED) -> str:
    return requests.ask(proposal, ruling(requests, proposal), "What leaves: everything").id


def test_a_request_shows_what_the_owner_needs(requests: Requests) -> None:
    shown = requests.show(ask(requests)[:8])
    for needed in (
        ASKED.job,
        SOURCE,
        "analyst",
        "hearts",
        "4 parties",
        "min_rows",
        "What leaves: everything",
        "pending",
    ):
        assert needed in shown


def test_what_others_wrote_does_not_steer_the_owners_terminal(requests: Requests) -> None:
    told = "model.py:\n\tclass Net:\x1b[2J\r\u202e \ud800"
    id = requests.ask(ASKED, ruling(requests), told).id
    assert "model.py:\n\tclass Net:\\x1b[2J\\x0d\\x202e ?" in requests.show(id)


def test_a_job_that_asks_again_is_the_same_request(requests: Requests) -> None:
    first = ask(requests)
    assert ask(requests) == first
    assert [request.id for request in requests.pending()] == [first]
    assert requests.get(first).asked == 100


@pytest.mark.parametrize("change", [{"job": "2" * 64}, {"dataset": "lungs"}, {"source": None}, {"source": "6" * 64}])
def test_another_job_data_set_or_source_is_another_request(requests: Requests, change: dict[str, str | None]) -> None:
    assert ask(requests, replace(ASKED, **change)) != ask(requests)  # type: ignore[arg-type]
    assert len(requests.pending()) == 2


def test_an_approval_lets_the_job_run_on_its_data_set_with_its_source(requests: Requests) -> None:
    id = ask(requests)
    assert ruling(requests).verdict == "asks"
    approved = requests.approve(id, who="hospital", why="read it")
    assert approved.decision is not None
    assert (approved.decision.who, approved.decision.when, approved.decision.why) == ("hospital", 101, "read it")
    assert ruling(requests).verdict == "allowed"
    assert ruling(requests, replace(ASKED, dataset="lungs")).verdict == "asks"
    assert ruling(requests, replace(ASKED, source="6" * 64)).verdict == "asks"
    assert ruling(requests, replace(ASKED, rows=4)).verdict == "denied"


def test_a_denial_is_kept_and_ends_an_approval(requests: Requests) -> None:
    id = ask(requests)
    requests.approve(id, who="hospital")
    requests.deny(id, who="hospital", why="not any more")
    assert ruling(requests).verdict == "asks"
    assert requests.ask(ASKED, ruling(requests), "").state == "denied"
    assert requests.pending() == []
    assert "not any more" in requests.show(id)


def test_decisions_outlive_the_process(requests: Requests, tmp_path: Path) -> None:
    id = ask(requests)
    requests.approve(id, who="hospital", why="é\n\x00")
    again = Requests(tmp_path, now=lambda: 0.0)
    assert again.get(id) == requests.get(id)
    assert ruling(again).verdict == "allowed"


def test_a_request_is_found_by_the_beginning_of_its_id(requests: Requests) -> None:
    id = ask(requests)
    assert requests.get(id[:6]).id == id
    for wrong in ("", "zz", "../" + id, id + "0"):
        with pytest.raises(RequestError, match="no request"):
            requests.get(wrong)


def test_an_ambiguous_beginning_is_an_error(requests: Requests) -> None:
    ids = [ask(requests, replace(ASKED, job=f"{n:064x}")) for n in range(17)]
    first = next(id[0] for id in ids if sum(other[0] == id[0] for other in ids) > 1)
    with pytest.raises(RequestError, match="requests begin with"):
        requests.approve(first, who="hospital")
    assert all(request.state == "pending" for request in requests.all())


def test_jobs_and_sources_can_be_approved_before_they_ask(requests: Requests) -> None:
    requests.approve_digest(SOURCE, "source", who="hospital", why="reviewed")
    assert ruling(requests).verdict == "asks"
    requests.approve_digest(ASKED.job, "job", who="hospital")
    assert ruling(requests).verdict == "allowed"
    assert [(approval.digest, approval.kind) for approval in requests.approvals()] == [
        (SOURCE, "source"),
        (ASKED.job, "job"),
    ]
    requests.withdraw(SOURCE)
    assert ruling(requests).verdict == "asks"
    with pytest.raises(RequestError):
        requests.withdraw(SOURCE)


@pytest.mark.parametrize("digest", ["", "abc", "../" * 22, "A" * 64, "0" * 65])
def test_only_digests_are_approved(requests: Requests, digest: str) -> None:
    with pytest.raises(RequestError, match="no digest"):
        requests.approve_digest(digest, "source", who="hospital")


def test_a_flood_of_jobs_fills_no_disk(requests: Requests, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comity.node.requests.MOST", 8)
    for number in range(8):
        ask(requests, replace(ASKED, job=f"{number:064x}"))
    with pytest.raises(RequestError, match="wait already"):
        ask(requests)
    requests.deny(requests.pending()[0].id, who="hospital")
    ask(requests)


def test_other_files_are_no_requests(requests: Requests) -> None:
    id = ask(requests)
    (requests.folder / "notes.json").write_text("{}")
    (requests.folder / f".{id}.json.draft").write_text("{")
    assert [request.id for request in requests.all()] == [id]


def test_a_damaged_request_is_an_error_that_names_the_file(requests: Requests) -> None:
    id = ask(requests)
    (requests.folder / f"{id}.json").write_text("{")
    with pytest.raises(RequestError, match="cannot be read") as raised:
        requests.approved()
    assert id in raised.value.where


class TestDays:
    """The rounds of a day."""

    def test_rounds_are_counted_by_data_set_and_day(self, tmp_path: Path) -> None:
        clock = [86_400.0 * 20_000]
        counter = DayCounter(tmp_path, now=lambda: clock[0])
        assert counter.today("hearts") == 0
        assert [counter.count("hearts"), counter.count("hearts"), counter.count("lungs")] == [1, 2, 1]
        assert DayCounter(tmp_path, now=lambda: clock[0]).today("hearts") == 2
        clock[0] += 86_399
        assert counter.today("hearts") == 2
        clock[0] += 1
        assert counter.today("hearts") == 0
        assert counter.count("hearts") == 1

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"day": "2024-10-04", "rounds": {"hearts": "x"}}'])
    def test_a_count_that_cannot_be_read_is_an_error_and_not_nought(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "rounds.json").write_text(text)
        with pytest.raises(ConfigError, match="count"):
            DayCounter(tmp_path, now=lambda: 86_400.0 * 20_000).today("hearts")
