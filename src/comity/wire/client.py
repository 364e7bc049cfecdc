"""A member's side of the protocol: signed calls that are repeated with patience, and blobs up and down part by part."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

from pydantic import BaseModel

from comity.core.errors import ComityError
from comity.wire.bodies import BodyError, parse
from comity.wire.digests import (
    DigestError,
    as_content_digest,
    blob_of,
    blob_of_file,
    part_sizes,
    sha256,
)
from comity.wire.messages import PART_BYTES, About, Blob, PartList, Problem
from comity.wire.signature import NONCE_BYTES, Signer, sign
from comity.wire.transport import ANSWER_BYTES, Request, Response, Transport, TransportError, TrustError

_PART_SECONDS = 600.0
_LIST = 512
_UNASKED_BYTES = 1 << 20
_AT_ONCE = 2
"""So many parts are on their way at a time: while the server keeps one, the next one travels."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 15.0
_BUSY = frozenset((429, 502, 503, 504, 507))
# A clock that is off by more is for its owner to set; a server must not make a member sign for a distant day.
_MAX_CORRECTION = 300.0
_SIGNED_ANEW = 2
_REFETCHED = 3

M = TypeVar("M", bound=BaseModel)


class ProblemError(ComityError):
    """What a server answered in place of what was asked for: `status`, and the server's words."""

    def __init__(self, status: int, problem: Problem) -> None:
        self.status = status
        self.problem = problem
        super().__init__(f"{problem.title}: {problem.detail}", where=problem.where, mend=problem.mend)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.status, self.problem)


class TransferError(ComityError):
    """A blob that this machine cannot keep."""


class Session:
    """The calls of one member to one deployment.

    A call that finds no server, or a busy one, is repeated with growing, jittered pauses that add up to `patience`
    seconds, signed anew each time. A refused signature is often a matter of clocks: the server's time is then asked
    for, and used from there on where it differs by less than five minutes. `now` is seconds since 1970, `token(n)`
    gives n bytes that nobody can foresee.
    """

    def __init__(
        self,
        transport: Transport,
        key: Signer,
        deployment: str,
        now: Callable[[], float],
        token: Callable[[int], bytes] = secrets.token_bytes,
        patience: float = 60.0,
    ) -> None:
        self._transport = transport
        self._key = key
        self._deployment = deployment
        self._now = now
        self._token = token
        self._patience = patience
        self._correction = 0.0

    async def call(
        self,
        method: str,
        path: str,
        message: BaseModel | None = None,
        expect: type[M] | None = None,
        query: Mapping[str, str] | None = None,
        timeout: float = 30.0,
    ) -> M | None:
        """Send `message`, and get the answer as `expect`; None where nothing is expected.

        Each attempt may take `timeout` seconds. Raises `ProblemError` for what the server refuses, `TransportError`
        where it cannot be reached, `BodyError` for an answer that makes no sense.
        """
        headers, body = {"accept": "application/json"}, b""
        if message is not None:
            headers, body = headers | {"content-type": "application/json"}, message.model_dump_json().encode()
        response = await self._send(Request(method, path, query or {}, headers, body), timeout)
        return None if expect is None else parse(expect, response.body, ANSWER_BYTES, values=ANSWER_BYTES)

    async def upload(self, source: bytes | Path, known: Blob | None = None) -> Blob:
        """Give the server those parts of `source` that it does not have yet, and return what describes the whole.

        That is computed unless it is `known`. A single part of up to a mebibyte is given whether it is there or not.
        """
        blob = known or (blob_of_file(source) if isinstance(source, Path) else blob_of(source))
        places = {digest: PART_BYTES * number for number, digest in enumerate(blob.parts)}
        # One small part is sent unasked: to ask costs as much.
        small = len(blob.parts) == 1 and blob.size <= _UNASKED_BYTES
        missing = iter(places if small else await self._missing(list(places)))

        async def send() -> None:
            for digest in missing:
                await self._put(digest, _piece(source, places[digest]))

        await _together(send() for _ in range(_AT_ONCE))
        return blob

    async def download(self, path: str, blob: Blob, into: Path) -> None:
        """Fetch `blob` from `path` part by part into the file `into`, which is there only when it is whole.

        What came before a cut lies beside it, is checked again and not fetched again. The disk is not waited for: what
        it loses with its power can be fetched again. Raises `DigestError` where the server sends something else, or the
        blob's description contradicts itself.
        """
        sizes = part_sizes(blob)
        draft = into.with_name(f"{into.name}.part")
        try:
            draft.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("r+b" if draft.exists() else "w+b") as file:
                whole = await self._fill(file, path, blob.parts, sizes)
            if whole != blob.digest:
                draft.unlink()
                raise DigestError("every part is right and the whole is not", where=f"blob {blob.digest[:12]}")
            draft.replace(into)
        except OSError as error:
            raise TransferError(
                f"the file cannot be written: {error.strerror or error}",
                where=str(draft),
                mend="free some space; what is there already is not fetched again",
            ) from error

    async def close(self) -> None:
        await self._transport.close()

    async def _fill(self, file: IO[bytes], path: str, digests: Sequence[str], sizes: Sequence[int]) -> str:
        """Keep what is right at the file's beginning, fetch the rest, and return the digest of the whole."""
        whole, kept, several = hashlib.sha256(), 0, len(sizes) > 1
        for size, digest in zip(sizes, digests, strict=True):
            part = file.read(size)
            if len(part) != size or sha256(part) != digest:
                break
            whole.update(part if several else b"")
            kept += 1
        file.seek(sum(sizes[:kept]))
        file.truncate()
        for number in range(kept, len(sizes)):
            part = await self._part(path, number, sizes[number], digests[number])
            whole.update(part if several else b"")
            file.write(part)
            file.flush()
        return digests[0] if len(digests) == 1 else whole.hexdigest()

    async def _put(self, digest: str, part: bytes) -> None:
        # The digest is known; should the file have changed since, the server will not take the part.
        headers = {"content-type": "application/octet-stream", "content-digest": as_content_digest(digest)}
        await self._send(Request("PUT", f"/v1/parts/{digest}", {}, headers, part), _PART_SECONDS)

    async def _missing(self, digests: list[str]) -> list[str]:
        """Those of the parts that the server lacks, each once and in order."""
        missing: set[str] = set()
        for start in range(0, len(digests), _LIST):
            asked = PartList(digests=tuple(digests[start : start + _LIST]))
            answer = await self.call("POST", "/v1/parts/missing", asked, PartList)
            missing |= set(answer.digests if answer is not None else ())
        return [digest for digest in digests if digest in missing]

    async def _part(self, path: str, number: int, size: int, digest: str) -> bytes:
        request = Request("GET", path, {"part": str(number)}, {"accept": "application/octet-stream"})
        for _ in range(_REFETCHED):
            body = (await self._send(request, _PART_SECONDS)).body
            if len(body) == size and sha256(body) == digest:
                return body
        raise DigestError(
            f"part {number} came {_REFETCHED} times and never as the {size} bytes that were named",
            where=path,
            mend="the server, or something on the way to it, is broken: ask its operator",
        )

    async def _send(self, request: Request, timeout: float) -> Response:
        """The answer to a request that succeeded."""
        waited, pause, refused = 0.0, _FIRST_PAUSE, 0
        while True:
            fault: ComityError
            try:
                response = await self._transport.send(self._signed(request), timeout=timeout)
            except TrustError:
                raise
            except TransportError as error:
                fault, wait = error, 0.0
            else:
                if response.status < 300:
                    return response
                fault, wait = _problem(response), _retry_after(response)
                if response.status == 401 and refused < _SIGNED_ANEW:
                    # A server that has just started takes no signature from the second in which it did.
                    wait, refused = max(wait, float(refused)), refused + 1
                    await self._correct(timeout)
                elif response.status not in _BUSY:
                    raise fault
            wait = max(wait, pause * (0.5 + self._token(1)[0] / 255))
            if waited + wait > self._patience:
                raise fault
            await asyncio.sleep(wait)
            waited, pause = waited + wait, min(2 * pause, _LONGEST_PAUSE)

    def _signed(self, request: Request) -> Request:
        now = self._now() + self._correction
        return sign(request, self._key, self._deployment, now, self._token(NONCE_BYTES))

    async def _correct(self, timeout: float) -> None:
        """Ask the server for its time, and use it if the difference is one that clocks have."""
        try:
            response = await self._transport.send(Request("GET", "/v1/about"), timeout=timeout)
            about = parse(About, response.body, ANSWER_BYTES)
        except (TransportError, BodyError):
            return
        correction = about.time - self._now()
        if abs(correction) <= _MAX_CORRECTION:
            self._correction = correction


async def _together(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """All of them; the first that fails ends the others."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _piece(source: bytes | Path, start: int) -> bytes:
    if isinstance(source, bytes):
        return source[start : start + PART_BYTES]
    with source.open("rb") as file:
        file.seek(start)
        return file.read(PART_BYTES)


def _problem(response: Response) -> ProblemError:
    try:
        problem = parse(Problem, response.body, 1 << 16)
    except BodyError:
        # Not the server but something on the way to it answers, such as a proxy.
        problem = Problem(title=f"status {response.status}", detail="the answer does not come from a Comity server")
    return ProblemError(response.status, problem)


def _retry_after(response: Response) -> float:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0.0
