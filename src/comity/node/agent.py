"""The agent of a party: asks for work, carries it out as its owner's policy allows, and goes on after any crash.

It polls with one request that the server holds open. What is open there and unknown here is begun; what is under way
here and no longer open there is cancelled. All that must not be lost lies in the node's folder, so that an agent which
is started again finds what it has computed and sends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
from collections.abc import Callable
from functools import partial

from comity import __version__
from comity.core.errors import ComityError
from comity.node.child import Executor
from comity.node.duty import Duties
from comity.node.home import NodeHome
from comity.node.outbox import Lease
from comity.node.pauses import Pauses
from comity.wire.client import ProblemError, Session
from comity.wire.messages import Ask, Assignment, Work

_WAIT = 30.0
_ANSWER = 15.0
_SOON = 0.5
_DAY = 86400.0
_MOST = 4096
"""So many leases can be named when work is asked for; what a server wants beyond that is left until others end."""


class Agent:
    """The work of one node, from `home`. It takes on what its configuration says at a time, of any number of runs.

    `now` is the time in seconds since 1970; `token(n)` are n bytes, by which pauses are jittered.
    """

    def __init__(
        self,
        home: NodeHome,
        session: Session,
        executor: Executor,
        now: Callable[[], float],
        token: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.home = home
        self.session = session
        self.executor = executor
        self.now = now
        self._pauses = partial(Pauses, token)
        self._duties = Duties(home, session, executor, now, self._pauses)
        self._keep = home.config.keep_days * _DAY
        self._swept = -_DAY
        self._asked = 0
        self._active: dict[Lease, asyncio.Task[None]] = {}
        self._ended: dict[Lease, int] = {}
        self._again: dict[Lease, Pauses] = {}
        self._fault = ""
        self._refused = False
        self._moved = asyncio.Event()

    async def run(self) -> None:
        """Work until cancelled. Whatever fails in a run, at the server or on the way to it is survived."""
        await self._prepare()
        self._log("started", f"comity {__version__}")
        pauses = self._pauses()
        try:
            while True:
                started = self.now()
                self._moved.clear()
                changed = await self._turn()
                if changed or (self.now() - started > _SOON and not self._refused):
                    pauses.reset()
                else:
                    # An answer at once that says nothing new: the server waits for what is on its way to it, or fails.
                    # A refusal, which takes longer, as it is asked for again, will be the same for a while.
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(pauses.next()):
                            await self._moved.wait()
                self._sweep()
        finally:
            await self._end()

    async def _prepare(self) -> None:
        """The folders of this node, the one for tasks empty; a disk that does not give them now may do so later."""
        pauses = self._pauses()
        while True:
            try:
                shutil.rmtree(self.home.scratch, ignore_errors=True)
                self.home.create()
                return
            except OSError as error:
                self._note(str(error))
                await asyncio.sleep(pauses.next())

    async def _turn(self) -> bool:
        """Ask once and follow the answer; whether anything has changed."""
        self._refused = False
        try:
            changed = self._follow(await self._ask(), self._asked)
        except (ComityError, OSError) as error:
            self._refused = isinstance(error, ProblemError) and error.status < 500
            self._note(str(error))
            return False
        self._note("")
        return changed

    async def _ask(self) -> Work:
        """All that is open for this node, when that is something else than it knows, or after a while."""
        self._asked += 1
        ask = Ask(
            open=tuple(sorted(self._active)),
            datasets=tuple(sorted(entry.name for entry in self._duties.data.entries())),
            wait=_WAIT,
        )
        work = await self.session.call("POST", "/v1/work", ask, Work, timeout=_WAIT + _ANSWER)
        assert work is not None
        return work

    def _follow(self, work: Work, asked: int) -> bool:
        """Begin what is new and end what is over; whether there was anything of either."""
        wanted = {(assignment.run, assignment.lease): assignment for assignment in work.open}
        over = [lease for lease in self._active if lease not in wanted and lease not in self._duties.sending]
        for lease in over:
            self._active[lease].cancel()
        done = [lease for lease, when in self._ended.items() if lease not in wanted and asked > when]
        for lease in done:
            del self._ended[lease]
            self._again.pop(lease, None)
        for lease in {*done, *self._duties.outbox.leases()} - set(wanted) - set(self._active):
            self._duties.outbox.drop(lease)
        # What was answered before this question was asked, and is open still, has been lost by the server.
        new = [lease for lease in wanted if lease not in self._active and asked > self._ended.get(lease, -1)]
        new = new[: _MOST - len(self._active)]
        for lease in new:
            self._active[lease] = asyncio.create_task(self._carry_out(wanted[lease]))
        return bool(over or new)

    async def _carry_out(self, assignment: Assignment) -> None:
        lease = assignment.run, assignment.lease
        try:
            if lease in self._again:
                await asyncio.sleep(self._again[lease].next())
            await self._duties.carry_out(assignment)
        except Exception as error:
            # Whatever it is, one assignment must not end the agent; the server, which still wants it, asks again.
            self._log("fault", f"run {lease[0]}, lease {lease[1]}: {type(error).__name__}: {error}")
        finally:
            self._again.setdefault(lease, self._pauses())
            self._ended[lease] = self._asked
            del self._active[lease]
            self._moved.set()

    def _note(self, fault: str) -> None:
        """Log what keeps this node from its server, once, and that it is over."""
        if fault != self._fault:
            self._fault = fault
            self._log("waiting" if fault else "going on", fault)

    def _log(self, kind: str, text: str) -> None:
        """Log what happens to the agent itself; where the log cannot be written, nothing is computed, and it waits."""
        try:
            self._duties.log.append(kind, {"text": text})
        except ComityError:
            return

    def _sweep(self) -> None:
        """Once a day, forget the runs in which nothing has happened for long."""
        now = self.now()
        if now - self._swept < _DAY:
            return
        self._swept = now
        self.home.sweep(now - self._keep)

    async def _end(self) -> None:
        tasks = list(self._active.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.executor.close()
