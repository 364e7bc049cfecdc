"""What a participant promises once and never breaks: it is remembered before anything is sent."""

from __future__ import annotations

from typing import Protocol

from comity.protocols.secure_sum.errors import PromiseError
from comity.protocols.secure_sum.terms import Terms


class Promises(Protocol):
    """A durable memory of promises: both methods return after the promise is on disk, or raise `PromiseError`.

    A party's and a helper's promises are told apart by their kind, so one participant may be both.
    """

    def join(self, terms: Terms) -> None:
        """Promise to send one message under these terms.

        Refused where (round, attempt) is not greater than the last one of the job that was joined.
        """

    def sign(self, terms: Terms, chosen: bytes) -> None:
        """Promise to sign no other set than the one of hash `chosen` under these terms.

        The same promise again is no other. Refused where another set or other terms of this (round, attempt) were
        signed, or a later (round, attempt) of the job.
        """


class MemoryPromises:
    """Promises that last as long as the process: for simulations and tests."""

    def __init__(self) -> None:
        self._joined: dict[bytes, tuple[int, int]] = {}
        self._signed: dict[bytes, tuple[tuple[int, int], bytes, bytes]] = {}

    def join(self, terms: Terms) -> None:
        check_join(terms, self._joined.get(terms.job))
        self._joined[terms.job] = terms.turn

    def sign(self, terms: Terms, chosen: bytes) -> None:
        check_sign(terms, chosen, self._signed.get(terms.job))
        self._signed[terms.job] = (terms.turn, terms.context, chosen)


def check_join(terms: Terms, last: tuple[int, int] | None) -> None:
    """Raises `PromiseError` where a party that joined `last` may not join these terms."""
    if last is not None and terms.turn <= last:
        raise PromiseError(
            f"round {terms.round}, attempt {terms.attempt} is not after round {last[0]}, attempt {last[1]}",
            where=f"job {terms.job.hex()[:16]}",
            mend="one message a round: the coordinator goes on to the next",
        )


def check_sign(terms: Terms, chosen: bytes, last: tuple[tuple[int, int], bytes, bytes] | None) -> None:
    """Raises `PromiseError` where a helper whose `last` promise is (turn, context, set) may not sign `chosen`."""
    if last is None or terms.turn > last[0] or last == (terms.turn, terms.context, chosen):
        return
    place = f"job {terms.job.hex()[:16]}, round {terms.round}, attempt {terms.attempt}"
    if terms.turn == last[0]:
        raise PromiseError("another set was signed for this round", where=place, mend="one set a round")
    raise PromiseError(f"round {last[0][0]}, attempt {last[0][1]} came after this", where=place, mend="rounds go on")
