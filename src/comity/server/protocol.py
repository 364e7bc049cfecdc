"""HTTP as uvicorn speaks it, with bounds on what it leaves open: how long a request may take to come, and its head.

uvicorn waits for ever for a request that has begun, for one that never begins, and for a client that does not take its
answer; and it collects header fields of any size. A few thousand idle sockets would then shut everybody else out
(CWE-400, "slowloris"). Bounds on bodies and on requests a second are elsewhere: see `server/gate.py`.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 32 << 10
"""A request line and its header fields have at most so many bytes."""
HEAD_SECONDS = 20.0
"""From the connection, or from the first byte of a further request, to the end of its header fields."""
BODY_SECONDS = 600.0
"""From there to the end of the body; a little longer than the gate ever waits, which can still say why."""
REST_SECONDS = 10.0
"""For so long a client may go on with a body after its answer: strangers are answered before theirs has come."""
ANSWER_SECONDS = 120.0
"""For so long a client may leave its answer lying."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Whoever exceeds a bound is cut off without a word: there is nobody to talk to."""

    _deadline: asyncio.TimerHandle | None = None
    _leaving: asyncio.TimerHandle | None = None
    _head: int = 0
    _in_head: bool = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._expect(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect(None)
        self._taken()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deadline is None:
            # Nothing was under way, so this begins a request, be it only with an empty line.
            self._expect(HEAD_SECONDS)
        if self._in_head:
            self._head += len(data)
        super().data_received(data)
        if self._in_head and self._head > HEAD_BYTES:
            self.transport.abort()

    def on_headers_complete(self) -> None:
        self._in_head, self._head = False, 0
        self._expect(BODY_SECONDS)
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        if not self._in_head:
            self._expect(REST_SECONDS)
        super().on_response_complete()

    def on_message_complete(self) -> None:
        self._in_head = True
        self._expect(None)
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._taken()
        self._leaving = self.loop.call_later(ANSWER_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        self._taken()
        super().resume_writing()

    def _taken(self) -> None:
        """The client takes its answer, or is gone."""
        if self._leaving is not None:
            self._leaving.cancel()
        self._leaving = None

    def _expect(self, seconds: float | None) -> None:
        """Cut the connection in so many seconds from now, in place of what was meant before; None for never."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self.transport.abort)
