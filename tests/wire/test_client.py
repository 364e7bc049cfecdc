"""Sessions: calls are repeated with patience and signed anew, transfers go on after a cut, and nothing false is kept.

The server is a `Transport` that keeps parts and fails as it is told to; time is virtual.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from comity.identity.keys import SigningKey
from comity.wire import client, digests
from comity.wire.bodies import BodyError, parse
from comity.wire.client import ProblemError, Session, TransferError
from comity.wire.digests import DigestError, blob_of, sha256
from comity.wire.messages import About, Blob, PartList, Problem, Verdict
from comity.wire.signature import SignatureError, read
from comity.wire.transport import Request, Response, TransportError, TrustError
from support.virtual_time import elapsed, run_virtually

KEY = SigningKey.new()
EPOCH = 1_750_000_000.0
PART = 8
DATA = bytes(range(45))


@pytest.fixture(autouse=True)
def _short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 8 bytes, so that a few bytes are many parts."""
    monkeypatch.setattr(client, "PART_BYTES", PART)
    monkeypatch.setattr(digests, "PART_BYTES", PART)


class Server:
    """Checks every signature and nonce, keeps parts, and serves `DATA` at /blob.

    `faults` are used up one a request: an error is raised in place of an answer, a response is the answer.
    """

    def __init__(self, *faults: Exception | Response | None, skew: float = 0.0, data: bytes = DATA) -> None:
        self.faults = list(faults)
        self.skew = skew
        self.parts: dict[str, bytes] = {}
        self.data = data
        self.seen: list[str] = []
        self.nonces: set[str] = set()
        self.spoil: Callable[[int, bytes], bytes] = lambda number, part: part

    def now(self) -> float:
        return EPOCH + elapsed() + self.skew

    async def send(self, request: Request, *, timeout: float) -> Response:
        if request.path == "/v1/about":
            about = About(deployment="d", version="1", time=self.now(), authority="", registrar=KEY.public)
            return Response(200, {}, about.model_dump_json().encode())
        self.seen.append(f"{request.method} {request.target}")
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, Exception):
            raise fault
        if isinstance(fault, Response):
            return fault
        try:
            signed = read(request, "d", self.now(), lambda keyid: KEY.public if keyid == KEY.id else None)
        except SignatureError:
            return problem(401)
        assert signed.nonce not in self.nonces
        self.nonces.add(signed.nonce)
        return self.answer(request)

    def answer(self, request: Request) -> Response:
        if request.path == "/v1/parts/missing":
            asked = parse(PartList, request.body, 1 << 16)
            missing = PartList(digests=tuple(digest for digest in asked.digests if digest not in self.parts))
            return Response(200, {}, missing.model_dump_json().encode())
        if request.method == "PUT":
            digest = request.path.rpartition("/")[2]
            assert sha256(request.body) == digest
            self.parts[digest] = request.body
            return Response(204)
        if request.path == "/blob":
            number = int(request.query["part"])
            return Response(200, {}, self.spoil(number, self.data[PART * number : PART * (number + 1)]))
        return Response(200, {}, Verdict(accepted=True).model_dump_json().encode())

    async def close(self) -> None:
        self.seen.append("closed")


def problem(status: int, **headers: str) -> Response:
    words = Problem(title="no", detail=f"because {status}", where="there", mend="do that")
    return Response(
        status, {name.replace("_", "-"): v for name, v in headers.items()}, words.model_dump_json().encode()
    )


def token(size: int) -> bytes:
    """Nonces that differ, and pauses in the middle of their range."""
    return b"\x7f" if size == 1 else os.urandom(size)


def session(server: Server, patience: float = 60.0) -> Session:
    return Session(server, KEY, "d", lambda: EPOCH + elapsed(), token, patience)


async def ask(server: Server, patience: float = 60.0) -> Verdict | None:
    return await session(server, patience).call("POST", "/v1/thing", Verdict(accepted=True), Verdict)


LOST = TransportError("lost")


class TestCalls:
    def test_a_message_goes_and_a_message_comes(self) -> None:
        assert run_virtually(ask(Server())) == Verdict(accepted=True)

    def test_nothing_is_expected_where_nothing_comes(self) -> None:
        assert run_virtually(session(Server()).call("DELETE", "/v1/thing", query={"a": "b c"})) is None

    def test_lost_answers_and_busy_servers_are_asked_again_and_signed_anew(self) -> None:
        server = Server(LOST, problem(503), problem(429), LOST, problem(507), problem(502))
        assert run_virtually(ask(server)) == Verdict(accepted=True)
        assert len(server.seen) == 7

    def test_an_answer_that_was_lost_after_the_server_had_it_is_asked_for_again(self) -> None:
        """The second request has a nonce of its own, so it is no replay."""

        class Forgetful(Server):
            async def send(self, request: Request, *, timeout: float) -> Response:
                answer = await super().send(request, timeout=timeout)
                if len(self.seen) == 1:
                    raise LOST
                return answer

        server = Forgetful()
        assert run_virtually(ask(server)) == Verdict(accepted=True)
        assert len(server.nonces) == 2

    def test_patience_ends(self) -> None:
        async def patient() -> float:
            with pytest.raises(TransportError, match="lost"):
                await ask(Server(*[LOST] * 100), patience=20.0)
            return elapsed()

        assert 5.0 < run_virtually(patient()) <= 20.0

    def test_pauses_grow_so_that_a_dead_server_is_not_hammered(self) -> None:
        server = Server(*[LOST] * 1000)
        with pytest.raises(TransportError):
            run_virtually(ask(server, patience=600.0))
        assert len(server.seen) < 60

    def test_the_server_may_name_the_pause(self) -> None:
        async def waited() -> float:
            await ask(Server(problem(429, retry_after="30")))
            return elapsed()

        assert run_virtually(waited()) == 30.0

    @pytest.mark.parametrize("text", ["-1", "1e9", "nan", "tomorrow", "999999999999", "²"])
    def test_a_pause_that_makes_no_sense_is_not_kept(self, text: str) -> None:
        async def waited() -> float:
            await ask(Server(problem(503, retry_after=text)))
            return elapsed()

        assert run_virtually(waited()) < 1.0

    @pytest.mark.parametrize("status", [400, 403, 404, 409, 413, 422, 500])
    def test_what_is_refused_is_not_asked_again(self, status: int) -> None:
        server = Server(problem(status))
        with pytest.raises(ProblemError, match=f"because {status}") as caught:
            run_virtually(ask(server))
        assert (caught.value.status, caught.value.where, caught.value.mend) == (status, "there", "do that")
        assert len(server.seen) == 1

    def test_a_server_that_is_not_the_one_is_not_asked_again(self) -> None:
        server = Server(TrustError("another certificate"))
        with pytest.raises(TrustError):
            run_virtually(ask(server))
        assert len(server.seen) == 1

    @pytest.mark.parametrize("body", [b"", b"<html>Bad Gateway</html>", b"[" * 10**5, b"x" * 10**6])
    def test_somebody_elses_error_page_is_a_problem_too(self, body: bytes) -> None:
        with pytest.raises(ProblemError, match="404"):
            run_virtually(ask(Server(Response(404, {}, body))))

    def test_a_redirect_is_not_followed(self) -> None:
        with pytest.raises(ProblemError, match="302"):
            run_virtually(ask(Server(Response(302, {"location": "https://elsewhere/"}))))

    def test_an_answer_that_is_not_the_message_is_refused(self) -> None:
        with pytest.raises(BodyError):
            run_virtually(ask(Server(Response(200, {}, b'{"accepted":1}'))))


class TestClocks:
    @pytest.mark.parametrize("skew", [-200.0, 200.0])
    def test_a_clock_that_is_minutes_off_is_corrected_by_the_servers(self, skew: float) -> None:
        server = Server(skew=skew)

        async def twice() -> None:
            member = session(server)
            await member.call("GET", "/v1/thing")
            await member.call("GET", "/v1/thing")

        run_virtually(twice())
        assert len(server.seen) == 3

    def test_no_server_can_make_a_member_sign_for_a_distant_day(self) -> None:
        server = Server(skew=86400.0)
        with pytest.raises(ProblemError) as caught:
            run_virtually(ask(server))
        assert caught.value.status == 401
        assert len(server.seen) == 3

    def test_a_stranger_is_told_so_soon(self) -> None:
        server = Server(*[problem(401)] * 50)
        with pytest.raises(ProblemError):
            run_virtually(ask(server))
        assert len(server.seen) == 3

    def test_a_server_that_has_just_started_is_asked_again_in_another_second(self) -> None:
        async def started() -> float:
            await ask(Server(problem(401), problem(401)))
            return elapsed()

        assert run_virtually(started()) > 1.0


class TestUpload:
    def test_all_parts_arrive_from_bytes_and_from_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "vectors").write_bytes(DATA)
        for source in (DATA, tmp_path / "vectors"):
            server = Server()
            blob = run_virtually(session(server).upload(source))
            assert blob == blob_of(DATA)
            assert b"".join(server.parts[part] for part in blob.parts) == DATA

    @pytest.mark.parametrize("data", [b"", b"a", b"a" * PART, b"a" * (PART + 1)])
    def test_any_size(self, data: bytes) -> None:
        server = Server()
        blob = run_virtually(session(server).upload(data))
        assert b"".join(server.parts[part] for part in blob.parts) == data

    def test_what_the_server_has_is_not_sent(self) -> None:
        server = Server()
        run_virtually(session(server).upload(DATA))
        server.seen.clear()
        run_virtually(session(server).upload(DATA[:-1] + b"!"))
        assert server.seen[0] == "POST /v1/parts/missing"
        assert len(server.seen) == 2

    def test_one_small_part_is_sent_unasked(self) -> None:
        server = Server()
        run_virtually(session(server).upload(DATA[:PART]))
        assert server.seen == [f"PUT /v1/parts/{sha256(DATA[:PART])}"]

    def test_equal_parts_are_sent_once(self) -> None:
        server = Server()
        run_virtually(session(server).upload(b"same old" * 20))
        assert len(server.seen) == 2

    @pytest.mark.parametrize("arrived", range(6))
    def test_an_upload_that_was_cut_goes_on_where_it_was(self, arrived: int) -> None:
        server = Server(None, *[None] * arrived, TrustError("cut"))
        with pytest.raises(TrustError):
            run_virtually(session(server).upload(DATA))
        kept = set(server.parts)
        assert len(kept) >= arrived
        server.seen.clear()
        run_virtually(session(server).upload(DATA))
        lacking = [digest for digest in blob_of(DATA).parts if digest not in kept]
        assert server.seen == ["POST /v1/parts/missing", *(f"PUT /v1/parts/{digest}" for digest in lacking)]
        assert set(server.parts) == set(blob_of(DATA).parts)

    def test_a_server_that_asks_for_what_is_not_there_gets_nothing(self) -> None:
        secret = PartList(digests=(sha256(b"/etc/passwd"), *blob_of(DATA).parts[:1]))
        server = Server(Response(200, {}, secret.model_dump_json().encode()))
        run_virtually(session(server).upload(DATA))
        assert list(server.parts.values()) == [DATA[:PART]]


class TestDownload:
    def fetch(self, server: Server, into: Path, blob: Blob | None = None) -> None:
        run_virtually(session(server).download("/blob", blob or blob_of(DATA), into))

    def test_the_file_is_there_when_it_is_whole(self, tmp_path: Path) -> None:
        self.fetch(Server(), tmp_path / "deep" / "model")
        assert (tmp_path / "deep" / "model").read_bytes() == DATA
        assert [path.name for path in (tmp_path / "deep").iterdir()] == ["model"]

    def test_an_empty_blob_is_an_empty_file(self, tmp_path: Path) -> None:
        self.fetch(Server(), tmp_path / "model", blob_of(b""))
        assert (tmp_path / "model").read_bytes() == b""

    @pytest.mark.parametrize("arrived", range(6))
    def test_a_download_that_was_cut_goes_on_where_it_was(self, tmp_path: Path, arrived: int) -> None:
        server = Server(*[None] * arrived, TrustError("cut"))
        with pytest.raises(TrustError):
            self.fetch(server, tmp_path / "model")
        assert not (tmp_path / "model").exists()
        server.seen.clear()
        self.fetch(server, tmp_path / "model")
        assert server.seen == [f"GET /blob?part={number}" for number in range(arrived, 6)]
        assert (tmp_path / "model").read_bytes() == DATA

    @pytest.mark.parametrize("kept", [0, 1, 7, 8, 9, 23, 24, 44, 45, 46, 400])
    def test_only_whole_and_right_parts_of_what_is_there_are_kept(self, tmp_path: Path, kept: int) -> None:
        (tmp_path / "model.part").write_bytes((DATA + b"?" * 400)[:kept])
        server = Server()
        self.fetch(server, tmp_path / "model")
        assert len(server.seen) == 6 - (6 if kept >= len(DATA) else kept // PART)
        assert (tmp_path / "model").read_bytes() == DATA

    @pytest.mark.parametrize("place", [0, 8, 20, 44])
    def test_what_was_changed_on_the_disk_is_fetched_again(self, tmp_path: Path, place: int) -> None:
        (tmp_path / "model.part").write_bytes(DATA[:place] + b"\xff" + DATA[place + 1 :])
        self.fetch(Server(), tmp_path / "model")
        assert (tmp_path / "model").read_bytes() == DATA

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda part: part[:-1],
            lambda part: b"",
            lambda part: part + b"!",
            lambda part: b"!" + part[1:],
            lambda part: part * 1000,
        ],
        ids=["short", "empty", "long", "changed", "endless"],
    )
    def test_a_part_that_is_not_the_one_is_fetched_again_and_then_refused(
        self, tmp_path: Path, spoil: Callable[[bytes], bytes]
    ) -> None:
        server = Server()
        server.spoil = lambda number, part: spoil(part) if number == 2 else part
        with pytest.raises(DigestError, match="part 2"):
            self.fetch(server, tmp_path / "model")
        assert len(server.seen) == 2 + 3
        assert not (tmp_path / "model").exists()
        server.spoil = lambda number, part: part
        self.fetch(server, tmp_path / "model")
        assert len(server.seen) == 5 + 4

    def test_a_part_that_was_truncated_once_on_the_way_does_no_harm(self, tmp_path: Path) -> None:
        server = Server(Response(200, {}, DATA[:3]))
        self.fetch(server, tmp_path / "model")
        assert (tmp_path / "model").read_bytes() == DATA

    def test_a_whole_that_is_not_its_parts_is_refused_and_forgotten(self, tmp_path: Path) -> None:
        lie = blob_of(DATA).model_copy(update={"digest": "0" * 64})
        with pytest.raises(DigestError, match="whole"):
            self.fetch(Server(), tmp_path / "model", lie)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("size", [0, 1, 40, 49, 1 << 40])
    def test_a_length_that_does_not_fit_the_parts_is_refused_before_anything_is_fetched(
        self, tmp_path: Path, size: int
    ) -> None:
        server = Server()
        with pytest.raises(DigestError, match="parts"):
            self.fetch(server, tmp_path / "model", blob_of(DATA).model_copy(update={"size": size}))
        assert server.seen == []

    def test_a_shorter_last_part_than_there_is_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DigestError, match="part 5"):
            self.fetch(Server(), tmp_path / "model", blob_of(DATA).model_copy(update={"size": 44}))

    def test_a_place_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(TransferError, match="cannot be written"):
            self.fetch(Server(), tmp_path / "file" / "model")


def test_closing_a_session_closes_what_carries_it() -> None:
    server = Server()
    run_virtually(session(server).close())
    assert server.seen == ["closed"]


def test_a_call_that_is_cancelled_ends() -> None:
    async def cancelled() -> None:
        call = asyncio.ensure_future(ask(Server(*[LOST] * 100)))
        await asyncio.sleep(1.0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    run_virtually(cancelled())
