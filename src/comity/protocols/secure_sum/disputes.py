"""Who is left out where a party and a member contradict each other: shares that are bad, or said to be.

A dispute is a pair of a party and a member whose word on that party's share is off the polynomial of the others. One of
the two broke the protocol, and nobody can tell which; a pair is settled when one of them is out. Whoever is in most
disputes goes first: a party that deals bad shares is in one with each member that got one, a member that lies is in one
with each party that it lies about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

Dispute = tuple[int, int]
"""A party and a member."""


class Settlement(NamedTuple):
    """Who is out: a vertex cover of the disputes."""

    parties: frozenset[int]
    members: frozenset[int]


def settle(disputes: Iterable[Dispute], spare: int) -> Settlement:
    """Leave somebody out of every dispute, parties rather than members where they are in as many.

    At most `spare` members are left out, so that corrupt parties together cannot use up the committee.
    """
    open_pairs, parties, members = set(disputes), set[int](), set[int]()
    while open_pairs:
        party, of_party = _most(party for party, _ in open_pairs)
        member, of_member = _most(member for _, member in open_pairs)
        if of_member > of_party and len(members) < spare:
            members.add(member)
            open_pairs = {pair for pair in open_pairs if pair[1] != member}
        else:
            parties.add(party)
            open_pairs = {pair for pair in open_pairs if pair[0] != party}
    return Settlement(frozenset(parties), frozenset(members))


def _most(named: Iterable[int]) -> tuple[int, int]:
    """Who is named most often, the first one by number, and how often."""
    counts = Counter(named)
    first = min(counts, key=lambda who: (-counts[who], who))
    return first, counts[first]
