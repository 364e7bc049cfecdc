"""Who is asked for which summed masks, whether the answers agree, and who lied where they do not.

A question is a group of subsets whose seeds two helpers hold: one gives the vector, the other bears witness by the hash
of its own. Where they differ, every subset of the group is asked of every helper that holds it, and the majority of
three or more tells; with two against each other nobody can tell, and the attempt ends. More than t equal answers are
certainly right; a smaller majority is right unless those helpers lie together.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from comity.protocols.secure_sum.errors import AbortError, AnswerError
from comity.protocols.secure_sum.masks import subsets

Group = tuple[int, ...]
"""Numbers of subsets, increasing, that are asked for in one question."""


@dataclass
class _Question:
    """Who was asked, whose vector is wanted and not just its hash, who answered what, and who brought the vector."""

    asked: list[int]
    givers: set[int]
    answers: dict[int, bytes] = field(default_factory=dict)
    brought: set[int] = field(default_factory=set)
    settled: bytes | None = None


class Inquiry:
    """The questions of one attempt; helpers are positions in the committee, answers the hashes of vectors.

    `answer`, `lost` and `convict` raise `AbortError` where the masks can no longer be had.
    """

    def __init__(self, c: int, t: int, live: Iterable[int]) -> None:
        self._subsets = subsets(c, t)
        self.live = sorted(live)
        self.liars: dict[int, str] = {}
        self.disputed: dict[Group, dict[int, bytes]] = {}
        self._questions: dict[Group, _Question] = {}
        self._ask(range(len(self._subsets)))

    def open(self) -> tuple[tuple[int, Group, bool], ...]:
        """Who is still to answer what, and whether the vector is wanted beside its hash."""
        return tuple(
            (member, group, member in question.givers)
            for group, question in self._questions.items()
            for member in self._waiting(question)
        )

    def settled(self) -> tuple[tuple[int, Group], ...] | None:
        """Whose vectors to take for which groups, every subset once; none as long as something is open."""
        if any(question.settled is None for question in self._questions.values()):
            return None
        return tuple((self._giver(question), group) for group, question in sorted(self._questions.items()))

    @property
    def unwitnessed(self) -> tuple[Group, ...]:
        """The settled groups that only one helper has answered for, because no other that could is live."""
        return tuple(group for group, asked in self._questions.items() if asked.settled and len(asked.answers) == 1)

    def backers(self, group: Group) -> set[int]:
        """The helpers whose answer is the settled one of a group."""
        question = self._questions[group]
        return {member for member, digest in question.answers.items() if digest == question.settled}

    def answer(self, member: int, group: Group, digest: bytes, *, brought: bool) -> None:
        """Count an answer, with its vector or without. Raises `AnswerError` for one that was not asked for."""
        question = self._questions.get(group)
        if question is None or member not in question.asked or member in self.liars:
            raise AnswerError("nobody asked for this answer", where=f"helper {member}")
        if member in question.givers and not brought:
            raise AnswerError("the answer comes without its vector", where=f"helper {member}")
        if brought:
            question.brought.add(member)
        if question.answers.setdefault(member, digest) != digest:
            self._strike(member, "gave two answers to one question")
        self._advance()

    def lost(self, member: int) -> None:
        """A helper is down: what it has answered stands, what it has not is asked of others."""
        if member in self.live:
            self.live.remove(member)
            self._advance()

    def convict(self, member: int, what: str) -> None:
        """A helper was shown to have lied: none of its answers count."""
        if member not in self.liars:
            self._strike(member, what)
            self._advance()

    def _ask(self, numbers: Iterable[int]) -> None:
        """Questions for `numbers`, in as few groups as there are pairs of neighbours among the live."""
        groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
        load: Counter[int] = Counter()
        for number in numbers:
            holders = self._pair(number, load)
            load[holders[0]] += 1
            groups[holders].append(number)
        for holders, group in groups.items():
            self._questions[tuple(group)] = _Question(list(holders), {holders[0]})

    def _pair(self, number: int, load: Counter[int]) -> tuple[int, ...]:
        """Who gives a subset's masks and who bears witness: neighbours where possible, the least loaded first."""
        holders = self._holders((number,))
        if not holders:
            raise AbortError(
                f"{len(self.live)} helpers are live, and none of them holds the seeds of subset {number}",
                where="reveal",
                mend="the attempt ends, and the sum stays hidden; begin another when the helpers are back",
            )
        if len(holders) == 1:
            return tuple(holders)
        ring = {member: self.live[(place + 1) % len(self.live)] for place, member in enumerate(self.live)}
        first = min(holders, key=lambda member: (ring[member] not in holders, load[member], member))
        after = holders[(holders.index(first) + 1) % len(holders)]
        return first, after

    def _holders(self, group: Sequence[int]) -> list[int]:
        """The live helpers that hold all seeds of a group."""
        without = {member for number in group for member in self._subsets[number]}
        return [member for member in self.live if member not in without]

    def _waiting(self, question: _Question) -> list[int]:
        if question.settled is not None:
            return []
        return [member for member in question.asked if member in self.live and member not in question.answers]

    def _giver(self, question: _Question) -> int:
        return next(
            who for who, digest in question.answers.items() if digest == question.settled and who in question.brought
        )

    def _advance(self) -> None:
        while ready := [
            (group, question)
            for group, question in self._questions.items()
            if question.settled is None and not self._waiting(question)
        ]:
            self._decide(*ready[0])

    def _decide(self, group: Group, question: _Question) -> None:
        """All who were asked have answered or are down: settle the question, ask more of them, or split it."""
        given = Counter(question.answers.values())
        spare = [member for member in self._holders(group) if member not in question.asked]
        if len(given) > 1 and len(group) > 1:
            self.disputed[group] = self._questions.pop(group).answers
            for number in group:
                holders = self._holders((number,))
                self._questions[(number,)] = _Question(holders, set(holders))
        elif spare and (len(given) > 1 or len(question.answers) < 2):
            question.asked.extend(spare if len(given) > 1 else spare[:1])
        elif len(given) > 1:
            self._judge(group, question, given)
        elif given:
            self._settle(group, question, next(iter(given)))
        else:
            del self._questions[group]
            self._ask(group)

    def _settle(self, group: Group, question: _Question, digest: bytes) -> None:
        """Take `digest`; where no vector came with it, one of those who know it is asked to bring it."""
        right = [member for member, other in question.answers.items() if other == digest]
        if question.brought & set(right):
            question.settled = digest
        elif live := [member for member in right if member in self.live]:
            question.givers.add(live[0])
            del question.answers[live[0]]
        else:
            del self._questions[group]
            self._ask(group)

    def _judge(self, group: Group, question: _Question, given: Counter[bytes]) -> None:
        ((digest, count),) = given.most_common(1)
        if 2 * count <= len(question.answers):
            raise contradiction(question.answers, group)
        for member, other in list(question.answers.items()):
            if other != digest:
                self._strike(member, f"answered otherwise than {count} other helpers for subset {group[0]}")
        self._settle(group, question, digest)

    def _strike(self, member: int, what: str) -> None:
        self.liars[member] = what
        if member in self.live:
            self.live.remove(member)
        for question in self._questions.values():
            question.answers.pop(member, None)
            question.brought.discard(member)
            if question.settled is not None and not self._supplied(question):
                question.settled = None

    @staticmethod
    def _supplied(question: _Question) -> bool:
        return any(question.answers.get(member) == question.settled for member in question.brought)


def contradiction(helpers: Iterable[int], group: Group) -> AbortError:
    """The end of an attempt whose helpers answer differently, where nobody can tell who of them lied."""
    return AbortError(
        f"helpers {sorted(helpers)} contradict each other, and no majority tells who lied",
        where=f"subset {', '.join(map(str, group))}",
        mend="the attempt ends without a sum; begin another, without those that are not trusted",
    )
