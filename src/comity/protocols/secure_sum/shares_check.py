"""What the coordinator makes of the members' words on shares: whose uploads count, and whose answers (§5.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from comity.protocols.secure_sum.disputes import Dispute, Settlement, settle
from comity.protocols.secure_sum.field import Elements
from comity.protocols.secure_sum.schema import Combinations
from comity.protocols.secure_sum.sharing import Sharing


class Verdict(NamedTuple):
    """`spoiled` are parties whose shares lie on no polynomial that could be found; the rest settles single disputes."""

    spoiled: frozenset[int]
    settlement: Settlement


def judge(sharing: Sharing, parties: Sequence[int], said: Mapping[int, Combinations]) -> Verdict:
    """Compare the words of the members in `said` on the shares of `parties`, party by party.

    Of m members up to (m − t − l)/2 may be off the polynomial of the others, or have got a box that was of no use to
    them. Parties that more members are against than that are spoiled.
    """
    members = sorted(said)
    values = np.stack([np.frombuffer(said[member].values, "<u4") for member in members]).astype(np.uint32)
    refusals = {member: frozenset(said[member].refused) for member in members}
    doubtful = set(np.flatnonzero(~sharing.consistent(members, values)).tolist())
    refused = frozenset[int]().union(*refusals.values())
    spoiled, disputes = set[int](), list[Dispute]()
    for place, party in enumerate(parties):
        if place not in doubtful and party not in refused:
            continue
        against = _against(sharing, party, values[:, place], members, refusals)
        if against is None:
            spoiled.add(party)
        else:
            disputes.extend((party, member) for member in against)
    spare = max(0, (len(members) - sharing.dimension) // 2)
    return Verdict(frozenset(spoiled), settle(disputes, spare))


def _against(
    sharing: Sharing, party: int, values: Elements, members: Sequence[int], refusals: Mapping[int, frozenset[int]]
) -> tuple[int, ...] | None:
    """The members that refused a party's box or whose word on it stands against the others'; none if beyond repair."""
    telling = [place for place, member in enumerate(members) if party not in refusals[member]]
    if len(telling) < sharing.dimension:
        return None
    astray = sharing.astray([members[place] for place in telling], values[telling])
    if astray is None:
        return None
    silent = tuple(member for member in members if party in refusals[member])
    return None if 2 * len(silent + astray) > len(members) - sharing.dimension else silent + astray
