"""Whatever happens, in whatever order, the coordinator keeps its promises."""

from __future__ import annotations

from coordination_driver import Books, Driver
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from comity.coordination import Buffered, Rounds
from comity.coordination.coordinator import Phase
from comity.coordination.effects import Effect, Ending
from comity.coordination.events import Aggregated, Contributed, Lost, Rejected, Start, Stop, Tick
from comity.coordination.staleness import Constant, Hinge, Polynomial
from comity.core.errors import Reason

PARTIES = 9
seconds = st.one_of(st.none(), st.sampled_from([1.0, 3.0, 10.0]))


@st.composite
def rounds(draw: st.DrawFn) -> Rounds:
    cohort = draw(st.one_of(st.none(), st.integers(1, PARTIES)))
    return Rounds(
        count=draw(st.integers(1, 4)),
        cohort=cohort,
        over_select=0.0 if cohort is None else draw(st.sampled_from([0.0, 0.3, 1.0])),
        quorum=draw(st.one_of(st.none(), st.integers(1, cohort or PARTIES))),
        deadline=draw(seconds),
        lease=draw(seconds),
        attempts=draw(st.integers(1, 3)),
        pause=draw(st.sampled_from([0.0, 2.0])),
        separation=1 if cohort is None else draw(st.integers(1, PARTIES // cohort)),
    )


@st.composite
def buffered(draw: st.DrawFn) -> Buffered:
    return Buffered(
        count=draw(st.integers(1, 6)),
        buffer=draw(st.integers(1, PARTIES)),
        concurrency=draw(st.integers(1, PARTIES)),
        staleness=draw(st.sampled_from([Polynomial(0.5), Constant(), Hinge(1.0, 1)])),
        max_staleness=draw(st.one_of(st.none(), st.integers(0, 2))),
        lease=draw(seconds),
        attempts=draw(st.integers(1, 3)),
        pause=draw(st.sampled_from([0.0, 2.0])),
    )


class Machine(RuleBasedStateMachine):
    """Parties that answer, fail and vanish; messages that come late, twice, or from the wrong one; crashes."""

    @initialize(policy=st.one_of(rounds(), buffered()), seed=st.integers(0, 3))
    def begin(self, policy: Rounds | Buffered, seed: int) -> None:
        self.driver = Driver(policy, PARTIES, seed)
        self.books = Books(policy, PARTIES)
        self.ended_early = False

    def note(self, effects: list[Effect]) -> None:
        self.books.note(effects)

    def has_open(self) -> bool:
        return bool(self.books.open)

    @rule()
    def start(self) -> None:
        self.note(self.driver.send(Start(self.driver.now)))

    @precondition(has_open)
    @rule(data=st.data(), how=st.sampled_from(["contribute", "contribute", "contribute", "reject", "lose"]))
    def answer(self, data: st.DataObject, how: str) -> None:
        assign = data.draw(st.sampled_from(list(self.books.open.values())))
        self.note(getattr(self.driver, how)(assign))

    @precondition(has_open)
    @rule()
    def everyone_contributes(self) -> None:
        for assign in list(self.books.open.values()):
            self.note(self.driver.contribute(assign))

    @rule(passed=st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0]))
    def time_passes(self, passed: float) -> None:
        self.note(self.driver.tick(self.driver.now + passed))

    @rule()
    def the_clock_jumps_back(self) -> None:
        self.note(self.driver.send(Tick(self.driver.now - 100.0)))

    @precondition(lambda self: self.driver.coordinator.pending is not None)
    @rule()
    def the_server_has_aggregated(self) -> None:
        self.note(self.driver.aggregated())

    @rule(round=st.integers(0, 6))
    def a_stale_confirmation_repeats(self, round: int) -> None:
        pending = self.driver.coordinator.pending
        if pending is None or pending.round != round:
            assert self.driver.send(Aggregated(self.driver.now, round)) == []

    @rule(
        lease=st.integers(-1, 40),
        party=st.integers(0, PARTIES - 1),
        kind=st.sampled_from([Contributed, Rejected, Lost]),
    )
    def a_stray_message(self, lease: int, party: int, kind: type) -> None:
        name = self.driver.population[party]
        fields = (Reason.SHAPE,) if kind is Rejected else ()
        self.note(self.driver.send(kind(self.driver.now, name, lease, *fields)))

    @precondition(lambda self: bool(self.books.issued))
    @rule(data=st.data())
    def an_upload_repeats(self, data: st.DataObject) -> None:
        assign = data.draw(st.sampled_from(list(self.books.issued.values())))
        if assign.lease not in self.books.open:
            before = len(self.books.commits)
            self.note(self.driver.contribute(assign))
            assert len(self.books.commits) == before

    @rule()
    def the_server_restarts(self) -> None:
        self.driver.reload()

    @precondition(lambda self: len(self.books.issued) > 12)
    @rule()
    def the_owner_stops(self) -> None:
        self.ended_early = True
        self.note(self.driver.send(Stop(self.driver.now)))

    @invariant()
    def the_coordinator_agrees_with_the_books(self) -> None:
        coordinator = self.driver.coordinator
        assert coordinator.outstanding == tuple(self.books.open.values())
        assert coordinator.finished == self.books.finished

    @invariant()
    def every_lease_ends_in_time(self) -> None:
        for assign in self.books.open.values():
            if assign.expires is not None:
                assert assign.expires > self.driver.now
                assert any(self.driver.now < wake <= assign.expires for wake in self.books.wakes)

    @invariant()
    def something_is_always_awaited(self) -> None:
        coordinator = self.driver.coordinator
        if coordinator.phase is Phase.COLLECTING:
            assert self.books.open
        if coordinator.phase is Phase.WAITING:
            latest = self.driver.now + self.driver.policy.pause
            assert any(self.driver.now < wake <= latest for wake in self.books.wakes)

    def teardown(self) -> None:
        if not hasattr(self, "driver"):
            return
        replayed = self.driver.replay()
        assert replayed.effects == self.driver.effects
        assert replayed.coordinator.snapshot() == self.driver.coordinator.snapshot()
        self.drain()

    def drain(self) -> None:
        """From any state on, parties that all answer bring the run to its end."""
        self.start()
        for _ in range(100):
            if self.books.finished is not None:
                break
            self.everyone_contributes()
            if self.driver.coordinator.pending is not None:
                self.note(self.driver.aggregated())
            if self.driver.coordinator.phase is Phase.WAITING:
                self.time_passes(2.0)
        assert self.books.finished is not None
        if self.books.finished.ending is Ending.COMPLETED:
            assert len(self.books.commits) == self.driver.policy.count
        if self.books.finished.ending is Ending.STOPPED:
            assert self.ended_early


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=120, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
